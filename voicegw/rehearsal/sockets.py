"""Sockets of a rehearsal, by way of `websockets`."""

from __future__ import annotations

from collections.abc import Mapping

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from voicegw.rehearsal.call import Gone, Refused, Socket
from voicegw.rehearsal.caller import Frame

LARGEST = 4 * 1024 * 1024
"""Bytes of a frame from the gateway."""
ABNORMAL = 1006


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
        connection = await connect(
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
        raise Refused(refusal.response.status_code) from None
    except WebSocketException as error:
        raise OSError(f"this is no websocket: {error}") from None
    return Dialled(connection)


def _gone(closed: ConnectionClosed) -> Gone:
    return Gone(ABNORMAL if closed.rcvd is None else closed.rcvd.code)
