"""The app's settings: read once, checked all together."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from identity_service.errors import NotConfigured

ENDPOINT = "COMMUNICATION_SERVICES_ENDPOINT"
ACCESS_KEY = "COMMUNICATION_SERVICES_ACCESSKEY"
CONNECTION_STRING = "COMMUNICATION_SERVICES_CONNECTION_STRING"


@dataclass(frozen=True)
class Settings:
    """What the environment says, in a form that is known to be good.

    Attributes:
        acs_endpoint: `https://host` or `https://host:port` of the ACS resource.
        acs_access_key: Its key in base64; None where the app's own identity is used.
    """

    acs_endpoint: str
    acs_access_key: str | None = field(default=None, repr=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings; an empty one counts as not set.

        Raises:
            NotConfigured: with every fault and its remedy in one message, and never a value.
        """
        faults: list[str] = []
        endpoint, access_key = _acs(environ, faults)
        if faults:
            raise NotConfigured(" ".join(faults))
        return cls(acs_endpoint=endpoint, acs_access_key=access_key)


def _acs(environ: Mapping[str, str], faults: list[str]) -> tuple[str, str | None]:
    """Endpoint and key, by one of the three ways of Microsoft's quickstart."""
    endpoint, access_key, connection_string = (
        environ.get(name, "").strip() for name in (ENDPOINT, ACCESS_KEY, CONNECTION_STRING)
    )
    where = ENDPOINT
    if connection_string:
        for name, value in ((ENDPOINT, endpoint), (ACCESS_KEY, access_key)):
            if value:
                faults.append(f"{CONNECTION_STRING} and {name} are both set: remove one of them.")
        where = CONNECTION_STRING
        endpoint, access_key = _parts(connection_string)
        if not (endpoint and access_key):
            faults.append(
                f"{CONNECTION_STRING} is not a connection string: copy it from the resource's"
                " Keys page; it reads endpoint=https://…;accesskey=…"
            )
            return "", None
    elif not endpoint:
        faults.append(
            f"{ENDPOINT} is missing: set it to the endpoint of the ACS resource, or set"
            f" {CONNECTION_STRING}."
        )
    return _endpoint(where, endpoint, faults), _access_key(where, access_key, faults)


def _parts(connection_string: str) -> tuple[str, str]:
    pairs = (part.partition("=") for part in connection_string.split(";"))
    values = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return values.get("endpoint", ""), values.get("accesskey", "")


def _endpoint(where: str, text: str, faults: list[str]) -> str:
    """The endpoint in the one spelling with which the SDK signs and sends correctly."""
    if not text:
        return ""
    try:
        url = urlsplit(text)
        port = f":{url.port}" if url.port else ""
    except ValueError:
        url, port = urlsplit(""), ""
    bare = not (url.path.strip("/") or url.query or url.fragment or "@" in url.netloc)
    if url.scheme != "https" or not url.hostname or not bare:
        faults.append(
            f"{where}: the endpoint must be https:// with a bare host and, if need be, a port,"
            " such as https://contoso.communication.azure.com."
        )
        return ""
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"https://{host}{port}"


def _access_key(where: str, text: str, faults: list[str]) -> str | None:
    if not text:
        return None
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        name = ACCESS_KEY if where == ENDPOINT else where
        faults.append(f"{name}: the access key is not base64: copy it anew from the Keys page.")
    return text
