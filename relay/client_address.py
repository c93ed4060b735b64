"""Whose request it is by address: the peer's, or what a trusted proxy says of it.

Pure. `X-Forwarded-For` is believed from proxies that the operator named, and from nobody else: anybody can send it.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

FORWARDED = b"x-forwarded-for"
HOPS_MAX = 32
IPV6_PREFIX = 64  # what one customer of a provider is given at least


class Proxies:
    """The reverse proxies that are trusted, by address or network."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        """Raises ValueError for what is neither an address nor a network."""
        self._networks = [ip_network(one) for one in trusted]

    def client(self, peer: str | None, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
        """Return the client's address: of the hops, read from the last, the first that is no trusted proxy.

        None where there is no address (a Unix socket, a test).
        """
        if peer is None:
            return None
        if not self._networks:
            return _shown(peer)
        address = parsed(peer)
        if address is None:
            return None
        if self._trusts(address):
            hops = [hop for name, value in headers if name == FORWARDED for hop in value.split(b",")]
            for hop in reversed(hops[-HOPS_MAX:]):
                found = parsed(hop.decode("latin-1").strip())
                if found is None:
                    break  # what stands before it was written by whoever wrote this
                address = found
                if not self._trusts(address):
                    break
        return str(address)

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


@lru_cache(maxsize=4096)
def parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, without a zone, an IPv4 one that is written as IPv6 as itself; None if it is none.

    A port behind it (`1.2.3.4:5`, `[::1]:5`), as some proxies write, is left out.
    """
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


@lru_cache(maxsize=4096)
def _shown(peer: str) -> str | None:
    found = parsed(peer)
    return None if found is None else str(found)


@lru_cache(maxsize=4096)
def limited_as(address: str) -> str | None:
    """Return what one limit is for: an IPv4 address, an IPv6 /64; None for loopback, where everybody may stand."""
    found = parsed(address)
    if found is None or found.is_loopback:
        return None
    return str(found) if isinstance(found, IPv4Address) else str(IPv6Network((found, IPV6_PREFIX), strict=False))
