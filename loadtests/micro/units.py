"""The units of work that have a budget: one turn, one delta and one turn of a websocket call.

    python -m loadtests.micro.units

It does them in the gateway of `in_process` and prints the bytecodes that each function executes, as JSON.
`instructions` counts the processor's instructions of the same units.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import select
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import uvloop

from loadtests.micro.in_process import (
    ANSWER,
    END,
    HANDSHAKE,
    HEAD,
    PROMPT,
    Client,
    Gateway,
    encode_chunk,
    encode_frame,
    encode_request,
    run_gateway,
)

WARM_UP_UNITS, MEASURED_UNITS = 20, 40
"""Units of each kind: the first ones, in which the interpreter specialises its code, and those that count."""
COUNT = WARM_UP_UNITS + MEASURED_UNITS
TURNS_PER_CALL = 20
"""Turns in one websocket call: a call that asks more than 30 times at once is not answered."""

Mark = Callable[[str], None]
"""Is called before the units that count of a name, and with "" after them."""


async def run_turns(gateway: Gateway, mark: Mark) -> None:
    """Ask in a new call each time: request to the end of the answer, on one connection."""
    client = gateway.connect(gateway.config.http_protocol_class, b"\r\n0\r\n\r\n")
    requests = [encode_request(number) for number in range(COUNT)]
    await repeat("turn", mark, lambda number: client.ask(requests[number]))


async def run_deltas(gateway: Gateway, mark: Mark) -> None:
    """Let deltas of one answer arrive one by one, each in a loop turn by itself."""
    client = gateway.connect(gateway.config.http_protocol_class, b"\r\n0\r\n\r\n")
    gateway.agent.answer = HEAD + encode_chunk("Well, ")
    asking = asyncio.ensure_future(client.ask(encode_request(999_999)))
    await client.wait_for_writes(2)  # the acknowledgement, then the first word
    chunk, connection = encode_chunk("word "), gateway.agent.connection
    assert connection is not None

    async def feed(number: int) -> None:
        connection.data_received(chunk)
        await asyncio.sleep(0)

    before = client.write_count
    await repeat("delta", mark, feed)
    assert client.write_count == before + COUNT, f"{COUNT} deltas took {client.write_count - before} writes"
    connection.data_received(END)
    await asking
    gateway.agent.answer = ANSWER


async def run_call_turns(gateway: Gateway, mark: Mark) -> None:
    """Ask in open calls of ConversationRelay: prompt to the last frame."""
    clients = [await open_call(gateway, number) for number in range(COUNT // TURNS_PER_CALL)]
    prompts = [
        {"type": "prompt", "voicePrompt": f"{PROMPT} {number}", "last": True} for number in range(COUNT)
    ]
    frames = [encode_frame(prompt) for prompt in prompts]
    await repeat("call_turn", mark, lambda number: clients[number // TURNS_PER_CALL].ask(frames[number]))


async def open_call(gateway: Gateway, number: int) -> Client:
    client = gateway.connect(gateway.config.ws_protocol_class, b'"last":true')
    client.protocol.data_received(HANDSHAKE)
    await client.wait_for_writes(1)
    client.protocol.data_received(encode_frame({"type": "setup", "callSid": f"CA{number}"}))
    return client


async def repeat(name: str, mark: Mark, do: Callable[[int], Awaitable[None]]) -> None:
    """Do WARM_UP_UNITS, then MEASURED_UNITS between two marks."""
    for number in range(WARM_UP_UNITS):
        await do(number)
    mark(name)
    for number in range(WARM_UP_UNITS, COUNT):
        await do(number)
    mark("")


async def run_calibration(gateway: Gateway, mark: Mark) -> None:
    """Run plain Python, which no change of the gateway touches: it tells builds of the interpreter apart."""

    async def work(number: int) -> None:
        words: dict[str, list[int]] = {}
        for index in range(100):
            words.setdefault(f"word{index % 7}", []).append(min(index, number) + len(words))
        assert len(b" ".join(word.encode() for word in sorted(words))) == 41

    await repeat("calibration", mark, work)


UNITS = {"calibration": run_calibration, "turn": run_turns, "delta": run_deltas, "call_turn": run_call_turns}
TIMEOUT = 300.0
"""Seconds for all units. They take one, and fifty times as long under callgrind."""


async def run_units(mark: Mark, before: Callable[[], None] = lambda: None) -> None:
    """Start the gateway, call `before`, and run all units.

    The garbage collector is off, since its passes come at random moments.
    Raises TimeoutError if an answer does not end.
    """
    async with asyncio.timeout(TIMEOUT), run_gateway() as gateway:
        gc.collect()
        gc.disable()
        before()
        for run in UNITS.values():
            await run(gateway, mark)


# Their bytecodes


class BytecodeCounter:
    """Counts the bytecodes of each function by unit. The counts of one interpreter are exact."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self._current: Counter[str] = Counter()

    def mark(self, name: str) -> None:
        """Count for the unit of this name from now on; "" for none."""
        sys.settrace(self._trace if name else None)
        self._current = self.counts.setdefault(name, Counter()) if name else Counter()

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        counts = self._current
        function = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"

        def count_opcode(frame: FrameType, event: str, argument: object) -> Any:
            counts[function] += event == "opcode"
            return count_opcode

        return count_opcode


def count_bytecodes() -> dict[str, dict[str, float]]:
    """Return the bytecodes that each function executes in one unit, by unit; the most first."""
    counter = BytecodeCounter()
    uvloop.run(run_units(counter.mark))
    return {
        unit: {name: count / MEASURED_UNITS for name, count in counts.most_common()}
        for unit, counts in counter.counts.items()
    }


def wait_for_tool() -> None:
    """Say that the start is over, and wait for a line.

    The wait is busy: callgrind takes commands only while the process runs.
    """
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        pass
    sys.stdin.readline()


async def run_marked() -> None:
    """Run all units and call `ctermid` of the C library at each mark: a tool can watch for it."""

    def mark(name: str) -> None:
        os.ctermid()

    await run_units(mark, before=wait_for_tool)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    if sys.argv[1:] == ["--marked"]:
        uvloop.run(run_marked())
    else:
        print(json.dumps(count_bytecodes()))
