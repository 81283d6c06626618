"""The addresses of clients, from sockets and from the headers of trusted proxies. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""Headers as ASGI gives them: pairs of a lower-case name and a value."""

Network: TypeAlias = IPv4Network | IPv6Network
"""A range of IP addresses."""


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address; IPv4 mapped into IPv6 becomes plain IPv4. Return None for any other text."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        # A zone ("%eth0") is free text with a meaning on one machine only.
        return None if address.scope_id is not None else address.ipv4_mapped or address
    return address


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Does this host name or address, without a port, always mean this machine?"""
    name = host.lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = parse_address(name.removeprefix("[").removesuffix("]"))
    return address is not None and address.is_loopback


def client_address(peer: str, headers: Headers, trusted_proxies: Collection[Network]) -> str:
    """Return the address of the client: `peer`, the socket's, unless that is a trusted proxy.

    Behind a trusted proxy it is the right-most entry of X-Forwarded-For that is not a trusted proxy itself.
    Clients can forge the entries further left, and all entries left of one that is no address.
    """
    client = parse_address(peer) if trusted_proxies else None
    if client is None or not _is_in_any(client, trusted_proxies):
        return peer
    values = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    for entry in reversed(",".join(values).split(",")):
        address = parse_address(_strip_port(entry.strip()))
        if address is None:
            break
        client = address
        if not _is_in_any(client, trusted_proxies):
            break
    return str(client)


def _is_in_any(address: IPv4Address | IPv6Address, networks: Collection[Network]) -> bool:
    return any(address in network for network in networks)


def _strip_port(entry: str) -> str:
    """Return the entry without a port: some proxies write `192.0.2.1:5555` or `[2001:db8::1]:5555`."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
