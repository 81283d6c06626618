"""Where a server is, and how to reach it: by whichever of its addresses answers first."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from itertools import chain, zip_longest
from urllib.parse import urlsplit

from voicegw.agents.client.connection import Connection
from voicegw.errors import ConfigError

HEAD_START = 0.25
"""Seconds that one address of a host gets before the next one is tried beside it."""


async def connect(host: str, port: int, tls: ssl.SSLContext | None, crowd: set[Connection]) -> Connection:
    """Connect to the first address of `host` that answers. Raises OSError when none does.

    The address families take turns. Each address gets a head start over the next, a refused one none.
    """
    addresses = await _addresses(host, port)
    if len(addresses) == 1:
        return await _dial(addresses[0], port, tls, host, crowd)
    attempts: list[asyncio.Task[Connection]] = []
    winner: asyncio.Task[Connection] | None = None
    try:
        for address in addresses:
            attempts.append(asyncio.create_task(_dial(address, port, tls, host, crowd)))
            if winner := await _first(attempts, HEAD_START):
                return winner.result()
        while any(not attempt.done() for attempt in attempts):
            if winner := await _first(attempts, None):
                return winner.result()
        return attempts[0].result()  # raises what was wrong with the best address
    finally:
        # The losers are not awaited: if we were cancelled meanwhile, the winner would be lost.
        for attempt in attempts:
            if attempt is not winner:
                attempt.cancel()
                attempt.add_done_callback(_hang_up)


async def _first(
    attempts: list[asyncio.Task[Connection]], within: float | None
) -> asyncio.Task[Connection] | None:
    """The first of `attempts` that has a connection, once one of them has news or time is up."""
    pending = [attempt for attempt in attempts if not attempt.done()]
    await asyncio.wait(pending, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    return next((attempt for attempt in attempts if attempt.done() and not attempt.exception()), None)


def _hang_up(attempt: asyncio.Task[Connection]) -> None:
    """Nobody needs what this attempt has brought, if anything."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().abort()


async def _dial(
    address: str, port: int, tls: ssl.SSLContext | None, host: str, crowd: set[Connection]
) -> Connection:
    connection = Connection(crowd)
    loop = connection.loop
    try:
        await loop.create_connection(
            lambda: connection, address, port, ssl=tls, server_hostname=host if tls else None
        )
    except BaseException:
        connection.abort()
        connection.connection_lost(None)  # cancelled between the two, uvloop tells of the first only
        raise
    return connection


async def _addresses(host: str, port: int) -> list[str]:
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    first = [str(address[0]) for family, *_, address in found if family == found[0][0]]
    others = [str(address[0]) for family, *_, address in found if family != found[0][0]]
    return [address for address in chain(*zip_longest(first, others)) if address]


def parse_origin(url: str) -> tuple[bool, str, int, str]:
    """Whether it is secure, the host, the port, and both as the `host` header names them."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"this is no address: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError("an address begins with http:// or https:// and names a host")
    if parts.username or parts.password:
        raise ConfigError(f"the address of {host!r} contains a user or password; give the key by itself")
    secure = parts.scheme == "https"
    name = f"[{host}]" if ":" in host else host
    usual = 443 if secure else 80
    return secure, host, port or usual, name if port in (None, usual) else f"{name}:{port}"


def system_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
