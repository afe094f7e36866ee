"""JSON Schemas of the types that go over the wire, as a reader of the API wants them.

msgspec knows the types; what it says of Python (nulls that are never sent, class names as titles,
docstrings with sections) becomes what holds on the wire.
"""

import inspect
import re
from collections.abc import Iterable
from typing import Any

import msgspec

Json = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"


def components(types: Iterable[type]) -> Json:
    """The schemas of these types and of all that they are made of, by name."""
    _, found = msgspec.json.schema_components(
        sorted(types, key=_name), ref_template=REFERENCE.format(name="{name}")
    )
    schemas = {_renamed(name): _wire(schema) for name, schema in found.items()}
    used = str(schemas)
    return {
        name: schema
        for name, schema in schemas.items()
        if "properties" in schema or REFERENCE.format(name=name) in used
    }


def reference(kind: type) -> Json:
    """Where the schema of a type stands."""
    return {"$ref": REFERENCE.format(name=_name(kind))}


def inline(annotation: object) -> Json:
    """The schema of something that has no name of its own."""
    schema: Json = _wire(msgspec.json.schema(annotation))
    return schema


def summary(documented: object) -> str:
    """A docstring up to its first section, each paragraph on one line."""
    text = inspect.getdoc(documented) or ""
    told = re.split(r"\n\n\w+:\n", text)[0]
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in told.split("\n\n"))


def section(text: str, title: str) -> dict[str, str]:
    """A section of a docstring: what it says of each name."""
    found = re.search(rf"(?m)^{title}:\n((?:.+\n?)*)", inspect.cleandoc(text))
    entries = re.split(r"^ {4}(?=\S)", found[1], flags=re.MULTILINE)[1:] if found else []
    pairs = (" ".join(entry.split()).partition(": ") for entry in entries)
    return {name: said for name, _, said in pairs}


def _name(kind: type) -> str:
    """`Identity`, and `IdentityPage` for a page of them."""
    parts = [part.__name__ for part in getattr(kind, "__args__", ())]
    return "".join([*parts, kind.__name__])


def _renamed(name: str) -> str:
    """Our name for a component; msgspec calls a page of identities `Page_Identity_`."""
    generic = re.fullmatch(r"(\w+?)_(\w+)_", name)
    return f"{generic[2]}{generic[1]}" if generic else name


def _wire(schema: Json) -> Any:
    """What is true on the wire, all the way down."""
    if "properties" in schema:
        schema = _with_descriptions(schema)
    schema = {name: _deeper(value) for name, value in schema.items()}
    if "anyOf" in schema:
        return _without_null(schema)
    if "enum" in schema:
        schema.pop("$ref", None)  # the narrower of the two
        schema = {"type": "string", **schema}
    if schema.get("multipleOf") == 1:
        schema = {**schema, "type": "integer"}
        del schema["multipleOf"]
    if not isinstance(schema.get("title"), dict):
        schema.pop("title", None)
    return schema


def _deeper(value: Any) -> Any:
    if isinstance(value, dict):
        return _wire(value)
    if isinstance(value, list):
        return [_deeper(each) for each in value]
    return value


def _without_null(schema: Json) -> Json:
    """An optional member of an answer is left out, and never null."""
    [only] = [each for each in schema["anyOf"] if each != {"type": "null"}]
    described = {name: value for name, value in schema.items() if name == "description"}
    return {**only, **described}


def _with_descriptions(schema: Json) -> Json:
    """What the docstring says of each attribute, said of each property."""
    text = schema.get("description", "")
    told = {_camel(name): said for name, said in section(text, "Attributes").items()}
    properties = {
        name: {**member, "description": told[name]} if name in told else member
        for name, member in schema["properties"].items()
    }
    description = re.split(r"\n\s*\n\s*Attributes:", text)[0]
    return {**schema, "description": " ".join(description.split()), "properties": properties}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return "".join([first, *(other.title() for other in others)])
