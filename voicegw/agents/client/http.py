"""The HTTP/1.1 client for agents: it streams bodies, pools connections, and closes one to cancel a turn.

A `HttpClient` talks to one origin. A request has a connection to itself for as long as the `async with`
lasts. Leaving before the end of the body closes the connection, which is how a turn is cancelled; a body
read to its end gives the connection back to the pool.

    async with client.post("/v1/chat/completions", headers, body) as response:
        await response.pump(feed)

The body goes to `feed` in the callback in which it arrives; no task and no queue stand between. The client
does not limit how long an agent may think: the deadlines are in `voicegw.turns.timeouts`.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Mapping

from voicegw import __version__
from voicegw.agents.client.connect import connect, create_tls_context, parse_origin
from voicegw.agents.client.connection import Connection
from voicegw.agents.client.response import HttpResponse
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentUnavailable

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Methods whose request may arrive twice without harm (RFC 9110, section 9.2.2)."""
USER_AGENT = f"voicegw/{__version__}"
KEEPALIVE_MARGIN = 1.0
"""Seconds by which a connection is given up before its server closes it: a request may be on its way then."""
DRAIN_TIMEOUT = 0.1
"""Seconds that a discarded body gets to end, so that its connection can be kept."""


class PendingResponse:
    """A request that `async with` sends; the block gets its response.

    Entering raises `AgentUnavailable`, `AgentBusy` or `AgentProtocolError` (see `HttpClient`). The summary of
    an `AgentError` that leaves the block, the client's or the reader's, then names the request's address.
    """

    __slots__ = ("_client", "_connection", "_idempotent", "_path", "_request")

    def __init__(self, client: HttpClient, path: str, request: bytes, idempotent: bool) -> None:
        self._client = client
        # With its query; messages show it without.
        self._path = path
        # The whole request as it is written to the connection.
        self._request = request
        # Whether the server may get the request twice.
        self._idempotent = idempotent
        # None until the head of the response has arrived.
        self._connection: Connection | None = None

    async def __aenter__(self) -> HttpResponse:
        try:
            self._connection = await self._client._send(self._request, self._idempotent)
            response = HttpResponse(self._connection, self._idempotent)
            self._client._check_response(response)
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        return response

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._connection is not None:
            self._client._release(self._connection)
        if isinstance(error, AgentError) and self._client.origin not in error.summary:
            url = f"{self._client.origin}{self._path.partition('?')[0]}"
            error.redact(f"{url}: {error.summary}", error.quote)


class HttpClient:
    """A pool of connections to the origin of `url` (http or https; a path in it is ignored).

    `connect_timeout` limits, in seconds, name resolution, connection and TLS handshake together. At most
    `max_connections` may be open. A connection that was idle for `keepalive_expiry` seconds is closed: most
    load balancers close theirs after 60 seconds or more. Where a server names a shorter time in its
    `keep-alive` header, this time counts. `ssl` replaces the system's certificate authorities. `origin` is
    the origin as messages name it, such as `https://example.org:8443`.

    The constructor raises `ConfigError` if `url` is no address. A request raises `AgentUnavailable` if the
    server cannot be reached or redirects, `AgentBusy` if all connections are in use, and `AgentProtocolError`
    if the response breaks off, is compressed, or is no HTTP.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout: float = 5.0,
        ssl: tls.SSLContext | None = None,
        max_connections: int = 4096,
        keepalive_expiry: float = 50.0,
    ) -> None:
        secure, self._host, self._port, name = parse_origin(url)
        self.origin = f"{'https' if secure else 'http'}://{name}"
        self._first_lines = (f"host: {name}", f"user-agent: {USER_AGENT}")
        self._ssl = (ssl or create_tls_context()) if secure else None
        self._connect_timeout = connect_timeout
        self._max_connections = max_connections
        self._keepalive_expiry = keepalive_expiry
        # Connections that wait for a request; the last one was used last.
        self._idle: list[Connection] = []
        # Every open connection, idle or in use.
        self._connections: set[Connection] = set()
        # Connections that are being opened; they count towards `max_connections`.
        self._opening = 0
        # Runs while a connection is idle.
        self._expiry_timer: asyncio.TimerHandle | None = None

    def post(
        self, path: str, headers: Mapping[str, str], body: bytes, *, idempotent: bool = False
    ) -> PendingResponse:
        """Prepare a POST of `body` to `path`; see `request`."""
        return self.request("POST", path, headers, body, idempotent=idempotent)

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        idempotent: bool = False,
    ) -> PendingResponse:
        """Prepare a request; `async with` sends it and waits for the head of the response.

        `headers` have names in lower case. A kept connection may close after the request was written and
        before any byte of the response. The request is then sent once more, on a new connection, only if its
        method is one of `IDEMPOTENT_METHODS` or it is `idempotent`: a server that closed while the request
        was on its way looks the same as one that began to work on it and crashed.

        Raises ValueError if `path` or a header contains a line break.
        """
        request = self._encode_request(method, path, headers, body)
        return PendingResponse(self, path, request, idempotent or method in IDEMPOTENT_METHODS)

    async def _send(self, request: bytes, idempotent: bool) -> Connection:
        """Send a request and return its connection once the head of the response has arrived."""
        connection = self._take_idle()
        if connection is not None:
            if await connection.send_request(request):
                return connection
            if not idempotent:
                raise AgentProtocolError(f"{connection.broken_reason} before any answer")
        connection = await self._open_connection()
        if not connection.is_open:
            raise AgentUnavailable(f"{self.origin}: connection closed before the request was sent")
        if not await connection.send_request(request):
            raise AgentProtocolError(f"{connection.broken_reason} before any answer")
        return connection

    async def prewarm(self, count: int) -> None:
        """Open connections until `count` are idle.

        Raises `AgentUnavailable` if the server cannot be reached, `AgentBusy` if all connections are in use.
        """
        missing = count - sum(connection.is_open for connection in self._idle)
        openings = (self._prewarm_one() for _ in range(missing))
        for error in await asyncio.gather(*openings, return_exceptions=True):
            if error is not None:
                raise error

    async def _prewarm_one(self) -> None:
        self._keep_idle(await self._open_connection())

    async def aclose(self) -> None:
        """Close every connection, in use or not, and wait until they are closed."""
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
        connections = list(self._connections)
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(connection.closed for connection in connections))

    def _encode_request(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        host, user_agent = self._first_lines
        lines = [f"{method} {path} HTTP/1.1", host]
        if "user-agent" not in headers:
            lines.append(user_agent)
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method == "POST":
            lines.append(f"content-length: {len(body)}")
        head = "\r\n".join(lines)
        if head.count("\r") != len(lines) - 1 or head.count("\n") != len(lines) - 1:
            raise ValueError("a path or header with a line break in it")
        return head.encode("latin-1") + b"\r\n\r\n" + body

    def _check_response(self, response: HttpResponse) -> None:
        """Raise `AgentUnavailable` for a redirect, `AgentProtocolError` for a compressed body."""
        if 300 <= response.status < 400:
            target = response.headers.get("location", "")
            raise AgentUnavailable(f"{self.origin} redirects: configure the final address", target)
        if response.is_compressed and response.status < 300:
            raise AgentProtocolError(f"{self.origin} compressed its answer although it was told not to")

    def _take_idle(self) -> Connection | None:
        """Take the idle connection that was used last, without those that the server closed meanwhile."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and not connection.has_unread_input:
                return connection
            connection.abort()
        return None

    def _release(self, connection: Connection) -> None:
        """Keep a connection whose response is whole or may be drained; close any other."""
        if connection.is_reusable:
            self._keep_idle(connection)
        elif connection.rest_discarded and not connection.done:
            connection.drain(DRAIN_TIMEOUT, self._keep_idle)
        else:
            connection.abort()

    def _keep_idle(self, connection: Connection) -> None:
        expiry = min(self._keepalive_expiry, connection.keepalive_timeout - KEEPALIVE_MARGIN)
        connection.expires_at = connection.loop.time() + expiry
        self._idle.append(connection)
        if self._expiry_timer is None or connection.expires_at < self._expiry_timer.when():
            self._set_expiry_timer(connection)

    def _set_expiry_timer(self, connection: Connection) -> None:
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
        self._expiry_timer = connection.loop.call_at(connection.expires_at, self._close_expired)

    def _close_expired(self) -> None:
        """Close the connections that were idle too long, and set the timer for the next one."""
        self._expiry_timer = None
        for connection in self._idle[:]:
            if not connection.is_open or connection.expires_at <= connection.loop.time():
                self._idle.remove(connection)
                connection.abort()
        if self._idle:
            self._set_expiry_timer(min(self._idle, key=lambda connection: connection.expires_at))

    async def _open_connection(self) -> Connection:
        """Open a connection. Raises `AgentUnavailable` or `AgentBusy`."""
        if len(self._connections) + self._opening >= self._max_connections:
            raise AgentBusy(f"{self.origin}: {self._max_connections} connections are open, the most allowed")
        self._opening += 1
        try:
            async with asyncio.timeout(self._connect_timeout):
                return await connect(self._host, self._port, self._ssl, self._connections)
        except TimeoutError as error:
            raise AgentUnavailable(
                f"{self.origin}: no connection within {self._connect_timeout:g} s"
            ) from error
        except OSError as error:
            raise AgentUnavailable(f"{self.origin}: {error}") from error
        finally:
            self._opening -= 1
