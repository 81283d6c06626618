"""Connects to a server: parses its origin, resolves its name, and takes the first address that answers.

Addresses are tried as RFC 8305 ("Happy Eyeballs") describes. It sends no request: `http` does.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from itertools import chain, zip_longest
from urllib.parse import urlsplit

from voicegw.agents.client.connection import Connection
from voicegw.errors import ConfigError

ATTEMPT_DELAY = 0.25
"""Seconds that one address of a host gets before the next one is tried in parallel (RFC 8305, section 5)."""


async def connect(
    host: str, port: int, tls: ssl.SSLContext | None, open_connections: set[Connection]
) -> Connection:
    """Connect to the first address of `host` that answers, with TLS if `tls` is given.

    The address families take turns. Each address gets `ATTEMPT_DELAY` seconds before the next one is tried;
    after a refusal the next one is tried at once. The connection joins `open_connections`.

    Raises OSError if the name has no address or no address answers: the error of the first one.
    """
    addresses = await _resolve(host, port)
    if len(addresses) == 1:
        return await _connect_to_address(addresses[0], port, tls, host, open_connections)
    attempts: list[asyncio.Task[Connection]] = []
    winner: asyncio.Task[Connection] | None = None
    try:
        for address in addresses:
            connecting = _connect_to_address(address, port, tls, host, open_connections)
            attempts.append(asyncio.create_task(connecting))
            if winner := await _wait_for_first(attempts, ATTEMPT_DELAY):
                return winner.result()
        while any(not attempt.done() for attempt in attempts):
            if winner := await _wait_for_first(attempts, None):
                return winner.result()
        return attempts[0].result()  # raises the error of the preferred address
    finally:
        # The losers are not awaited: if this task were cancelled meanwhile, the winner would be lost.
        for attempt in attempts:
            if attempt is not winner:
                attempt.cancel()
                attempt.add_done_callback(_discard_connection)


async def _wait_for_first(
    attempts: list[asyncio.Task[Connection]], seconds: float | None
) -> asyncio.Task[Connection] | None:
    """Wait until an attempt ends or `seconds` pass; return the first one with a connection."""
    pending = [attempt for attempt in attempts if not attempt.done()]
    await asyncio.wait(pending, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    return next((attempt for attempt in attempts if attempt.done() and not attempt.exception()), None)


def _discard_connection(attempt: asyncio.Task[Connection]) -> None:
    """Close the connection that an attempt made after another one had won, if it made one."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().abort()


async def _connect_to_address(
    address: str, port: int, tls: ssl.SSLContext | None, host: str, open_connections: set[Connection]
) -> Connection:
    connection = Connection(open_connections)
    loop = connection.loop
    try:
        await loop.create_connection(
            lambda: connection, address, port, ssl=tls, server_hostname=host if tls else None
        )
    except BaseException:
        connection.abort()
        # After a cancellation, uvloop may call connection_made and never connection_lost.
        connection.connection_lost(None)
        raise
    return connection


async def _resolve(host: str, port: int) -> list[str]:
    """Return the addresses of `host`, families in turn, the resolver's preferred one first."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except RuntimeError as error:  # "can't start new thread"
        raise OSError(f"no thread to resolve the name: {error}") from error
    preferred = [str(address[0]) for family, *_, address in found if family == found[0][0]]
    others = [str(address[0]) for family, *_, address in found if family != found[0][0]]
    return [address for address in chain(*zip_longest(preferred, others)) if address]


def parse_origin(url: str) -> tuple[bool, str, int, str]:
    """Return whether `url` needs TLS, its host, its port, and the value of the `host` header for it.

    Raises `ConfigError` if `url` is no address, has another scheme than http and https, names no host, or
    contains a user or password.
    """
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
    default_port = 443 if secure else 80
    return secure, host, port or default_port, name if port in (None, default_port) else f"{name}:{port}"


def create_tls_context() -> ssl.SSLContext:
    """Return a TLS context that trusts the system's certificate authorities and offers HTTP/1.1."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
