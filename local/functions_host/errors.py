"""What can be wrong with an app, by how much of it stops working.

AppError        nothing is served: the host ends with this message
FunctionError   this function is not served, the others are
"""


class AppError(Exception):
    """The app cannot be served at all, as when the worker finds no functions in it."""


class FunctionError(Exception):
    """One function is in error: logged at start, listed by `/admin/host/status`."""
