"""Sockets of a rehearsal, by way of `websockets`."""

from __future__ import annotations

from collections.abc import Mapping

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

from voicegw.simulate.connection import ABNORMAL, SHOWN, Gone, Refused, Socket
from voicegw.simulate.platform import Frame

LARGEST = 1024 * 1024
"""Bytes of a frame from the gateway."""


class Direct(connect):
    """Follows no redirect, as no platform does."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


class Dialled:
    """One websocket of a rehearsal."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, frame: Frame) -> None:
        try:
            await self.connection.send(frame)
        except ConnectionClosed as closed:
            raise _gone(closed) from None

    async def receive(self) -> Frame:
        try:
            return await self.connection.recv()
        except ConnectionClosed as closed:
            raise _gone(closed) from None

    async def close(self) -> None:
        await self.connection.close()

    def abort(self) -> None:
        self.connection.transport.abort()


async def dial(address: str, headers: Mapping[str, str]) -> Socket:
    """Open a websocket. Raises `Refused`, or OSError for whatever else went wrong."""
    try:
        connection = await Direct(
            address,
            additional_headers=dict(headers),
            user_agent_header="voicegw simulate",
            compression=None,
            ping_interval=None,
            max_size=LARGEST,
            open_timeout=None,  # the call has its own patience
            close_timeout=1.0,
            proxy=None,
        )
    except InvalidStatus as refusal:
        body = (refusal.response.body or b"")[:SHOWN].decode("utf-8", "replace")
        raise Refused(refusal.response.status_code, body) from None
    except InvalidURI:
        raise OSError("this is no address of a websocket") from None
    except (WebSocketException, ValueError) as error:
        raise OSError(f"this is no websocket: {error}") from None
    return Dialled(connection)


def _gone(closed: ConnectionClosed) -> Gone:
    if closed.rcvd is not None:
        return Gone(closed.rcvd.code)
    if closed.sent is not None:  # a frame that is against the rules of websockets, or too large
        return Gone(closed.sent.code, f"what the gateway sends cannot be read: {closed.sent.reason}")
    return Gone(ABNORMAL)
