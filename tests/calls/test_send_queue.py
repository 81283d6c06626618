"""Frames leave in order, as soon as they can, and not before their time."""

from __future__ import annotations

import asyncio
from math import inf

from voicegw.calls.send_queue import FULL, MOST, OVERRUN, SendQueue


async def test_what_was_said_leaves_before_what_is_due_and_the_socket_closes_after_both() -> None:
    loop = asyncio.get_running_loop()
    sent: list[tuple[float, str]] = []
    waiting = [b"two\nthree\n"]

    async def send(frame: str) -> None:
        sent.append((round(loop.time(), 9), frame))

    box = SendQueue(send)
    box.say(b"one\n")
    box.say(b"")
    writing = asyncio.ensure_future(
        box.write(lambda: waiting.pop() if waiting else b"", lambda: None if sent else inf)
    )
    await asyncio.sleep(1)
    box.say(b"four\n")
    box.close(1012)
    box.close(1000)
    assert await writing == 1012
    assert sent == [(0.0, "one"), (0.0, "two"), (0.0, "three"), (1.0, "four")]


async def test_it_wakes_at_the_deadline() -> None:
    loop = asyncio.get_running_loop()
    asked: list[float] = []
    frames: list[str] = []

    async def send(frame: str) -> None:
        frames.append(frame)

    def due() -> bytes:
        asked.append(round(loop.time(), 9))
        return b"now\n" if loop.time() == 2 and not frames else b""

    box = SendQueue(send)
    writing = asyncio.ensure_future(box.write(due, lambda: None if frames else 2.0))
    await asyncio.sleep(3)
    box.close(1000)
    assert (await writing, asked[0], 2.0 in asked, frames) == (1000, 0.0, True, ["now"])
    box.stop()


async def test_a_reader_waits_while_much_waits_to_be_sent() -> None:
    gate = asyncio.Event()
    sent: list[int] = []

    async def send(frame: str) -> None:
        await gate.wait()
        sent.append(len(frame))

    box = SendQueue(send)
    await box.room()
    for _ in range(4):
        box.say(b"x" * (FULL // 4) + b"\n")
    writing = asyncio.ensure_future(box.write(lambda: b"", lambda: None))
    waiting = asyncio.ensure_future(box.room())
    await asyncio.sleep(1)
    assert waiting.done(), "the first piece is on its way"
    for _ in range(2):
        box.say(b"x" * (FULL // 4) + b"\n")
    waiting = asyncio.ensure_future(box.room())
    await asyncio.sleep(1)
    assert not waiting.done()
    gate.set()
    await waiting
    box.close(1000)
    assert (await writing, sent) == (1000, [FULL // 4] * 6), "nothing is lost"


async def test_who_never_reads_is_given_up_and_no_more_is_kept_for_them() -> None:
    sent: list[int] = []

    async def send(frame: str) -> None:
        sent.append(len(frame))

    box = SendQueue(send)
    for _ in range(20):
        box.say(b"x" * (MOST // 4) + b"\n")
    assert await box.write(lambda: b"", lambda: None) == OVERRUN
    assert len(sent) == 4
