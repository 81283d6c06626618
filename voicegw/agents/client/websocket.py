"""The websocket client for agents: JSON frames, and failures as `AgentError`.

A frame is parsed when its reader asks for it; until then it waits in a bounded queue of the websockets
library. `AgentWebSocket.pump` passes frames on in the callback in which they arrive.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.protocol import State
from websockets.typing import Subprotocol

from voicegw.agents.client.frame_queue import MAX_QUEUED_FRAMES, ByteBoundedQueue, FramePump
from voicegw.agents.client.http import USER_AGENT
from voicegw.agents.client.http_errors import collect_secrets, error_from_status, extract_quote, redact
from voicegw.agents.client.input_steps import WEBSOCKET_STEP_BYTES, InputSteps
from voicegw.errors import AgentError, AgentProtocolError, AgentUnavailable
from voicegw.wire.json import dumps, loads_piece

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Bytes of a message; a larger one closes the connection."""
CLOSE_TIMEOUT = 1.0
"""Seconds that a closing handshake gets."""
ABNORMAL_CLOSURE = 1006
"""The code of a connection that broke without a close frame (RFC 6455, section 7.4.1)."""
PROTOCOL_ERROR_CODES = (1002, 1007, 1009)
"""Codes with which this side closes after a frame that is wrong or too large."""


class WebSocketClosed(AgentUnavailable):
    """The agent closed the websocket; `close_code` is the code of its close frame."""

    def __init__(self, url: str, close_code: int, reason: str = "") -> None:
        super().__init__(f"{url} closed the connection with code {close_code}", reason)
        self.close_code = close_code


class AgentWebSocket:
    """One open websocket.

    `connection` is the library's connection. `url`, without its query, names the agent in messages;
    `secrets` are the values that messages must not repeat.
    """

    def __init__(self, connection: BoundedClientConnection, url: str, secrets: Sequence[str] = ()) -> None:
        self.connection = connection
        self.url = url
        self.secrets = secrets

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent and received."""
        return self.connection.state is State.OPEN

    async def send(self, value: Mapping[str, Any]) -> None:
        """Send `value` as a JSON text frame.

        Raises `WebSocketClosed` if the connection was closed before, and `AgentProtocolError` if it breaks
        meanwhile: then the agent may have got the frame.
        """
        was_open = self.is_open
        try:
            await self.connection.send(dumps(value).decode())
        except ConnectionClosed as closed:
            error = self._closed_error(closed)
            raise AgentProtocolError(error.summary, error.quote) if was_open else error from None

    async def receive(self) -> dict[str, Any]:
        """Wait for the next frame and return its JSON object.

        Raises `WebSocketClosed`, or `AgentProtocolError` for a frame that is too large or no JSON object.
        """
        try:
            frame = await self.connection.recv(decode=False)
        except ConnectionClosed as closed:
            raise self._protocol_error(closed) or self._closed_error(closed) from None
        return self._decode(frame)

    def _decode(self, frame: bytes) -> dict[str, Any]:
        try:
            value = loads_piece(frame)
        except ValueError:
            value = None
        if type(value) is not dict:
            raise AgentProtocolError(f"{self.url} sent a frame that is no JSON object")
        return value

    async def pump(self, feed: Callable[[dict[str, Any]], bool], flush: Callable[[], None]) -> None:
        """Pass the JSON object of each frame to `feed`, in the callback in which it arrives.

        `flush` is called after the frames that arrived together. Return when `feed` returns False; later
        frames wait for the next reader. Raises the exceptions of `feed`, and what `receive` raises.
        """
        connection = self.connection
        pump = FramePump(connection.frames, lambda frame: feed(self._decode(frame)), flush)
        connection.pump = pump
        try:
            connection.read()
            if connection.recv_messages.closed:
                pump.end()
            await pump.stopped
        finally:
            connection.pump = None
            pump.put_back()
        if not pump.is_satisfied:
            await self.receive()  # raises the error of the close

    async def close(self) -> None:
        """Close with a handshake of at most `CLOSE_TIMEOUT` seconds; at once if this is cancelled."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self.connection.close()
        finally:
            self.abort()

    def abort(self) -> None:
        """Close the connection at once, without a handshake."""
        self.connection.transport.abort()

    def _closed_error(self, closed: ConnectionClosed) -> WebSocketClosed:
        code, reason = (
            (ABNORMAL_CLOSURE, "") if closed.rcvd is None else (closed.rcvd.code, closed.rcvd.reason)
        )
        error = WebSocketClosed(self.url, code, reason)
        redact(error, self.secrets)
        return error

    def _protocol_error(self, closed: ConnectionClosed) -> AgentProtocolError | None:
        """Return the error for a wrong frame if this side closed because of one, else None."""
        if closed.rcvd_then_sent or closed.sent is None or closed.sent.code not in PROTOCOL_ERROR_CODES:
            return None
        return AgentProtocolError(f"{self.url} broke the protocol of websockets", closed.sent.reason)


class NoRedirectConnect(connect):
    """Connects without following redirects, which would carry the headers to another server."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Return the refusal instead of another address."""
        return exc


class BoundedClientConnection(ClientConnection):
    """A connection that stops reading when too much is queued.

    After a close frame of the server, it closes if the server does not within `CLOSE_TIMEOUT` seconds:
    `close_timer` is the timer for that. `input_steps` holds received bytes that are not parsed yet, `frames`
    the frames that are not read yet; `pump` reads them, None without one.
    """

    close_timer: asyncio.TimerHandle | None = None
    pump: FramePump | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.recv_messages.frames = self.frames = ByteBoundedQueue()
        self.input_steps = InputSteps(
            self._parse, lambda: not self.recv_messages.paused, WEBSOCKET_STEP_BYTES
        )

    def data_received(self, data: bytes) -> None:
        self.input_steps.feed(self.transport, data)

    def _parse(self, data: bytes) -> None:
        super().data_received(data)
        self.read()
        if self.close_timer is None and self.protocol.close_expected():
            self.close_timer = self.loop.call_later(CLOSE_TIMEOUT, self.transport.abort)

    def read(self) -> None:
        """Pass the frames that have arrived on, if there is a pump."""
        if self.pump is not None:
            self.pump.read()
            self.recv_messages.maybe_resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self.input_steps.finish()
        super().connection_lost(exc)
        if self.pump is not None:
            self.pump.end()
        if self.close_timer is not None:
            self.close_timer.cancel()


async def open_websocket(
    url: str,
    headers: Mapping[str, str],
    *,
    subprotocols: Iterable[str] = (),
    ssl: tls.SSLContext | None = None,
    connect_timeout: float = 5.0,
    secrets: Sequence[str] = (),
) -> AgentWebSocket:
    """Open a websocket to `url` (ws or wss) within `connect_timeout` seconds, the handshake included.

    `ssl` replaces the system's certificate authorities. Messages repeat neither `secrets` nor the values of
    `headers`. Raises `AgentUnavailable`, or the `AgentError` that the status of a refused handshake stands
    for.
    """
    where = url.partition("?")[0]
    hidden = [*secrets, *collect_secrets(headers.values())]
    offered = [Subprotocol(name) for name in subprotocols]
    try:
        connection: Any = await NoRedirectConnect(
            url,
            additional_headers=dict(headers),
            user_agent_header=USER_AGENT,
            subprotocols=offered or None,
            compression=None,  # compression would delay small frames and gain nothing
            open_timeout=connect_timeout,
            close_timeout=CLOSE_TIMEOUT,
            create_connection=BoundedClientConnection,
            max_size=MAX_MESSAGE_BYTES,
            max_queue=MAX_QUEUED_FRAMES,
            proxy=None,
            ssl=(ssl or True) if url.startswith("wss:") else None,
        )
    except InvalidStatus as refusal:
        error = _error_from_refusal(where, refusal)
    except (OSError, WebSocketException, ValueError) as broken:
        error = AgentUnavailable(f"{where}: no websocket", str(broken) or type(broken).__name__)
        error.__cause__ = broken
    else:
        return AgentWebSocket(connection, where, hidden)
    redact(error, hidden)
    raise error


def _error_from_refusal(url: str, refusal: InvalidStatus) -> AgentError:
    response = refusal.response
    if 300 <= response.status_code < 400:
        target = response.headers.get("location", "")
        return AgentUnavailable(f"{url} redirects: configure the final address", target)
    compressed = response.headers.get("content-encoding", "identity") != "identity"
    quote = "" if compressed else extract_quote(bytes(response.body or b""))
    return error_from_status(url, response.status_code, quote)
