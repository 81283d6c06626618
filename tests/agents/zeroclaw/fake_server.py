"""A fake ZeroClaw server on the loopback interface: its chat socket, aborts, and deleted sessions."""

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
"""A frame, a pause in seconds, raw bytes, or None, which ends the connection."""


class FakeZeroClawServer:
    """`async with FakeZeroClawServer(turn, turn, ...) as server`: a turn is the steps that answer a message.

    A turn without steps left hangs until it is aborted. The fake refuses a message during a turn, as the
    agent must never send one.
    """

    def __init__(self, *turns: tuple[Step, ...], status: int = 101, resumed: bool = False) -> None:
        self.turns = list(turns)
        # The status of a handshake; any but 101 refuses sockets.
        self.status = status
        # The steps that a new socket begins with.
        self.opening: tuple[Step, ...] = ({"type": "session_start", "session_id": "s", "resumed": resumed},)
        # Answers an abort request.
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
        self._inner = await serve(self._socket, "127.0.0.1", 0, process_request=self._process_request)
        self._outer = await asyncio.start_server(self._serve, "127.0.0.1", 0)
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
        """Abort a turn: it ends, and then its socket gets the frame."""
        if session not in self.running:
            return {"status": "no_active_response"}
        task, connection = self.running.pop(session)
        task.cancel()
        await asyncio.wait((task,))
        await connection.send('{"type": "aborted"}')
        return {"status": "aborted"}

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        self.keys.append(request.headers.get("authorization"))
        if self.status == 101:
            return None
        body = f"no, not with {request.headers.get('authorization')}".encode()
        headers = Headers([("content-length", str(len(body)))])
        return Response(self.status, "No", headers, body)

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
                    assert session not in self.running, "a message during a turn is added to it"
                    steps = self.turns.pop(0) if self.turns else (60.0,)
                    task = asyncio.create_task(self._run_turn(session, connection, steps))
                    self.running[session] = (task, connection)
        except ConnectionClosed:
            pass
        finally:
            self.closed_sockets += 1
            if (running := self.running.get(session)) is not None and running[1] is connection:
                running[0].cancel()
                del self.running[session]

    async def _run_turn(self, session: str, connection: ServerConnection, steps: tuple[Step, ...]) -> None:
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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"websocket" in head:
                await self._proxy(head, reader, writer)
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

    async def _proxy(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward a connection to the websocket server."""
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
