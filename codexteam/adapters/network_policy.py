"""Which hosts a sandbox may reach: names decide, and what they resolve to."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

_WEB_PORTS = frozenset({80, 443})


@dataclass(frozen=True, slots=True)
class ProxyPolicy:
    """An allowlist of hosts."""

    hosts: tuple[str, ...]
    """Each a name, `*.domain` (its children, not itself) or an address, with or without `:port`; without one, the
    ports of the web."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Host name to the bearer token that the proxy adds."""

    def allows(self, host: str, port: int) -> bool:
        """Give whether a host may be asked for by this name (or address)."""
        return self._rule(host, port) is not None

    def allows_address(self, host: str, port: int, address: str) -> bool:
        """Give whether a name that is allowed may lead to this address.

        Addresses of the public internet always. An address inside a private network when the very name (no wildcard)
        is listed: a name of a wildcard's domain may be anybody's. This machine's own and link-local ones, behind
        which clouds keep credentials, only when the list has the address itself or `localhost`.
        """
        found = ipaddress.ip_address(address)
        mapped = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
        found = mapped or found
        rule = self._rule(host, port)
        if rule is None or found.is_multicast or found.is_unspecified:
            return False
        if found.is_global and not found.is_reserved:
            return True
        if found.is_loopback or found.is_link_local or found.is_reserved:
            return _is_address(rule) or rule == "localhost"
        return not rule.startswith("*.")

    def secret_for(self, host: str) -> str | None:
        """Give the token for a host."""
        return self.secrets.get(_normal(host))

    def _rule(self, host: str, port: int) -> str | None:
        host = _normal(host)
        for entry in self.hosts:
            name, own_port = split_port(entry)
            name = _normal(name)
            if port not in (_WEB_PORTS if own_port is None else {own_port}):
                continue
            if name == host:
                return name
            if name.startswith("*.") and host.endswith(name[1:]) and host != name[1:] and not _is_address(host):
                return name
        return None


def split_port(text: str) -> tuple[str, int | None]:
    """Split `host`, `host:port`, `[address]:port` and `[address]`.

    Raises:
        ValueError: the port is none.
    """
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") > 1:
        return text, None
    else:
        name, _, port = text.partition(":")
    if not port:
        return name, None
    number = int(port)
    if not 0 < number < 65536:
        raise ValueError(f"{number} is no port")
    return name, number


def _normal(host: str) -> str:
    return host.rstrip(".").lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
