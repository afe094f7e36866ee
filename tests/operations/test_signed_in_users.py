"""What holds for every operation of signed-in users."""

import inspect

import pytest

from identity_service.http.binding import Operation
from identity_service.operations import me

OPERATIONS = [
    each
    for each in vars(me).values()
    if inspect.iscoroutinefunction(each)
    and each.__module__ == me.__name__
    and not each.__name__.startswith("_")
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_no_id(operation: Operation) -> None:
    """The identity is found through the signed-in user. No operation takes an id."""
    parameters = list(inspect.signature(operation).parameters)

    assert parameters[0] == "caller"
    assert "identity_id" not in parameters
