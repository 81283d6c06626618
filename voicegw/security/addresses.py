"""Reads the addresses of clients from sockets and from the headers of trusted proxies. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""Header pairs as ASGI gives them: names in lower case."""


Network: TypeAlias = IPv4Network | IPv6Network


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """An IP address, an IPv4 one mapped into IPv6 as plain IPv4; None for anything else."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        # A zone ("%eth0") is free text and means something on one machine only.
        return None if found.scope_id is not None else found.ipv4_mapped or found
    return found


def is_loopback(host: str) -> bool:
    """Does this name or address, without a port, always mean this machine?"""
    name = host.lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    found = parse_address(name.removeprefix("[").removesuffix("]"))
    return found is not None and found.is_loopback


def client_address(peer: str, headers: Headers, trusted: Collection[Network]) -> str:
    """The address of the client: the peer's own, unless the peer is a trusted proxy.

    Then it is the right-most entry of X-Forwarded-For that is no trusted proxy itself. What stands
    further left was written by strangers; so was all that stands left of an entry we cannot read.
    """
    last = parse_address(peer) if trusted else None
    if last is None or not _within(last, trusted):
        return peer
    lines = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    for entry in reversed(",".join(lines).split(",")):
        found = parse_address(_without_port(entry.strip()))
        if found is None:
            break
        last = found
        if not _within(last, trusted):
            break
    return str(last)


def _within(found: IPv4Address | IPv6Address, networks: Collection[Network]) -> bool:
    return any(found in network for network in networks)


def _without_port(entry: str) -> str:
    """Some proxies write `192.0.2.1:5555` or `[2001:db8::1]:5555`."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
