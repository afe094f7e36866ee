"""Facts about routes."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host.routing import Route, RouteError, Router

SEGMENT = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


def test_a_literal_matches_in_any_case() -> None:
    """ASP.NET Core compares literals without regard to case."""
    assert Route.parse("api", "Identities").match("/API/identities") == {}


def test_a_trailing_slash_makes_no_difference() -> None:
    """The path may end with one slash."""
    assert Route.parse("api", "identities").match("/api/identities/") == {}


@pytest.mark.parametrize("path", ["/", "/api", "/api//identities", "/api/identities/x", "/x/api"])
def test_other_paths_do_not_match(path: str) -> None:
    """A route matches the whole path, segment by segment."""
    assert Route.parse("api", "identities").match(path) is None


@given(SEGMENT)
def test_a_parameter_takes_any_one_segment_as_it_is(value: str) -> None:
    """Whatever a decoded segment holds arrives unchanged."""
    assert Route.parse("api", "identities/{id}").match(f"/api/identities/{value}") == {"id": value}


def test_a_parameter_is_not_empty() -> None:
    """A plain parameter needs a segment."""
    assert Route.parse("api", "identities/{id}").match("/api/identities/") is None


@pytest.mark.parametrize(
    ("path", "values"), [("/api/a", {}), ("/api/a/", {}), ("/api/a/b", {"id": "b"})]
)
def test_an_optional_parameter_may_be_missing(path: str, values: dict[str, str]) -> None:
    """A missing one is not among the parameters."""
    assert Route.parse("api", "a/{id?}").match(path) == values


@pytest.mark.parametrize(
    ("path", "values"),
    [("/api/a", {}), ("/api/a/b", {"rest": "b"}), ("/api/a/b/c%2Fd/", {"rest": "b/c%2Fd/"})],
)
def test_a_catch_all_takes_the_rest(path: str, values: dict[str, str]) -> None:
    """Slashes and all, and nothing too."""
    assert Route.parse("api", "a/{*rest}").match(path) == values


@given(st.uuids())
def test_a_guid_is_taken_in_each_of_its_forms(value: uuid.UUID) -> None:
    """Those that Guid.TryParse takes for a guid: N, D, B and P."""
    route = Route.parse("", "{id:guid}")

    for text in (value.hex, str(value), f"{{{value}}}", f"({value})", str(value).upper()):
        assert route.match(f"/{text}") == {"id": text}


@pytest.mark.parametrize("value", ["x", "1", "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e", "{}"])
def test_what_is_no_guid_does_not_match(value: str) -> None:
    """A constraint that does not hold means another route, or 404."""
    assert Route.parse("", "{id:guid}").match(f"/{value}") is None


@given(st.integers())
def test_an_int_has_32_bits(value: int) -> None:
    """As in .NET."""
    matched = Route.parse("", "{n:int}").match(f"/{value}")

    assert matched == ({"n": str(value)} if -(2**31) <= value < 2**31 else None)


def test_a_constraint_lets_an_optional_parameter_be_missing() -> None:
    """It is asked only about what is there."""
    route = Route.parse("", "a/{n:int?}")

    assert route.match("/a") == {}
    assert route.match("/a/b") is None


@pytest.mark.parametrize("template", ["admin", "/Admin/x", "administrators", "runtime/webhooks"])
def test_the_hosts_own_routes_are_refused(template: str) -> None:
    """What begins with admin or runtime belongs to the host."""
    with pytest.raises(RouteError, match="built in routes"):
        Route.parse("api", template)


@pytest.mark.parametrize(
    "template",
    ["a/{id:alpha}", "a/{id:int:min(1)}", "a{id}", "{id", "a//b", "{id=1}", "{id?}/a", "{*a}/b"],
)
def test_a_template_beyond_ours_is_refused(template: str) -> None:
    """A route that would be matched otherwise than in Azure is not served at all."""
    with pytest.raises(RouteError):
        Route.parse("api", template)


def test_a_parameter_has_its_name_for_itself() -> None:
    """The host refuses a name that comes twice, in any case."""
    with pytest.raises(RouteError, match="twice"):
        Route.parse("api", "{id}/{ID}")


def test_the_first_route_that_fits_wins() -> None:
    """Not the best one."""
    router = Router[str]()
    router.add(Route.parse("", "{anything}"), (), "first")
    router.add(Route.parse("", "literal"), (), "second")

    assert router.find("GET", "/literal") == ("first", {"anything": "literal"})


def test_a_wrong_method_is_no_match() -> None:
    """Another route may still take it."""
    router = Router[str]()
    router.add(Route.parse("", "a"), ("GET",), "get")
    router.add(Route.parse("", "{x}"), ("POST",), "post")

    assert router.find("POST", "/a") == ("post", {"x": "a"})
    assert router.find("HEAD", "/a") is None


def test_a_route_is_defined_once_for_a_method() -> None:
    """The host puts the second function in error; other methods are another matter."""
    router = Router[str]()
    router.add(Route.parse("", "a"), ("GET",), "get")
    router.add(Route.parse("", "A"), ("POST",), "post")

    with pytest.raises(RouteError, match="another function"):
        router.add(Route.parse("", "A"), (), "all")
