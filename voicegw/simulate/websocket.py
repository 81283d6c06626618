"""Opens the sockets of a simulation with the `websockets` library."""

from __future__ import annotations

from collections.abc import Mapping

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

from voicegw.simulate.connection import (
    ABNORMAL_CLOSURE,
    MAX_LOGGED_CHARS,
    HandshakeRejected,
    PlatformSocket,
    SocketClosed,
)
from voicegw.simulate.platform import Frame

MAX_FRAME_SIZE = 1024 * 1024
"""Bytes of a frame from the gateway. A larger one closes the connection."""


class NonRedirectingConnect(connect):
    """A `connect` that follows no redirect: platforms follow none either."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Return the exception: `websockets` then raises it instead of following the redirect."""
        return exc


class ClientSocket:
    """Implements `PlatformSocket` on a connection of `websockets`."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, frame: Frame) -> None:
        """Send one frame. Raises `SocketClosed` if the socket is closed."""
        try:
            await self.connection.send(frame)
        except ConnectionClosed as closed:
            raise _socket_closed(closed) from None

    async def receive(self) -> Frame:
        """Wait for the next frame. Raises `SocketClosed` if the socket is closed."""
        try:
            return await self.connection.recv()
        except ConnectionClosed as closed:
            raise _socket_closed(closed) from None

    async def close(self) -> None:
        """Close the socket with a close frame."""
        await self.connection.close()

    def abort(self) -> None:
        """Abort the connection without a close frame."""
        self.connection.transport.abort()


async def open_socket(url: str, headers: Mapping[str, str]) -> PlatformSocket:
    """Open a websocket to `url`.

    Raises `HandshakeRejected` if the status is not 101, and OSError for all other errors.
    """
    try:
        connection = await NonRedirectingConnect(
            url,
            additional_headers=dict(headers),
            user_agent_header="voicegw simulate",
            compression=None,
            ping_interval=None,
            max_size=MAX_FRAME_SIZE,
            open_timeout=None,  # the script has its own timeouts
            close_timeout=1.0,
            proxy=None,
        )
    except InvalidStatus as rejection:
        body = (rejection.response.body or b"")[:MAX_LOGGED_CHARS].decode("utf-8", "replace")
        raise HandshakeRejected(rejection.response.status_code, body) from None
    except InvalidURI:
        raise OSError("the URL is not that of a websocket") from None
    except (WebSocketException, ValueError) as error:
        raise OSError(f"the server does not speak the websocket protocol: {error}") from None
    return ClientSocket(connection)


def _socket_closed(closed: ConnectionClosed) -> SocketClosed:
    if closed.rcvd is not None:
        return SocketClosed(closed.rcvd.code)
    if closed.sent is not None:  # our side closes after a protocol error, or a frame that is too large
        return SocketClosed(closed.sent.code, f"frames of the gateway cannot be read: {closed.sent.reason}")
    return SocketClosed(ABNORMAL_CLOSURE)
