"""The websocket towards agents: JSON frames, and whatever breaks as an error of ours.

Nothing is read but by whoever waits for it; frames that nobody asked for yet wait in the library.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.messages import SimpleQueue
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import Frame
from websockets.protocol import State
from websockets.typing import Subprotocol

from voicegw.agents.client import http_errors as complaints
from voicegw.agents.client.http_errors import redact
from voicegw.errors import AgentError, AgentProtocolError, AgentUnavailable
from voicegw.wire.json import dumps, loads

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Bytes of a frame."""
WAITING = 4096
"""Frames that may wait to be read,"""
HELD = 2 * MAX_MESSAGE_BYTES
"""and bytes in them. Beyond that the agent is held back."""
GOODBYE = 1.0
"""Seconds that a closing connection gets."""
ABNORMAL = 1006
GARBLED = (1002, 1007, 1009)
"""Codes with which we close on frames that are wrong or too large."""


class WebSocketClosed(AgentUnavailable):
    """The agent closed the socket, with this code."""

    def __init__(self, where: str, code: int, reason: str = "") -> None:
        super().__init__(f"{where} closed the connection with code {code}", reason)
        self.number = code


class AgentWebSocket:
    """One open websocket. `where` names the agent in messages, `secrets` never appear in them."""

    def __init__(self, connection: ClientConnection, where: str, secrets: Sequence[str] = ()) -> None:
        self.connection = connection
        self.where = where
        self.secrets = secrets

    @property
    def alive(self) -> bool:
        return self.connection.state is State.OPEN

    async def send(self, value: Mapping[str, Any]) -> None:
        """Send a frame. Raises `WebSocketClosed`."""
        try:
            await self.connection.send(dumps(value).decode())
        except ConnectionClosed as closed:
            raise self._closed(closed) from None

    async def receive(self) -> dict[str, Any]:
        """The next frame. Raises `WebSocketClosed`, or `AgentProtocolError` for what is no JSON object or too large."""
        try:
            frame = await self.connection.recv(decode=False)
        except ConnectionClosed as closed:
            raise self._garbled(closed) or self._closed(closed) from None
        try:
            value = loads(frame)
        except ValueError:
            value = None
        if type(value) is not dict:
            raise AgentProtocolError(f"{self.where} sent a frame that is no JSON object")
        return value

    async def close(self) -> None:
        """Say goodbye, and hang up after `GOODBYE` seconds at most, or now if this is cancelled."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE):
                    await self.connection.close()
        finally:
            self.abort()

    def abort(self) -> None:
        """Hang up, now."""
        self.connection.transport.abort()

    def _closed(self, closed: ConnectionClosed) -> WebSocketClosed:
        code, reason = (ABNORMAL, "") if closed.rcvd is None else (closed.rcvd.code, closed.rcvd.reason)
        error = WebSocketClosed(self.where, code, reason)
        redact(error, self.secrets)
        return error

    def _garbled(self, closed: ConnectionClosed) -> AgentProtocolError | None:
        """What was wrong with a frame, if it was us who closed because of it."""
        if closed.rcvd_then_sent or closed.sent is None or closed.sent.code not in GARBLED:
            return None
        return AgentProtocolError(f"{self.where} broke the protocol of websockets", closed.sent.reason)


class NoRedirectConnect(connect):
    """Does not follow redirects, which would take our headers elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


class ByteBoundedQueue(SimpleQueue[Frame]):
    """Frames that wait to be read. The more bytes they have, the more of them it seems to hold."""

    size = 0

    def __len__(self) -> int:
        return max(super().__len__(), self.size * WAITING // HELD)

    def put(self, item: Frame) -> None:
        self.size += len(item.data)
        super().put(item)

    async def get(self, block: bool = True) -> Frame:
        frame = await super().get(block)
        self.size -= len(frame.data)
        return frame

    def put_back(self, items: Sequence[Frame]) -> None:
        self.size += sum(len(item.data) for item in items)
        super().put_back(items)


class BoundedClientConnection(ClientConnection):
    """Holds back a server that says more than is read, and hangs up on one that said goodbye and stays."""

    ending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.recv_messages.frames = ByteBoundedQueue()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.ending is None and self.protocol.close_expected():
            self.ending = self.loop.call_later(GOODBYE, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.ending is not None:
            self.ending.cancel()


async def open_socket(
    url: str,
    headers: Mapping[str, str],
    *,
    subprotocols: Iterable[str] = (),
    ssl: tls.SSLContext | None = None,
    within: float = 5.0,
    secrets: Sequence[str] = (),
) -> AgentWebSocket:
    """Dial `url` (ws or wss). Raises `AgentUnavailable`, or what the status of a refused handshake means.

    What `headers` hold counts as secret, as `secrets` do.
    """
    where = url.partition("?")[0]
    hidden = [*secrets, *complaints.secrets(headers.values())]
    offered = [Subprotocol(name) for name in subprotocols]
    try:
        connection = await NoRedirectConnect(
            url,
            additional_headers=dict(headers),
            user_agent_header=None,
            subprotocols=offered or None,
            compression=None,  # small frames would only come later
            open_timeout=within,
            close_timeout=GOODBYE,
            create_connection=BoundedClientConnection,
            max_size=MAX_MESSAGE_BYTES,
            max_queue=WAITING,
            proxy=None,
            ssl=(ssl or True) if url.startswith("wss:") else None,
        )
    except InvalidStatus as refusal:
        error = _refused(where, refusal)
    except (OSError, WebSocketException, ValueError) as broken:
        error = AgentUnavailable(f"{where}: no websocket", str(broken) or type(broken).__name__)
    else:
        return AgentWebSocket(connection, where, hidden)
    redact(error, hidden)
    raise error


def _refused(where: str, refusal: InvalidStatus) -> AgentError:
    response = refusal.response
    if 300 <= response.status_code < 400:
        target = response.headers.get("location", "another address")
        return AgentUnavailable(f"{where} redirects to {target}: configure the final address")
    compressed = response.headers.get("content-encoding", "identity") != "identity"
    said = "" if compressed else complaints.words(bytes(response.body or b""))
    return complaints.error_from_status(where, response.status_code, said)
