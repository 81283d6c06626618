"""A ZeroClaw of our own on the loopback interface: its chat socket, and stopping and deleting sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

Step = dict[str, Any] | float | bytes | None
"""A frame, a pause in seconds, raw bytes, or (None) the end of the connection."""


class FakeZeroClawServer:
    """`async with Claw(turn, turn, ...) as claw`, a turn being the steps that a message is answered by.

    A turn without steps left hangs until it is aborted. `abort` replaces what aborting does, `opening` what a
    new socket is greeted by, `status` refuses sockets.
    """

    def __init__(self, *turns: tuple[Step, ...], status: int = 101, resumed: bool = False) -> None:
        self.turns = list(turns)
        self.status = status
        self.opening: tuple[Step, ...] = ({"type": "session_start", "session_id": "s", "resumed": resumed},)
        self.abort: Callable[[str], Any] = self.stop
        self.frames: list[dict[str, Any]] = []
        self.opened_sockets: list[dict[str, str]] = []
        self.keys: list[str | None] = []
        self.requests: list[str] = []
        self.running: dict[str, tuple[asyncio.Task[None], ServerConnection]] = {}
        self.closed_sockets = 0
        self._pipes: set[asyncio.Task[None]] = set()

    @property
    def received_texts(self) -> list[str]:
        return [frame["content"] for frame in self.frames if frame["type"] == "message"]

    async def __aenter__(self) -> FakeZeroClawServer:
        self._inner = await serve(self._socket, "127.0.0.1", 0, process_request=self._greet)
        self._outer = await asyncio.start_server(self._front, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._outer.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._outer.close()
        for task in (*self._pipes, *(task for task, _ in self.running.values())):
            task.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        self._inner.close()
        await self._inner.wait_closed()

    async def stop(self, session: str) -> dict[str, str]:
        """What aborting does: the turn ends, then its socket hears of it."""
        if session not in self.running:
            return {"status": "no_active_response"}
        task, connection = self.running.pop(session)
        task.cancel()
        await asyncio.wait((task,))
        await connection.send('{"type": "aborted"}')
        return {"status": "aborted"}

    def _greet(self, connection: ServerConnection, request: Request) -> Response | None:
        self.keys.append(request.headers.get("authorization"))
        if self.status == 101:
            return None
        said = f"no, not with {request.headers.get('authorization')}".encode()
        headers = Headers([("content-length", str(len(said)))])
        return Response(self.status, "No", headers, said)

    async def _socket(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        query = parse_qs(urlsplit(connection.request.path).query)
        self.opened_sockets.append({name: values[0] for name, values in query.items()})
        session = query["session_id"][0]
        try:
            await self._play(connection, self.opening)
            async for data in connection:
                frame = orjson.loads(data)
                self.frames.append(frame)
                if frame["type"] == "message":
                    assert session not in self.running, "a message in the middle of a turn is advice"
                    steps = self.turns.pop(0) if self.turns else (60.0,)
                    task = asyncio.create_task(self._turn(session, connection, steps))
                    self.running[session] = (task, connection)
        except ConnectionClosed:
            pass
        finally:
            self.closed_sockets += 1
            if (running := self.running.get(session)) is not None and running[1] is connection:
                running[0].cancel()
                del self.running[session]

    async def _turn(self, session: str, connection: ServerConnection, steps: tuple[Step, ...]) -> None:
        with suppress(ConnectionClosed):
            await self._play(connection, steps, session)

    async def _play(self, connection: ServerConnection, steps: tuple[Step, ...], session: str = "") -> None:
        for step in steps:
            if step is None:
                connection.transport.abort()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, bytes):
                await connection.send(step)
            else:
                if step["type"] in ("done", "aborted", "error"):
                    self.running.pop(session, None)
                await connection.send(orjson.dumps(step).decode())

    async def _front(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"websocket" in head:
                await self._join(head, reader, writer)
            while True:
                method, path, _ = head.split(b" ", 2)
                self.requests.append(f"{method.decode()} {path.decode()}")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0"
                await reader.readexactly(int(length))
                session = path.decode().split("/")[3]
                body = orjson.dumps(await self.abort(session) if path.endswith(b"/abort") else {})
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
                head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._pipes.discard(task)
            writer.transport.abort()

    async def _join(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand a connection over to the part that knows websockets."""
        port = self._inner.sockets[0].getsockname()[1]
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        outer.write(head)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pipe(reader, outer))
                group.create_task(pipe(inner, writer))
        except* ConnectionError:
            pass
        finally:
            outer.transport.abort()
        raise ConnectionError


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError
