"""JSON Schemas of the types that the API sends and accepts.

msgspec describes the Python types. These functions turn that into what holds in JSON: no nulls that
are never sent, no class names as titles, descriptions from the docstrings.
"""

import inspect
import re
from collections.abc import Iterable
from typing import Any

import msgspec

Json = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"
# These suffixes distinguish our classes. Clients do not need them.
_SUFFIXES = re.compile("(Request|Response)$")


def components(types: Iterable[type]) -> Json:
    """The schemas of these types, and of all types that they use, by name."""
    _, found = msgspec.json.schema_components(
        sorted(types, key=_name), ref_template=REFERENCE.format(name="{name}")
    )
    schemas = {
        _component_name(name): _wire(schema, nullable=name.endswith("Request"))
        for name, schema in found.items()
    }
    used = str(schemas)
    return {
        name: schema
        for name, schema in schemas.items()
        if "properties" in schema or REFERENCE.format(name=name) in used
    }


def reference(kind: type) -> Json:
    """A reference to the schema of a type."""
    return {"$ref": REFERENCE.format(name=_name(kind))}


def inline(annotation: object) -> Json:
    """The schema of a type that is not a component."""
    schema: Json = _wire(msgspec.json.schema(annotation))
    return schema


def summary(documented: object) -> str:
    """A docstring up to its first section, each paragraph on one line."""
    text = inspect.getdoc(documented) or ""
    first = re.split(r"\n\n\w+:\n", text)[0]
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in first.split("\n\n"))


def section(text: str, title: str) -> dict[str, str]:
    """A section of a docstring: the description of each name."""
    found = re.search(rf"(?m)^{title}:\n((?:.+\n?)*)", inspect.cleandoc(text))
    entries = re.split(r"^ {4}(?=\S)", found[1], flags=re.MULTILINE)[1:] if found else []
    pairs = (" ".join(entry.split()).partition(": ") for entry in entries)
    return {name: described for name, _, described in pairs}


def _name(kind: type) -> str:
    """`Identity` for IdentityResponse, `IdentityPage` for PageResponse[IdentityResponse]."""
    names = [part.__name__ for part in (*getattr(kind, "__args__", ()), kind)]
    return "".join(_SUFFIXES.sub("", name) for name in names)


def _component_name(name: str) -> str:
    """Our name for a component. msgspec calls a page `PageResponse_IdentityResponse_`."""
    generic = re.fullmatch(r"(\w+?)_(\w+)_", name)
    names = [generic[2], generic[1]] if generic else [name]
    return "".join(_SUFFIXES.sub("", each) for each in names)


def _wire(schema: Json, *, nullable: bool = False) -> Any:
    """The schema as it holds in JSON, at all levels.

    An optional field of a request may be null. One of a response is absent, never null.
    """
    if "properties" in schema:
        schema = _with_descriptions(schema)
    schema = {name: _each(value, nullable=nullable) for name, value in schema.items()}
    if "anyOf" in schema:
        return _optional(schema, nullable=nullable)
    if "$ref" in schema:
        schema["$ref"] = _renamed(schema["$ref"])
    if "enum" in schema:
        schema.pop("$ref", None)  # the enum is narrower
        schema = {"type": "string", **schema}
    if schema.get("multipleOf") == 1:
        schema = {**schema, "type": "integer"}
        del schema["multipleOf"]
    if not isinstance(schema.get("title"), dict):
        schema.pop("title", None)
    return schema


def _renamed(ref: str) -> str:
    folder, _, name = ref.rpartition("/")
    return f"{folder}/{_component_name(name)}"


def _each(value: Any, *, nullable: bool) -> Any:
    if isinstance(value, dict):
        return _wire(value, nullable=nullable)
    if isinstance(value, list):
        return [_each(item, nullable=nullable) for item in value]
    return value


def _optional(schema: Json, *, nullable: bool) -> Json:
    [only] = [each for each in schema["anyOf"] if each != {"type": "null"}]
    described = {name: value for name, value in schema.items() if name == "description"}
    kind = {"type": [only["type"], "null"]} if nullable else {}
    return {**only, **kind, **described}


def _with_descriptions(schema: Json) -> Json:
    """Give each property the description of its attribute in the docstring."""
    text = schema.get("description", "")
    described = {_camel(name): words for name, words in section(text, "Attributes").items()}
    properties = {
        name: {**field, "description": described[name]} if name in described else field
        for name, field in schema["properties"].items()
    }
    description = re.split(r"\n\s*\n\s*Attributes:", text)[0]
    return {**schema, "description": " ".join(description.split()), "properties": properties}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return "".join([first, *(other.title() for other in others)])
