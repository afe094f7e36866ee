"""Facts about routes."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host.routing import Route, RouteError, Router

SEGMENT = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("Identities", "/API/identities", {}),
        ("identities", "/api/identities/", {}),
        ("identities", "/", None),
        ("identities", "/api", None),
        ("identities", "/api//identities", None),
        ("identities", "/api/identities/x", None),
        ("identities", "/x/api", None),
        ("identities/{id}", "/api/identities/", None),
        ("a/{id?}", "/api/a", {}),
        ("a/{id?}", "/api/a/", {}),
        ("a/{id?}", "/api/a/b", {"id": "b"}),
        ("a/{n:int?}", "/api/a", {}),
        ("a/{n:int?}", "/api/a/b", None),
        ("{a}-{b}", "/api/x-y-z", {"a": "x-y", "b": "z"}),
        ("{a}-{b}", "/api/x-", None),
        ("x{a}.json", "/api/xy.json", {"a": "y"}),
        ("a/{*rest}", "/api/a", {}),
        ("a/{*rest}", "/api/a/b", {"rest": "b"}),
        ("a/{*rest}", "/api/a/b/c%2Fd/", {"rest": "b/c%2Fd/"}),
        ("a/{*rest}", "/api/a/b//", {"rest": "b//"}),
        ("a/{*rest}", "/api/a/", {}),
        ("a/{*rest}", "/api/a//", None),
        ("a/{*rest}", "/api/a//b", None),
    ],
)
def test_a_route_matches_the_whole_path(
    template: str, path: str, values: dict[str, str] | None
) -> None:
    """Case and a trailing slash do not matter. Only an optional or catch-all value can be empty."""
    assert Route.parse("api", template).match(path) == values


@given(SEGMENT)
def test_a_parameter_matches_any_segment(value: str) -> None:
    """Its value is the decoded segment, unchanged."""
    assert Route.parse("api", "identities/{id}").match(f"/api/identities/{value}") == {"id": value}


@given(st.uuids())
def test_a_guid_matches_in_each_form(value: uuid.UUID) -> None:
    """Guid.TryParse accepts the forms N, D, B and P."""
    route = Route.parse("", "{id:guid}")

    for text in (value.hex, str(value), f"{{{value}}}", f"({value})", str(value).upper()):
        assert route.match(f"/{text}") == {"id": text}


@pytest.mark.parametrize("value", ["x", "1", "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e", "{}"])
def test_other_values_are_not_guids(value: str) -> None:
    """If a constraint fails, another route is tried."""
    assert Route.parse("", "{id:guid}").match(f"/{value}") is None


@given(st.integers())
def test_an_int_has_32_bits(value: int) -> None:
    """As in .NET."""
    matched = Route.parse("", "{n:int}").match(f"/{value}")

    assert matched == ({"n": str(value)} if -(2**31) <= value < 2**31 else None)


@pytest.mark.parametrize(
    ("constraint", "accepted", "refused"),
    [
        ("alpha", "aZ", "é"),
        ("bool", "TRUE", "1"),
        ("int:min(2)", "2", "1"),
        ("length(2)", "ab", "abc"),
        ("length(1,2)", "ab", "abc"),
        ("long", "-9223372036854775808", "9223372036854775808"),
        ("max(5)", "5", "6"),
        ("maxlength(2)", "ab", "abc"),
        ("minlength(2)", "ab", "a"),
        ("range(1,9)", "9", "10"),
        ("guid", " 11111111222233334444555555555555", "1111"),
    ],
)
def test_a_constraint_limits_a_parameter(constraint: str, accepted: str, refused: str) -> None:
    """A parameter can have several."""
    route = Route.parse("", f"{{p:{constraint}}}")

    assert route.match(f"/{accepted}") == {"p": accepted}
    assert route.match(f"/{refused}") is None


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("admin", "built in routes"),
        ("/Admin/x", "built in routes"),
        ("administrators", "built in routes"),
        ("runtime/webhooks", "built in routes"),
        ("{id}/{ID}", "twice"),
        ("a/{id:datetime}", "constraint"),
        ("a/{id:int(1)}", "constraint"),
        ("a{id?}", "Cannot read"),
        ("{a}{*b}", "Cannot read"),
        ("{id", "Cannot read"),
        ("a//b", "Cannot read"),
        ("{id=1}", "Cannot read"),
        ("{id?}/a", "last segment"),
        ("{*a}/b", "last segment"),
    ],
)
def test_an_invalid_template_is_rejected(template: str, reason: str) -> None:
    """It is reserved for the host, repeats a name, or would match differently than in Azure."""
    with pytest.raises(RouteError, match=reason):
        Route.parse("api", template)


def test_the_first_route_with_the_method_wins() -> None:
    """A more specific route that comes later is tried only for other methods."""
    router = Router[str]()
    router.add(Route.parse("", "{x}"), ("GET",), "get")
    router.add(Route.parse("", "a"), ("GET", "POST"), "both")

    assert router.find("GET", "/a") == ("get", {"x": "a"})
    assert router.find("POST", "/a") == ("both", {})
    assert router.find("HEAD", "/a") is None


def test_a_route_can_have_one_function_per_method() -> None:
    """A second function with the same route and method is in error."""
    router = Router[str]()
    router.add(Route.parse("", "a"), ("GET",), "get")
    router.add(Route.parse("", "A"), ("POST",), "post")

    with pytest.raises(RouteError, match="another function"):
        router.add(Route.parse("", "A"), (), "all")
