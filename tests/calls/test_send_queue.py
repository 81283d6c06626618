"""Frames are sent in order, as soon as the socket takes them, and not before they are due."""

from __future__ import annotations

import asyncio
from math import inf

from voicegw.calls.send_queue import HIGH_WATER_BYTES, MAX_QUEUED_BYTES, TRY_AGAIN_LATER, SendQueue


async def test_queued_frames_are_sent_before_due_ones_and_the_socket_closes_last() -> None:
    loop = asyncio.get_running_loop()
    sent: list[tuple[float, str]] = []
    waiting = [b"two\nthree\n"]

    async def send(frame: str) -> None:
        sent.append((round(loop.time(), 9), frame))

    queue = SendQueue(send)
    queue.put(b"one\n")
    queue.put(b"")
    writing = asyncio.ensure_future(
        queue.write(lambda: waiting.pop() if waiting else b"", lambda: None if sent else inf)
    )
    await asyncio.sleep(1)
    queue.put(b"four\n")
    queue.close(1012)
    queue.close(1000)
    assert await writing == 1012
    assert sent == [(0.0, "one"), (0.0, "two"), (0.0, "three"), (1.0, "four")]


async def test_due_frames_are_asked_for_at_the_deadline() -> None:
    loop = asyncio.get_running_loop()
    due_times: list[float] = []
    frames: list[str] = []

    async def send(frame: str) -> None:
        frames.append(frame)

    def due() -> bytes:
        due_times.append(round(loop.time(), 9))
        return b"now\n" if loop.time() == 2 and not frames else b""

    queue = SendQueue(send)
    writing = asyncio.ensure_future(queue.write(due, lambda: None if frames else 2.0))
    await asyncio.sleep(3)
    queue.close(1000)
    assert (await writing, due_times[0], 2.0 in due_times, frames) == (1000, 0.0, True, ["now"])
    queue.cancel_timer()


async def test_reader_waits_above_the_high_water_mark() -> None:
    gate = asyncio.Event()
    sent: list[int] = []

    async def send(frame: str) -> None:
        await gate.wait()
        sent.append(len(frame))

    queue = SendQueue(send)
    await queue.wait_for_space()
    for _ in range(4):
        queue.put(b"x" * (HIGH_WATER_BYTES // 4) + b"\n")
    writing = asyncio.ensure_future(queue.write(lambda: b"", lambda: None))
    waiting = asyncio.ensure_future(queue.wait_for_space())
    await asyncio.sleep(1)
    assert waiting.done(), "the first piece is on its way"
    for _ in range(2):
        queue.put(b"x" * (HIGH_WATER_BYTES // 4) + b"\n")
    waiting = asyncio.ensure_future(queue.wait_for_space())
    await asyncio.sleep(1)
    assert not waiting.done()
    gate.set()
    await waiting
    queue.close(1000)
    assert (await writing, sent) == (1000, [HIGH_WATER_BYTES // 4] * 6), "nothing is lost"


async def test_socket_that_does_not_read_is_closed_and_drops_frames() -> None:
    sent: list[int] = []

    async def send(frame: str) -> None:
        sent.append(len(frame))

    queue = SendQueue(send)
    for _ in range(20):
        queue.put(b"x" * (MAX_QUEUED_BYTES // 4) + b"\n")
    assert await queue.write(lambda: b"", lambda: None) == TRY_AGAIN_LATER
    assert len(sent) == 4
