"""The operations: one public async function for each, one module for each resource.

The parameters of an operation say what it needs. `caller`, `identity_id`, `query` and `body` come
from the request; everything else comes from `Services` or `Settings`, by its name. `http.binding`
checks names and types when the app is loaded. The docstring lists the errors that the operation
itself raises; openapi.json has them.
"""
