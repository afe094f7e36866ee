"""Facts about paths, queries and repeated headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host.http import PathError, decode_path, encode_path, fold, parse_query


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
        ("/a%ffb", "/a%ffb"),
        ("/%C3%A9%e2%82%20%C3", "/é%e2%82 %C3"),
    ],
)
def test_a_path_is_decoded_as_in_kestrel(raw: str, path: str) -> None:
    """Escaped slashes and bytes that are not UTF-8 stay escaped. Dot segments are resolved."""
    assert decode_path(raw) == path


def test_a_path_with_a_null_character_is_rejected() -> None:
    """Kestrel responds with 400."""
    with pytest.raises(PathError):
        decode_path("/a%00b")


@pytest.mark.parametrize(
    ("path", "encoded"),
    [("/8:acs:a b", "/8:acs:a%20b"), ("/é", "/%C3%A9"), ("/a%2Fb", "/a%2Fb"), ("/5%", "/5%25")],
)
def test_a_path_is_encoded_only_where_necessary(path: str, encoded: str) -> None:
    """Allowed characters and existing escapes are kept."""
    assert encode_path(path) == encoded


@given(st.text(st.characters(exclude_characters="%\0", exclude_categories=["Cs"])))
def test_encoding_and_decoding_restores_a_path(text: str) -> None:
    """The URL that a function receives has the path that was routed."""
    path = decode_path("/" + text.replace("/.", "/"))

    assert decode_path(encode_path(path)) == path


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("a=1&b=x%20y+z", {"a": "1", "b": "x y z"}),
        ("?a=1&A=2&a=3", {"A": "1,2,3"}),
        ("a=%FF&b=%zz&%C3%A9=+", {"a": "%FF", "b": "%zz", "é": " "}),
        ("a=&b", {}),
        ("", {}),
    ],
)
def test_query_values_are_joined_and_empty_ones_dropped(query: str, values: dict[str, str]) -> None:
    """Names are compared ignoring case. The second spelling of a repeated name is kept."""
    assert parse_query(query) == values


def test_folding_keeps_an_empty_header_and_skips_empty_parts() -> None:
    """A header can be empty. Empty values add no comma to joined ones."""
    folded = fold([("a", ""), ("b", ""), ("B", "1"), ("b", ""), ("b", "2")])

    assert folded == {"a": "", "B": "1,2"}
