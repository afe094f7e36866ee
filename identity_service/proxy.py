"""The way out of a network that has only one."""

from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Proxy:
    """What HTTPS_PROXY and NO_PROXY say. Without an address everything is reached directly.

    Attributes:
        address: `http://host:port`, perhaps with a user and a password.
        bypass: Hosts that are reached directly, each with its subdomains; `*` stands for all.
    """

    address: str = field(default="", repr=False)
    bypass: tuple[str, ...] = ()

    @classmethod
    def parse(cls, address: str, bypass: str) -> Self:
        """The proxy at an address, whose scheme may be left out, and hosts between commas.

        Raises:
            ValueError: the address is none.
        """
        if address and "://" not in address:
            address = f"http://{address}"
        url = urlsplit(address)
        if address and not (url.scheme in ("http", "https") and url.hostname and url.port != 0):
            raise ValueError
        names = (name.strip().lower().lstrip(".") for name in bypass.split(","))
        return cls(address, tuple(name for name in names if name))

    def towards(self, url: str) -> dict[str, str]:
        """The keyword `proxies` of an SDK's client that calls `url`; for its calls over TLS only.

        Plain http is how the platform's identity endpoint is reached, which is on this machine.
        """
        target = urlsplit(url)
        spared = any(self._spares(name) for name in (target.hostname or "", target.netloc.lower()))
        return {"https": self.address} if self.address and not spared else {}

    def _spares(self, name: str) -> bool:
        return any(host in ("*", name) or name.endswith(f".{host}") for host in self.bypass)
