"""Facts about routes."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host.routing import Route, RouteError, Router

SEGMENT = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


def test_a_literal_matches_in_any_case() -> None:
    """ASP.NET Core ignores the case of literals."""
    assert Route.parse("api", "Identities").match("/API/identities") == {}


def test_a_trailing_slash_makes_no_difference() -> None:
    """The path can end with one slash."""
    assert Route.parse("api", "identities").match("/api/identities/") == {}


@pytest.mark.parametrize("path", ["/", "/api", "/api//identities", "/api/identities/x", "/x/api"])
def test_other_paths_do_not_match(path: str) -> None:
    """A route matches the whole path, segment by segment."""
    assert Route.parse("api", "identities").match(path) is None


@given(SEGMENT)
def test_a_parameter_matches_any_segment(value: str) -> None:
    """Its value is the decoded segment, unchanged."""
    assert Route.parse("api", "identities/{id}").match(f"/api/identities/{value}") == {"id": value}


def test_a_parameter_cannot_be_empty() -> None:
    """It needs a segment."""
    assert Route.parse("api", "identities/{id}").match("/api/identities/") is None


@pytest.mark.parametrize(
    ("path", "values"), [("/api/a", {}), ("/api/a/", {}), ("/api/a/b", {"id": "b"})]
)
def test_an_optional_parameter_can_be_missing(path: str, values: dict[str, str]) -> None:
    """Then it is not among the values."""
    assert Route.parse("api", "a/{id?}").match(path) == values


@pytest.mark.parametrize(
    ("path", "values"),
    [("/api/a", {}), ("/api/a/b", {"rest": "b"}), ("/api/a/b/c%2Fd/", {"rest": "b/c%2Fd/"})],
)
def test_a_catch_all_matches_the_rest(path: str, values: dict[str, str]) -> None:
    """The rest can have slashes, and it can be empty."""
    assert Route.parse("api", "a/{*rest}").match(path) == values


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


def test_a_constrained_parameter_can_be_optional() -> None:
    """The constraint applies only to a value."""
    route = Route.parse("", "a/{n:int?}")

    assert route.match("/a") == {}
    assert route.match("/a/b") is None


@pytest.mark.parametrize("template", ["admin", "/Admin/x", "administrators", "runtime/webhooks"])
def test_reserved_routes_are_rejected(template: str) -> None:
    """Routes that start with admin or runtime belong to the host."""
    with pytest.raises(RouteError, match="built in routes"):
        Route.parse("api", template)


@pytest.mark.parametrize(
    "template",
    ["a/{id:alpha}", "a/{id:int:min(1)}", "a{id}", "{id", "a//b", "{id=1}", "{id?}/a", "{*a}/b"],
)
def test_an_unsupported_template_is_rejected(template: str) -> None:
    """A route that would match differently than in Azure is not served."""
    with pytest.raises(RouteError):
        Route.parse("api", template)


def test_a_parameter_name_cannot_repeat() -> None:
    """Names are compared ignoring case."""
    with pytest.raises(RouteError, match="twice"):
        Route.parse("api", "{id}/{ID}")


def test_the_first_matching_route_wins() -> None:
    """A more specific route that comes later is not tried."""
    router = Router[str]()
    router.add(Route.parse("", "{anything}"), (), "first")
    router.add(Route.parse("", "literal"), (), "second")

    assert router.find("GET", "/literal") == ("first", {"anything": "literal"})


def test_a_wrong_method_is_not_a_match() -> None:
    """Another route can still match."""
    router = Router[str]()
    router.add(Route.parse("", "a"), ("GET",), "get")
    router.add(Route.parse("", "{x}"), ("POST",), "post")

    assert router.find("POST", "/a") == ("post", {"x": "a"})
    assert router.find("HEAD", "/a") is None


def test_a_route_can_have_one_function_per_method() -> None:
    """A second function with the same route and method is in error."""
    router = Router[str]()
    router.add(Route.parse("", "a"), ("GET",), "get")
    router.add(Route.parse("", "A"), ("POST",), "post")

    with pytest.raises(RouteError, match="another function"):
        router.add(Route.parse("", "A"), (), "all")
