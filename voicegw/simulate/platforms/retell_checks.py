"""What Retell needs beyond what every platform does. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from voicegw.simulate.checks import (
    COMES_BACK,
    COMMON,
    PONG,
    REFUSES,
    STOPS,
    Check,
    dropped,
    occasion,
    reading,
)
from voicegw.simulate.frame_schema import Fields, flag, misfit, needs, number, table, takes, text
from voicegw.simulate.recording import Tape
from voicegw.simulate.script import Script

ACTIONS = ("end_call", "transfer_number", "digit_to_press")
"""What a response may ask for, the strongest first."""
SAID = needs(content=text, content_complete=flag) | takes(
    no_interruption_allowed=flag,
    end_call=flag,
    transfer_number=text,
    show_transferee_as_caller=flag,
    digit_to_press=text,
)
CONFIG = takes(auto_reconnect=flag, call_details=flag, transcript_with_tool_calls=flag)
KINDS: Mapping[str, Fields] = {
    "config": needs(config=table),
    "response": needs(response_id=number) | SAID,
    "ping_pong": needs(timestamp=number),
    "agent_interrupt": needs(interrupt_id=number) | SAID,
    "tool_call_invocation": needs(tool_call_id=text, name=text, arguments=text),
    "tool_call_result": needs(tool_call_id=text, content=text) | takes(successful=flag),
    "metadata": needs(metadata=lambda value: True),
    "update_agent": needs(agent_config=table),
}
"""What a gateway may send."""


def odd(frame: Mapping[str, Any], kind: Any) -> str | None:
    """Why Retell drops this frame; None if it takes it."""
    why = misfit(frame, kind, KINDS)
    return misfit(frame["config"], kind, {"config": CONFIG}) if kind == "config" and why is None else why


def _begins(tape: Tape, script: Script) -> list[str] | None:
    """Did the agent begin in time?"""
    if tape.opened is None:
        return None
    most = script.patience.first_words
    after = min((at - tape.opened for at, _ in tape.greeting), default=None)
    if after is None:
        return ["no begin message (response_id 0)"]
    return [f"the begin message came after {after:.2f} s, not within {most:g} s"] if after > most else []


def _old(tape: Tape, script: Script) -> list[str] | None:
    """How long did anything come with a number older than the newest?"""
    pairs = [pair for pair in pairwise(tape.numbered) if pair[0][1].stopped is not None]
    most = script.patience.stop
    late = [
        (number, max((at - newer.asked for at, _ in older.late), default=0.0))
        for (number, older), (_, newer) in pairs
    ]
    said = [
        f"turn {number}: it went on for {after:.2f} s after the next question, longer than {most:g} s"
        for number, after in late
        if after > most
    ]
    return said if pairs else None


def _stays(tape: Tape, script: Script) -> list[str] | None:
    if tape.opened is None:
        return None
    hung_up = tape.closed is not None and tape.closed[1] == 1000 and not tape.over
    why = "it closed with 1000, which hangs up, though the agent did not end the call"
    return [why] if hung_up else reading(tape, script)


def _answered(tape: Tape) -> bool:
    return any(turn.ends for turn in tape.turns)


def _updated(tape: Tape) -> bool:
    return any(turn.step.partial or turn.step.interrupt is not None for turn in tape.turns)


CHECKS = (
    *(check for check in COMMON if check not in (REFUSES, STOPS)),  # it proves nothing, and drops what is old
    PONG,
    Check("config-first", "the configuration comes first, and the begin message at once", _begins),
    Check("echo", "a ping comes back with the same time", lambda tape, script: [] if tape.pings else None),
    Check("types", "every frame is a JSON text of a known type, its fields of the right types", reading),
    Check("one-complete", "a response is complete exactly once, and then over", occasion(_answered)),
    Check("old-ids", "nothing is said for any but the newest request", _old),
    Check("updates", "an update is not answered", occasion(_updated)),
    COMES_BACK,
    Check(
        "no-second-greeting",
        "nobody is greeted again after a lost connection",
        occasion(lambda tape: any(map(dropped, tape.turns))),
    ),
    Check("not-1000", "the connection is not closed with 1000 unless the agent ended the call", _stays),
    Check(
        "actions",
        "one thing to do comes with the completing frame, and last words may not be interrupted",
        occasion(lambda tape: any(turn.acted for turn in tape.turns)),
    ),
)
