"""The pump of an agent's websocket: frames leave the queue in the callback in which they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from websockets.asyncio.server import ServerConnection

from tests.agents.client.test_websocket import connect_raw, connected, sends
from tests.agents.upstream import Action, wait_until
from voicegw.agents.client import frame_queue
from voicegw.agents.client import websocket as module
from voicegw.agents.client.websocket import WebSocketClosed
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError

pytestmark = pytest.mark.wire


class Frames:
    """Takes the frames of a pump, "|" for each flush, until there are `count` frames."""

    def __init__(self, count: int = 1000, failure: Exception | None = None) -> None:
        self.count, self.failure = count, failure
        self.taken: list[Any] = []

    def feed(self, frame: dict[str, Any]) -> bool:
        self.taken.append(frame.get("n"))
        if len(self.frames) < self.count:
            return True
        if self.failure is not None:
            raise self.failure
        return False

    def flush(self) -> None:
        self.taken.append("|")

    @property
    def frames(self) -> list[Any]:
        return [item for item in self.taken if item != "|"]


def encode_frame(value: dict[str, Any]) -> bytes:
    """Return a text frame of a server."""
    data = orjson.dumps(value)
    return bytes([0x81, len(data)]) + data


NUMBERS = [orjson.dumps({"n": number}).decode() for number in range(4)]


async def test_pump_passes_frames_on_that_wait_and_leaves_later_ones() -> None:
    async with connected(sends(*NUMBERS)) as websocket:
        await wait_until(lambda: not websocket.is_open)
        frames = Frames(3)
        await websocket.pump(frames.feed, frames.flush)
        assert frames.taken == [0, 1, 2, "|"]
        assert await websocket.receive() == {"n": 3}
        with pytest.raises(WebSocketClosed, match="code 1000"):
            await websocket.pump(frames.feed, frames.flush)


async def test_pump_passes_frames_on_in_the_callback_and_flushes_once_for_those_of_one_read() -> None:
    server, websocket = await connect_raw()
    frames = Frames(3)
    pumping = asyncio.create_task(websocket.pump(frames.feed, frames.flush))
    await asyncio.sleep(0)
    websocket.connection.data_received(encode_frame({"n": 0}) + encode_frame({"n": 1}))
    assert frames.taken == ["|", 0, 1, "|"]
    websocket.connection.data_received(b"".join(encode_frame({"n": number}) for number in (2, 3)))
    assert frames.taken == ["|", 0, 1, "|", 2, "|"]
    await pumping
    assert await websocket.receive() == {"n": 3}
    websocket.abort()
    server.close()


@pytest.mark.parametrize("is_waiting", [True, False])
async def test_pump_raises_the_exception_of_its_function(is_waiting: bool) -> None:
    go_on = asyncio.Event()

    async def play(connection: ServerConnection) -> None:
        if is_waiting:
            await go_on.wait()
        for number in NUMBERS:
            await connection.send(number)
        await connection.wait_closed()

    async with connected(play) as websocket:
        frames = Frames(2, AgentBusy("enough"))
        pumping = asyncio.create_task(websocket.pump(frames.feed, frames.flush))
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(AgentBusy, match="enough"):
            await pumping
        assert frames.frames == [0, 1]
        assert [await websocket.receive() for _ in range(2)] == [{"n": 2}, {"n": 3}]


async def test_pump_passes_frames_on_before_one_that_is_no_object() -> None:
    async with connected(sends(NUMBERS[0], "[]", NUMBERS[1])) as websocket:
        frames = Frames()
        with pytest.raises(AgentProtocolError, match="no JSON object"):
            await websocket.pump(frames.feed, frames.flush)
        assert frames.frames == [0]
        assert await websocket.receive() == {"n": 1}


@pytest.mark.parametrize(
    ("end", "kind", "words"),
    [
        (b"\x83\x00", AgentProtocolError, "broke the protocol of websockets"),
        (b"\x88\x02\x03\xe9", WebSocketClosed, "closed the connection with code 1001"),
        (b"\x01\x02{}\x88\x02\x03\xe9", WebSocketClosed, "closed the connection with code 1001"),
        (Action.RESET, WebSocketClosed, "closed the connection with code 1006"),
    ],
)
async def test_pump_raises_the_error_of_the_close_after_the_frames(
    end: bytes | Action, kind: type[AgentError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.05)
    server, websocket = await connect_raw()
    frames = Frames()
    pumping = asyncio.create_task(websocket.pump(frames.feed, frames.flush))
    await asyncio.sleep(0)
    websocket.connection.data_received(encode_frame({"n": 0}))
    if isinstance(end, bytes):
        websocket.connection.data_received(end)
    else:
        websocket.abort()
    with pytest.raises(kind, match=words):
        await pumping
    assert frames.frames == [0]
    server.close()


async def test_cancelled_pump_leaves_the_fragments_for_the_next_reader() -> None:
    server, websocket = await connect_raw()
    frames = Frames()
    pumping = asyncio.create_task(websocket.pump(frames.feed, frames.flush))
    await asyncio.sleep(0)
    websocket.connection.data_received(b'\x01\x04{"n"' + b"\x00\x01:")
    pumping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pumping
    assert websocket.connection.frames.queued_bytes == 5
    websocket.connection.data_received(b"\x80\x027}")
    assert await websocket.receive() == {"n": 7}
    assert frames.frames == []
    assert websocket.connection.frames.queued_bytes == 0
    websocket.abort()
    server.close()


async def test_pump_reads_again_from_a_server_that_a_slow_reader_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frame_queue, "MAX_QUEUED_BYTES", 1000)
    go_on = asyncio.Event()

    async def pieces() -> AsyncIterator[str]:
        yield '{"n": "'
        for _ in range(20):
            yield "y" * 500
        await go_on.wait()
        yield '"}'

    async def play(connection: ServerConnection) -> None:
        await connection.send(pieces())
        await connection.send("{}")
        await connection.wait_closed()

    async with connected(play) as websocket:
        await wait_until(lambda: websocket.connection.recv_messages.paused)
        frames = Frames(2)
        pumping = asyncio.create_task(websocket.pump(frames.feed, frames.flush))
        await asyncio.sleep(0)
        assert not websocket.connection.recv_messages.paused
        go_on.set()
        await pumping
        assert frames.frames == ["y" * 10_000, None]
