"""Digits are taken together."""

from __future__ import annotations

import asyncio

from voicegw.calls.dtmf import MAX_DIGITS, PAUSE, DtmfCollector


async def test_digits_are_taken_after_a_pause_or_a_hash_or_when_there_are_many() -> None:
    loop = asyncio.get_running_loop()
    taken: list[tuple[float, str]] = []
    keypad = DtmfCollector(lambda digits: taken.append((round(loop.time(), 9), digits)))
    keypad.press("1")
    await asyncio.sleep(1)
    keypad.press("2")
    await asyncio.sleep(4)
    for digit in "34#":
        keypad.press(digit)
    for _ in range(MAX_DIGITS + 1):
        keypad.press("5")
    keypad.stop()
    await asyncio.sleep(2 * PAUSE)
    assert taken == [(2.5, "12"), (5.0, "34#"), (5.0, MAX_DIGITS * "5")]
