"""Lists classes of errors."""

from typing import TypeVar

from identity_service.errors import ServiceError

T = TypeVar("T")


def subclasses(kind: type[T]) -> list[type[T]]:
    """The class and all classes that derive from it, each once."""
    found = [kind]
    for child in kind.__subclasses__():
        found += [each for each in subclasses(child) if each not in found]
    return found


def service_errors() -> list[type[ServiceError]]:
    """Every error that a caller can receive."""
    return subclasses(ServiceError)[1:]
