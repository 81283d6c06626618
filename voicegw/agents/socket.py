"""The websocket towards agents: JSON frames, and whatever breaks as an error of ours.

Nothing is read but by whoever waits for it; frames that nobody asked for yet wait in the library.
"""

from __future__ import annotations

import ssl as tls
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.protocol import State
from websockets.typing import Subprotocol

from voicegw.agents.complaints import COMPLAINT, hush, kind
from voicegw.errors import AgentError, AgentGarbled, AgentUnavailable
from voicegw.wire.json import dumps, loads
from voicegw.wire.upstream import failure

LARGEST = 16 * 1024 * 1024
"""Bytes of a frame."""
WAITING = 4096
"""Frames that may wait to be read."""
ABNORMAL = 1006


class Closed(AgentUnavailable):
    """The agent closed the socket, with this code."""

    def __init__(self, where: str, code: int, reason: str = "") -> None:
        super().__init__(f"{where} closed the connection with code {code}", reason)
        self.number = code


class Socket:
    """One open websocket. `where` names the agent in messages, `secrets` never appear in them."""

    def __init__(self, connection: ClientConnection, where: str, secrets: Sequence[str] = ()) -> None:
        self.connection = connection
        self.where = where
        self.secrets = secrets

    @property
    def alive(self) -> bool:
        return self.connection.state is State.OPEN

    async def send(self, value: Mapping[str, Any]) -> None:
        """Send a frame. Raises `Closed`."""
        try:
            await self.connection.send(dumps(value).decode())
        except ConnectionClosed as closed:
            raise self._closed(closed) from None

    async def receive(self) -> dict[str, Any]:
        """The next frame. Raises `Closed`, or `AgentGarbled` for what is no JSON object."""
        try:
            frame = await self.connection.recv(decode=False)
        except ConnectionClosed as closed:
            raise self._closed(closed) from None
        try:
            value = loads(frame)
        except ValueError:
            value = None
        if type(value) is not dict:
            raise AgentGarbled(f"{self.where} sent a frame that is no JSON object")
        return value

    async def close(self) -> None:
        await self.connection.close()

    def abort(self) -> None:
        """Hang up, now."""
        self.connection.transport.abort()

    def _closed(self, closed: ConnectionClosed) -> Closed:
        code, reason = (ABNORMAL, "") if closed.rcvd is None else (closed.rcvd.code, closed.rcvd.reason)
        error = Closed(self.where, code, reason)
        hush(error, self.secrets)
        return error


async def open_socket(
    url: str,
    headers: Mapping[str, str],
    *,
    subprotocols: Iterable[str] = (),
    ssl: tls.SSLContext | None = None,
    within: float = 5.0,
    secrets: Sequence[str] = (),
) -> Socket:
    """Dial `url` (ws or wss). Raises `AgentUnavailable`, or what the status of a refused handshake means."""
    where = url.partition("?")[0]
    offered = [Subprotocol(name) for name in subprotocols]
    try:
        connection = await connect(
            url,
            additional_headers=dict(headers),
            user_agent_header=None,
            subprotocols=offered or None,
            compression=None,  # small frames would only come later
            open_timeout=within,
            close_timeout=1.0,
            max_size=LARGEST,
            max_queue=WAITING,
            proxy=None,
            ssl=(ssl or True) if url.startswith("wss:") else None,
        )
    except InvalidStatus as refusal:
        error = _refused(where, refusal)
    except (OSError, WebSocketException, EOFError) as broken:
        error = AgentUnavailable(f"{where}: no websocket", str(broken) or type(broken).__name__)
    else:
        return Socket(connection, where, secrets)
    hush(error, secrets)
    raise error


def _refused(where: str, refusal: InvalidStatus) -> AgentError:
    response = refusal.response
    said = failure(bytes(response.body or b"")[:COMPLAINT])
    return kind(response.status_code)(f"{where} answered {response.status_code}", said.quote)
