"""Facts about paths and queries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host.urls import PathError, decode_path, encode_path, parse_query


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/a%20b", "/a b"),
        ("/8%3Aacs%3Ax", "/8:acs:x"),
        ("/%C3%A9", "/é"),
        ("/a%2Fb%2fc", "/a%2Fb%2fc"),
        ("/a%252Fb", "/a%2Fb"),
        ("/a%FFb", "/a%FFb"),
        ("/a+b", "/a+b"),
        ("/a//b/", "/a//b/"),
        ("/a/../b/./c/%2e%2e", "/b/"),
        ("/../..", "/"),
        ("*", "/*"),
    ],
)
def test_a_path_is_decoded_as_kestrel_does(raw: str, path: str) -> None:
    """Escaped slashes and bytes that are no UTF-8 stay escaped; dot segments are resolved."""
    assert decode_path(raw) == path


def test_a_path_holds_no_null_character() -> None:
    """Kestrel answers 400."""
    with pytest.raises(PathError):
        decode_path("/a%00b")


@pytest.mark.parametrize(
    ("path", "encoded"),
    [("/8:acs:a b", "/8:acs:a%20b"), ("/é", "/%C3%A9"), ("/a%2Fb", "/a%2Fb"), ("/5%", "/5%25")],
)
def test_a_path_is_encoded_as_little_as_may_be(path: str, encoded: str) -> None:
    """What a path may hold stays; what is escaped already stays escaped."""
    assert encode_path(path) == encoded


@given(st.text(st.characters(exclude_characters="%\0", exclude_categories=["Cs"])))
def test_an_encoded_path_is_decoded_to_itself(text: str) -> None:
    """The URL that a function sees names the path that was matched."""
    path = decode_path("/" + text.replace("/.", "/"))

    assert decode_path(encode_path(path)) == path


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("a=1&b=x%20y+z", {"a": "1", "b": "x y z"}),
        ("a=1&A=2&a=3", {"a": "1,2,3"}),
        ("a=&b", {}),
        ("", {}),
    ],
)
def test_query_values_are_joined_and_empty_ones_vanish(query: str, values: dict[str, str]) -> None:
    """Names are compared without regard to case, the first spelling stays."""
    assert parse_query(query) == values
