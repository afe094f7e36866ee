"""Finds the changes of an API that docs/api.md rules out, between two OpenAPI documents."""

from collections.abc import Callable, Iterator
from typing import Any

from tools.openapi.json_schemas import Json

# What narrows the valid requests.
_UPPER = ("maximum", "maxLength", "maxItems")
_LOWER = ("minimum", "minLength", "minItems")
_ANY = ["any"]
_FIXED = ("pattern", "format", "uniqueItems")


def breaking_changes(old: Json, new: Json) -> list[str]:
    """What clients of the old API could use and cannot rely on any more. Empty if compatible."""
    return list(_Comparison(old, new).operations())


class _Comparison:
    """Compares two documents. Each message begins with where the change is."""

    def __init__(self, old: Json, new: Json) -> None:
        self._old = _resolver(old)
        self._new = _resolver(new)
        self._before, self._after = old["paths"], new["paths"]

    def operations(self) -> Iterator[str]:
        """The changes of every operation."""
        for path, methods in self._before.items():
            for method, old in methods.items():
                where = f"{method.upper()} {path}"
                new = self._after.get(path, {}).get(method)
                if new is None:
                    yield f"{where}: removed"
                else:
                    yield from self._operation(where, old, new)

    def _operation(self, where: str, old: Json, new: Json) -> Iterator[str]:
        if old["operationId"] != new["operationId"]:
            yield f"{where}: renamed to {new['operationId']}"
        for scheme in (old["security"] or [{}]) if new["security"] else ():
            if not any(_opens(scheme, one) for one in new["security"]):
                yield f"{where}: {' '.join(scheme) or 'no credential'} is not enough any more"
        yield from self._parameters(where, old, new)
        yield from self._request_body(where, old.get("requestBody"), new.get("requestBody"))
        yield from self._responses(where, old["responses"], new["responses"])

    def _parameters(self, where: str, old: Json, new: Json) -> Iterator[str]:
        before = {each["name"]: each for each in map(self._old, old.get("parameters", []))}
        after = {each["name"]: each for each in map(self._new, new.get("parameters", []))}
        yield from _removed(where, "parameter", before, after)
        for name, parameter in after.items():
            was_required = name in before and before[name].get("required", False)
            if parameter.get("required") and not was_required:
                yield f"{where}: parameter {name} required"
        for name in before.keys() & after.keys():
            at = f"{where}: parameter {name}"
            yield from self._request(at, before[name]["schema"], after[name]["schema"])

    def _request_body(self, where: str, old: Json | None, new: Json | None) -> Iterator[str]:
        if new is None:
            if old is not None:
                yield f"{where}: body removed"
            return
        if new["required"] and not (old and old["required"]):
            yield f"{where}: body required"
        for kind, content in old["content"].items() if old else ():
            if kind not in new["content"]:
                yield f"{where}: body as {kind} removed"
            else:
                after = new["content"][kind]["schema"]
                yield from self._request(f"{where}: body", content["schema"], after)

    def _request(self, where: str, old: Json, new: Json) -> Iterator[str]:
        """A value that was valid stays valid, and means the same."""
        old, new = self._old(old), self._new(new)
        if _types(new) != _ANY:
            yield from _removed(where, "type", _types(old), _types(new))
        if _values(new):
            yield from _removed(where, "value", _values(old) or _ANY, _values(new))
        for bounds, is_narrower in ((_UPPER, _less), (_LOWER, _more)):
            for bound in bounds:
                if is_narrower(new.get(bound), old.get(bound)):
                    yield f"{where}: {bound} narrowed"
        for name in _FIXED:
            if name in new and new[name] != old.get(name):
                yield f"{where}: {name} changed"
        if new.get("additionalProperties") is False is not old.get("additionalProperties"):
            yield f"{where}: other fields refused"
        yield from _removed(where, "field", _fields(old), _fields(new))
        required = new.get("required", ()), old.get("required", ())
        yield from _removed(where, "field", *required, "required")
        yield from self._parts(where, old, new, self._request)

    def _responses(self, where: str, old: Json, new: Json) -> Iterator[str]:
        yield from _removed(where, "status", old, new)
        for status in new.keys() - old.keys():
            if status.startswith("2"):
                yield f"{where}: status {status} added to the successes"
        for status in old.keys() & new.keys():
            at = f"{where}: {status}"
            before, after = self._old(old[status]), self._new(new[status])
            yield from _removed(at, "header", before.get("headers", {}), after.get("headers", {}))
            for name, header in before.get("headers", {}).items():
                renewed = after.get("headers", {}).get(name, {})
                if self._old(header).get("required") and not self._new(renewed).get("required"):
                    yield f"{at}: header {name} is not always sent any more"
            contents = before.get("content", {}), after.get("content", {})
            yield from _removed(at, "content", *contents)
            for kind in contents[0].keys() & contents[1].keys():
                schemas = (each[kind]["schema"] for each in contents)
                yield from self._alternatives(at, *schemas)

    def _alternatives(self, where: str, old: Json, new: Json) -> Iterator[str]:
        """A response that is one of several: each of them stays, more may come."""
        before = {_name(self._old(each)): each for each in old.get("oneOf", [old])}
        after = {_name(self._new(each)): each for each in new.get("oneOf", [new])}
        yield from _removed(where, "code", before, after)
        for name in before.keys() & after.keys():
            yield from self._response(where, before[name], after[name])

    def _response(self, where: str, old: Json, new: Json) -> Iterator[str]:
        """Everything that a client may read is still there, and of the same type."""
        old, new = self._old(old), self._new(new)
        if _types(old) != _ANY:
            yield from _removed(where, "type", _types(new), _types(old), "added")
        yield from _removed(where, "value", _values(old), _values(new))
        if new.get("format") != old.get("format") and "format" in old:
            yield f"{where}: format changed"
        yield from _removed(where, "field", _fields(old), _fields(new))
        required = old.get("required", ()), new.get("required", ())
        yield from _removed(where, "field", *required, "is not always sent any more")
        yield from self._parts(where, old, new, self._response)

    def _parts(
        self, where: str, old: Json, new: Json, compare: Callable[[str, Json, Json], Iterator[str]]
    ) -> Iterator[str]:
        for name in _fields(old).keys() & _fields(new).keys():
            yield from compare(f"{where}.{name}", _fields(old)[name], _fields(new)[name])
        if "items" in old and "items" in new:
            yield from compare(f"{where}[]", old["items"], new["items"])


def _resolver(document: Json) -> Callable[[Json], Json]:
    """A function from a part of the document to itself, without references at its top."""

    def resolve(part: Json) -> Json:
        while reference := part.get("$ref"):
            found: Any = document
            for step in reference.removeprefix("#/").split("/"):
                found = found[step]
            part = {**found, **{name: value for name, value in part.items() if name != "$ref"}}
        for base in map(resolve, part.get("allOf", ())):
            properties = {**_fields(base), **_fields(part)}
            required = [*base.get("required", ()), *part.get("required", ())]
            part = {**base, **part, "properties": properties, "required": required}
        return part

    return resolve


def _removed(where: str, what: str, old: Any, new: Any, how: str = "removed") -> Iterator[str]:
    for name in sorted(set(old) - set(new), key=str):
        yield f"{where}: {what} {name} {how}"


def _opens(old: Json, new: Json) -> bool:
    """Whether a caller with the old credential has the new one: the same scheme, no more roles."""
    return old.keys() == new.keys() and all(set(new[name]) <= set(old[name]) for name in new)


def _types(schema: Json) -> list[str]:
    kinds = schema.get("type", _ANY)
    return kinds if isinstance(kinds, list) else [kinds]


def _values(schema: Json) -> list[Any]:
    found: list[Any] = [schema["const"]] if "const" in schema else schema.get("enum", [])
    return found


def _fields(schema: Json) -> Json:
    found: Json = schema.get("properties", {})
    return found


def _name(schema: Json) -> str:
    """What tells the alternatives apart: the code of a problem. Other bodies have none."""
    return str(_fields(schema).get("code", {}).get("const", ""))


def _less(new: float | None, old: float | None) -> bool:
    return new is not None and (old is None or new < old)


def _more(new: float | None, old: float | None) -> bool:
    return new is not None and (old is None or new > old)
