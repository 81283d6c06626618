"""Digits are collected into one input."""

from __future__ import annotations

import asyncio

from voicegw.calls.dtmf import INTER_DIGIT_TIMEOUT, MAX_DIGITS, DtmfCollector


async def test_input_is_complete_after_a_pause_a_hash_or_the_limit() -> None:
    loop = asyncio.get_running_loop()
    inputs: list[tuple[float, str]] = []
    collector = DtmfCollector(lambda digits: inputs.append((round(loop.time(), 9), digits)))
    collector.press("1")
    await asyncio.sleep(1)
    collector.press("2")
    await asyncio.sleep(4)
    for digit in "34#":
        collector.press(digit)
    for _ in range(MAX_DIGITS + 1):
        collector.press("5")
    collector.cancel_timer()
    await asyncio.sleep(2 * INTER_DIGIT_TIMEOUT)
    assert inputs == [(2.5, "12"), (5.0, "34#"), (5.0, MAX_DIGITS * "5")]
