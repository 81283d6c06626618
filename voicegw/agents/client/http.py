"""The one HTTP client towards agents: streams, keeps connections warm, and hangs up at once.

A `HttpClient` talks to one origin over HTTP/1.1. A request has a connection of its own for as long as the
`async with` lasts: leaving it before the end of the body closes the connection, which is how a turn
is cancelled; a body read to its end gives the connection back.

    async with client.post("/v1/chat/completions", headers, body) as response:
        async for data in response:
            ...

From the socket to the reader there is one wake-up and neither task nor queue. Nothing here limits how
long an agent may think; whoever reads decides that.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Mapping

from voicegw.agents.client.connect import connect, parse_origin, system_tls
from voicegw.agents.client.connection import Connection
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentUnavailable

LINGER = 0.1
"""Seconds that a body whose rest means nothing gets to end, so that its connection can be kept."""


class HttpResponse:
    """The head of an answer, and its body as it comes.

    `take` awaits what one read brought, b"" at the end; `async for` gives the same, a hop dearer.
    """

    __slots__ = ("_connection", "headers", "status", "read_chunk")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.read_chunk = connection.read_chunk
        self.status = connection.status
        self.headers: Mapping[str, str] = connection.headers

    def __aiter__(self) -> HttpResponse:
        return self

    @property
    def compressed(self) -> bool:
        """Was the body compressed, although the server was told not to? Only refusals get this far so."""
        return self.headers.get("content-encoding", "identity") != "identity"

    async def __anext__(self) -> bytes:
        data = await self._connection.read_chunk()
        if not data:
            raise StopAsyncIteration
        return data

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises `AgentProtocolError` when it is cut or longer than `limit` bytes."""
        body = await self.read_start(limit + 1)
        if len(body) > limit:
            raise AgentProtocolError(f"a body of more than {limit} bytes")
        return body

    async def read_start(self, size: int) -> bytes:
        """The first `size` bytes of the body, or all of it where it is shorter."""
        body = bytearray()
        while len(body) < size and (data := await self._connection.read_chunk()):
            body += data
        return bytes(body[:size])

    def discard_rest(self) -> None:
        """The rest of the body means nothing: the connection is kept if it ends by itself right away."""
        self._connection.over = True


class PendingResponse:
    """A request and its answer, for an `async with`. Its failures name the address that was asked."""

    __slots__ = ("_again", "_client", "_connection", "_path", "_request")

    def __init__(self, client: HttpClient, path: str, request: bytes, again: bool) -> None:
        self._client = client
        self._path = path
        self._request = request
        self._again = again
        self._connection: Connection | None = None

    async def __aenter__(self) -> HttpResponse:
        try:
            self._connection = await self._client._answered(self._request, self._again)
            response = HttpResponse(self._connection)
            self._client._check(response)
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        return response

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._connection is not None:
            self._client._let_go(self._connection)
        if isinstance(error, AgentError) and self._client.origin not in error.summary:
            where = f"{self._client.origin}{self._path.partition('?')[0]}"
            error.redact(f"{where}: {error.summary}", error.quote)


class HttpClient:
    """A pool of connections to the origin of `url` (`http` or `https`; a path in it is ignored).

    `connect` limits, in seconds, finding, reaching and greeting the upstream; `most` is the number of
    connections that may be open, one more raises `AgentBusy`; one that rested for `idle` seconds is closed,
    before servers and balancers do, most of which wait a minute or more.
    `ssl` replaces the system's certificate authorities.

    A request raises `AgentUnavailable` when the upstream cannot be reached or redirects, and
    `AgentProtocolError` when the answer breaks off or is no HTTP.
    """

    def __init__(
        self,
        url: str,
        *,
        connect: float = 5.0,
        ssl: tls.SSLContext | None = None,
        most: int = 4096,
        idle: float = 50.0,
    ) -> None:
        secure, self._host, self._port, name = parse_origin(url)
        self.origin = f"{'https' if secure else 'http'}://{name}"
        self._host_line = f"host: {name}"
        self._ssl = (ssl or system_tls()) if secure else None
        self._connect = connect
        self._most = most
        self._idle_after = idle
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._dialling = 0
        self._sweep: asyncio.TimerHandle | None = None

    def post(
        self, path: str, headers: Mapping[str, str], body: bytes, *, retry: bool = True
    ) -> PendingResponse:
        """Send `body` to `path`; see `request`."""
        return self.request("POST", path, headers, body, retry=retry)

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"", *, retry: bool = True
    ) -> PendingResponse:
        """Send a request, wait for the head of the answer.

        A kept connection may turn out to be dead. Then the request goes out once more on a fresh one,
        unless `again` is False because the agent must not be asked twice: a server that closed while the
        request was on its way looks the same as one that began to work on it and fell over.
        """
        return PendingResponse(self, path, self._written(method, path, headers, body), retry)

    async def _answered(self, request: bytes, again: bool) -> Connection:
        """A connection on which the head of the answer arrived."""
        connection = self._rested()
        if connection is not None:
            if await connection.send_request(request):
                return connection
            if not again:
                raise AgentProtocolError(f"{connection.broken} before any answer")
        connection = await self._dial()
        if not await connection.send_request(request):
            raise AgentProtocolError(f"{connection.broken} before any answer")
        return connection

    async def prewarm(self, count: int) -> None:
        """Have `count` connections ready. Raises `AgentUnavailable` when the upstream cannot be reached."""
        missing = count - sum(connection.alive for connection in self._idle)
        warmed = (self._warm() for _ in range(missing))
        for error in await asyncio.gather(*warmed, return_exceptions=True):
            if error is not None:
                raise error

    async def _warm(self) -> None:
        self._rest(await self._dial())

    async def aclose(self) -> None:
        """Close every connection, and wait until they are closed."""
        if self._sweep is not None:
            self._sweep.cancel()
        left = list(self._open)
        for connection in left:
            connection.abort()
        await asyncio.gather(*(connection.gone for connection in left))

    def _written(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", self._host_line]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method == "POST":
            lines.append(f"content-length: {len(body)}")
        head = "\r\n".join(lines)
        if head.count("\r") != len(lines) - 1 or head.count("\n") != len(lines) - 1:
            raise ValueError("a path or header with a line break in it")
        return head.encode("latin-1") + b"\r\n\r\n" + body

    def _check(self, response: HttpResponse) -> None:
        if 300 <= response.status < 400:
            target = response.headers.get("location", "another address")
            raise AgentUnavailable(f"{self.origin} redirects to {target}: configure the final address")
        if response.compressed and response.status < 300:
            raise AgentProtocolError(f"{self.origin} compressed its answer although it was told not to")

    def _rested(self) -> Connection | None:
        """The connection that was used last, of those that wait for work and live."""
        while self._idle:
            if (connection := self._idle.pop()).alive:
                return connection
        return None

    def _let_go(self, connection: Connection) -> None:
        if connection.reusable:
            self._rest(connection)
        elif connection.over and not connection.done:
            connection.drain(LINGER, self._rest)
        else:
            connection.abort()

    def _rest(self, connection: Connection) -> None:
        loop = connection.loop
        connection.since = loop.time()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(self._idle_after, self._close_rested)

    def _close_rested(self) -> None:
        """Close what rested too long, and look again when the next one will have."""
        self._sweep = None
        if not self._idle:
            return
        loop = self._idle[0].loop
        for connection in self._idle[:]:
            if not connection.alive or connection.since + self._idle_after <= loop.time():
                self._idle.remove(connection)
                connection.abort()
        if self._idle:
            oldest = min(connection.since for connection in self._idle)
            self._sweep = loop.call_at(oldest + self._idle_after, self._close_rested)

    async def _dial(self) -> Connection:
        """A new connection, or `AgentUnavailable`."""
        if len(self._open) + self._dialling >= self._most:
            raise AgentBusy(f"{self.origin}: {self._most} connections are open, the most allowed")
        self._dialling += 1
        try:
            async with asyncio.timeout(self._connect):
                return await connect(self._host, self._port, self._ssl, self._open)
        except TimeoutError as error:
            raise AgentUnavailable(f"{self.origin}: no connection within {self._connect:g} s") from error
        except OSError as error:
            raise AgentUnavailable(f"{self.origin}: {error}") from error
        finally:
            self._dialling -= 1
