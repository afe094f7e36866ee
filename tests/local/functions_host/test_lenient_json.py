"""Facts about the JSON of admin requests, which Newtonsoft.Json reads leniently."""

import pytest

from local.functions_host.lenient_json import JsonError, read_fields


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("{}", {}),
        ('{"input":""}', {"input": '""'}),
        ("{'Input': 'x'}", {"input": "'x'"}),
        ('{input:"x"}', {"input": '"x"'}),
        ('/* c */ {"input": NaN} // x', {"input": "NaN"}),
        ('{"input": -1.5e3, "b": 0x1F, "c": null,}', {"input": "-1.5e3", "b": "0x1F", "c": "null"}),
        ('{"a": {"b": [1, {}, []]}, "c": [true,]}', {"a": None, "c": None}),
        ('{"input":""} x {', {"input": '""'}),
        ('{"input":"\xff"}', {"input": '"\xff"'}),
        ('{"input":"","input":"x"}', {"input": '"x"'}),
    ],
)
def test_an_object_is_read(text: str, fields: dict[str, str | None]) -> None:
    """Scalars stay as they are written. Objects and arrays are skipped."""
    assert read_fields(text.encode()) == fields


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"5",
        b'"x"',
        b"{",
        b'{"input"',
        b'{"input":',
        b'{"input":x}',
        b'{"input" ""}',
        b'{"input":"" "b":1}',
        b'{"a":[1 2]}',
        b"{,}",
        b'{"input":"x',
        b"\xff",
        b'{"a":' + b"[" * 33 + b"]" * 33 + b"}",
        b'\xef\xbb\xbf{"input":""}',
        b'{"a":' + b"[" * 50_000,
    ],
)
def test_anything_else_is_rejected(body: bytes) -> None:
    """The host responds with 400."""
    with pytest.raises(JsonError):
        read_fields(body)
