"""Which hosts a sandbox may reach: names decide, and what they resolve to."""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

from codexteam.adapters.sandbox.network.upstream import Upstreams
from codexteam.errors import SurroundingsError

_WEB_PORTS = frozenset({80, 443})

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")


class _Reach(IntEnum):
    """Where an address leads; the higher, the more a list has to say before it may be used."""

    PUBLIC = 0
    PRIVATE = 1
    """A private network, or a range that nobody on the public internet has."""
    LOCAL = 2
    """This machine, its link, or what a cloud keeps its machines' credentials behind."""
    NOBODY = 3
    """No one host: multicast, broadcast, no address at all."""


#: What the registries of special addresses of IANA list as not globally reachable; of two that match, the narrower
#: holds. The standard library's own tables differ from release to release.
_RANGES: Mapping[_Reach, str] = {
    _Reach.NOBODY: "0.0.0.0/32 255.255.255.255/32 224.0.0.0/4 ::/128 ff00::/8",
    _Reach.LOCAL: (
        "0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 240.0.0.0/4 ::1/128 fe80::/10 "
        # where clouds answer machines about themselves, outside the link's own ranges
        "100.100.100.200/32 168.63.129.16/32 192.0.0.192/32 fd00:ec2::254/128 fd20:ce::254/128"
    ),
    _Reach.PRIVATE: (
        "10.0.0.0/8 100.64.0.0/10 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 "
        "198.51.100.0/24 203.0.113.0/24 ::/8 100::/8 2001::/23 2001:db8::/32 3fff::/20 5f00::/16 64:ff9b:1::/48 "
        "fc00::/7 fec0::/10"
    ),
    # NAT64 and what stands inside `2001::/23` and `192.0.0.0/24`, but is reachable
    _Reach.PUBLIC: (
        "192.0.0.9/32 192.0.0.10/32 64:ff9b::/96 2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:3::/32 2001:4:112::/48 "
        "2001:20::/28 2001:30::/28"
    ),
}
_NARROWEST_FIRST = sorted(
    ((ipaddress.ip_network(text), reach) for reach, texts in _RANGES.items() for text in texts.split()),
    key=lambda entry: -entry[0].prefixlen,
)


@dataclass(frozen=True, slots=True)
class ProxyPolicy:
    """An allowlist of hosts."""

    hosts: tuple[str, ...]
    """Each a name, `*.domain` (its children, not itself) or an address, with or without `:port`; without one, the
    ports of the web."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Host name to the bearer token that the proxy adds."""
    upstreams: Upstreams = field(default_factory=Upstreams)
    """The user's own proxies, through which this machine reaches hosts."""

    def allows(self, host: str, port: int) -> bool:
        """Return whether a host may be asked for by this name (or address)."""
        return self._rule(host, port) is not None

    def allows_address(self, host: str, port: int, address: str) -> bool:
        """Return whether a name that is allowed may lead to this address.

        Addresses of the public internet always. An address inside a private network when the very name (no wildcard)
        is listed: a name of a wildcard's domain may be anybody's. This machine's own and link-local ones, and others
        behind which clouds keep credentials, only when the list has the address itself or `localhost`. Of an address
        that carries another one (`::ffff:127.0.0.1`), both have to be allowed.
        """
        rule = self._rule(host, port)
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        reach = max(_reach(part) for part in _parts(found))
        if rule is None or reach is _Reach.NOBODY:
            return False
        if reach is _Reach.LOCAL:
            return _is_address(rule) or (rule == "localhost" and found.is_loopback)
        return reach is _Reach.PUBLIC or not rule.startswith("*.")

    def allows_unresolved(self, host: str, port: int) -> bool:
        """Return whether a host may be asked for through a proxy that looks its name up itself."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return self.allows(host, port)
        return self.allows_address(host, port, host)

    def secret_for(self, host: str) -> str | None:
        """Return the token for a host."""
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


def bearer_tokens(variables: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the tokens that the proxy adds, by host name, from the variables that hold them; unset ones are left out.

    Raises:
        SurroundingsError: a variable holds what cannot stand in a header.
    """
    found = {}
    for host, name in variables.items():
        token = environment.get(name, "").strip()
        if not token:
            continue
        if not (token.isascii() and token.isprintable() and " " not in token):
            raise SurroundingsError(
                f"the environment variable {name} holds no bearer token for {host}: it has white space, control "
                "characters or characters outside ASCII",
                hint="set it to the token alone (`proxy_secrets` in [codexteam.sandbox])",
            )
        found[_normal(host)] = token
    return found


def split_port(text: str) -> tuple[str, int | None]:
    """Split `host`, `host:port`, `[address]:port` and `[address]`.

    Raises:
        ValueError: the port is invalid, or the brackets do not hold an address.
    """
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or not _is_address(name):
            raise ValueError(f"{text} is not [address]:port")
        port = rest.removeprefix(":")
    elif text.count(":") > 1:
        return text, None
    else:
        name, _, port = text.partition(":")
    if not port:
        return name, None
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError(f"{port[:20]} is not a valid port")
    return name, int(port)


def _parts(address: _Address) -> Iterator[_Address]:
    """Return an address and those it carries: mapped or compatible, 6to4, Teredo (server and client), NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:  # another way to write the very address
        yield address.ipv4_mapped
        return
    yield address
    low_bits = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        yield low_bits
    if (int(address) >> 32) & 0xFDFFFFFF == 0x5EFE:  # ISATAP
        yield low_bits
    if address.sixtofour is not None:
        yield address.sixtofour
    yield from address.teredo or ()


def _reach(address: _Address) -> _Reach:
    for network, reach in _NARROWEST_FIRST:
        if address.version == network.version and address in network:
            return reach
    in_use = address.version == 4 or address in _GLOBAL_UNICAST
    return _Reach.PUBLIC if in_use else _Reach.PRIVATE


def _normal(host: str) -> str:
    return host.rstrip(".").lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
