"""`python -m tools.openapi` writes openapi.json. `make openapi` runs it."""

from identity_service.operations.status import DOCUMENT
from tools.openapi.document import current

if __name__ == "__main__":
    DOCUMENT.write_text(current(), "utf-8")
