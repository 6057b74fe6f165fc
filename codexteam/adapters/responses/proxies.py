"""Which proxy of the environment is between us and a server, and the notice about it. Pure."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class ProxyUse:
    """A proxy that requests go through."""

    variable: str
    url: str
    """Without credentials."""
    host: str
    """Whom it is asked for."""

    @property
    def words(self) -> str:
        """Say it behind an error, with the way around it."""
        return f" (asked through the proxy {self.url} of {self.variable}; no_proxy={self.host} goes around it)"


def is_loopback(url: str) -> bool:
    """Whether a server is on this machine: no proxy elsewhere can reach it."""
    host = (urlsplit(url).hostname or "").lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def proxy_used(url: str, environment: Mapping[str, str]) -> ProxyUse | None:
    """Return the proxy that the environment names for a server; None when it is asked directly."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    no_proxy = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if any(_covers(entry.strip().lower(), host.lower()) for entry in no_proxy.split(",")):
        return None
    names = [f"{parts.scheme}_proxy", "all_proxy"]
    for variable in [spelling for name in names for spelling in (name, name.upper())]:
        value = environment.get(variable)
        if value:
            proxy = urlsplit(value if "://" in value else f"http://{value}")
            address = proxy.netloc.rpartition("@")[2]
            return ProxyUse(variable, f"{proxy.scheme}://{address}", host)
    return None


def _covers(entry: str, host: str) -> bool:
    domain = entry.rpartition("://")[2].lstrip("*.")
    return entry == "*" or (bool(domain) and (host == domain or host.endswith(f".{domain}")))
