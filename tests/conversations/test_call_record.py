"""A call keeps its newest runs while they matter, and then only the end of its newest turn."""

from __future__ import annotations

import asyncio

from tests.support.fake_agent import fake_agent
from voicegw.conversations.call_record import CallRecord
from voicegw.conversations.call_store import CallStore
from voicegw.events import Message, ToolCall, Turn
from voicegw.turns.run import Run

TURN = Turn("t1", (Message("user", "Hello?"),))


async def test_the_heard_part_is_found_also_after_the_run_is_forgotten() -> None:
    calls, now = CallStore(), asyncio.get_running_loop().time
    call = Message("assistant", "", tool_calls=(ToolCall("c", "f"),))
    known = (Message("user", "When?"), call, Message("tool", "at 8", tool_call_id="c", name="f"))
    run = Run(fake_agent("We open ", "at eight."), Turn("t1", known), lambda run: None, now=now)
    calls.get("a", 0.0).start_run(run)
    run.start()
    await asyncio.sleep(1.0)
    cut = (*known, Message("assistant", "We open"), Message("user", "Pardon?"))
    others = (
        known,
        cut[1:],
        (Message("user", "Where?"), *cut[1:]),
        (*known, Message("assistant", "We open at eight.")),
    )
    for _ in range(2):
        assert calls.heard_part("a", cut) == "We open"
        assert [calls.heard_part("a", other) for other in others] == [None] * 4
        calls.forget_run("a", run, 1.0)
    assert calls.get("a", 1.0).run is None
    assert (calls.heard_part("b", cut), CallRecord("c", 0.0).heard_part(cut)) == (None, None)


async def test_the_newest_background_run_is_kept_with_those_not_closed_yet() -> None:
    runs = [Run(fake_agent(60.0), TURN, lambda run: None, now=lambda: 0.0) for _ in range(4)]
    call = CallStore().get("a", 0.0)
    for run in runs[:2]:
        call.add_background(run)
    runs[0].cancel()
    call.add_background(runs[2])
    assert call.background_runs == runs[1:3]


async def test_older_runs_are_kept_until_they_are_closed() -> None:
    calls = CallStore()
    runs = [Run(fake_agent(60.0), TURN, lambda run: None, now=lambda: 0.0) for _ in range(3)]
    call = calls.get("a", 0.0)
    for run in runs:
        call.start_run(run)
    assert (call.run, call.closing_runs) == (runs[2], runs[:2])
    runs[0].cancel()
    call.start_run(Run(fake_agent(), TURN, lambda run: None, now=lambda: 0.0))
    assert call.closing_runs == runs[1:]
