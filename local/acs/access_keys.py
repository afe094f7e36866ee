"""The resource's access keys, either of which opens it, and each of which can be made anew."""

import base64
import secrets
from collections.abc import Iterator
from enum import StrEnum


class KeyName(StrEnum):
    """Which of the two."""

    PRIMARY = "primary"
    SECONDARY = "secondary"


class AccessKeys:
    """Primary and secondary, in base64.

    Raises:
        ValueError: One of them is not base64.
    """

    def __init__(self, primary: str, secondary: str) -> None:
        for key in (primary, secondary):
            base64.b64decode(key, validate=True)
        self._keys = {KeyName.PRIMARY: primary, KeyName.SECONDARY: secondary}

    def __iter__(self) -> Iterator[bytes]:
        """Both, decoded, as signatures are made with them."""
        return (base64.b64decode(key) for key in self._keys.values())

    def regenerate(self, name: KeyName) -> None:
        """Make this one anew; what it was opens nothing any more."""
        self._keys[name] = base64.b64encode(secrets.token_bytes(64)).decode()

    def document(self) -> dict[str, str]:
        """Both, by name."""
        return {str(name): key for name, key in self._keys.items()}
