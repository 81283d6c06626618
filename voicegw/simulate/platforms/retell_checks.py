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
    is_connection_dropped,
    from_violations_if,
    from_violations,
)
from voicegw.simulate.frame_schema import FrameFields, is_boolean, find_mismatch, required_fields, is_integer, is_object, optional_fields, is_text
from voicegw.simulate.recording import Recording
from voicegw.simulate.script import CallScript

ACTIONS = ("end_call", "transfer_number", "digit_to_press")
"""What a response may ask for, the strongest first."""
RESPONSE_FIELDS = required_fields(content=is_text, content_complete=is_boolean) | optional_fields(
    no_interruption_allowed=is_boolean,
    end_call=is_boolean,
    transfer_number=is_text,
    show_transferee_as_caller=is_boolean,
    digit_to_press=is_text,
)
CONFIG_FIELDS = optional_fields(auto_reconnect=is_boolean, call_details=is_boolean, transcript_with_tool_calls=is_boolean)
FRAME_TYPES: Mapping[str, FrameFields] = {
    "config": required_fields(config=is_object),
    "response": required_fields(response_id=is_integer) | RESPONSE_FIELDS,
    "ping_pong": required_fields(timestamp=is_integer),
    "agent_interrupt": required_fields(interrupt_id=is_integer) | RESPONSE_FIELDS,
    "tool_call_invocation": required_fields(tool_call_id=is_text, name=is_text, arguments=is_text),
    "tool_call_result": required_fields(tool_call_id=is_text, content=is_text) | optional_fields(successful=is_boolean),
    "metadata": required_fields(metadata=lambda value: True),
    "update_agent": required_fields(agent_config=is_object),
}
"""What a gateway may send."""


def find_frame_flaw(frame: Mapping[str, Any], kind: Any) -> str | None:
    """Why Retell drops this frame; None if it takes it."""
    why = find_mismatch(frame, kind, FRAME_TYPES)
    return find_mismatch(frame["config"], kind, {"config": CONFIG_FIELDS}) if kind == "config" and why is None else why


def _begins(tape: Recording, script: CallScript) -> list[str] | None:
    """Did the agent begin in time?"""
    if tape.connected_at is None:
        return None
    most = script.patience.first_words
    after = min((at - tape.connected_at for at, _ in tape.greeting), default=None)
    if after is None:
        return ["no begin message (response_id 0)"]
    return [f"the begin message came after {after:.2f} s, not within {most:g} s"] if after > most else []


def _old(tape: Recording, script: CallScript) -> list[str] | None:
    """How long did anything come with a number older than the newest?"""
    pairs = [pair for pair in pairwise(tape.numbered_turns) if pair[0][1].stopped_at is not None]
    most = script.patience.stop
    late = [
        (number, max((at - newer.asked_at for at, _ in older.late_texts), default=0.0))
        for (number, older), (_, newer) in pairs
    ]
    said = [
        f"turn {number}: it went on for {after:.2f} s after the next question, longer than {most:g} s"
        for number, after in late
        if after > most
    ]
    return said if pairs else None


def _stays(tape: Recording, script: CallScript) -> list[str] | None:
    if tape.connected_at is None:
        return None
    hung_up = tape.gateway_close is not None and tape.gateway_close[1] == 1000 and not tape.agent_ended_call
    why = "it closed with 1000, which hangs up, though the agent did not end the call"
    return [why] if hung_up else from_violations(tape, script)


def _answered(tape: Recording) -> bool:
    return any(turn.end_times for turn in tape.turns)


def _updated(tape: Recording) -> bool:
    return any(turn.step.partial or turn.step.interrupt is not None for turn in tape.turns)


CHECKS = (
    *(check for check in COMMON if check not in (REFUSES, STOPS)),  # it proves nothing, and drops what is old
    PONG,
    Check("config-first", "the configuration comes first, and the begin message at once", _begins),
    Check("echo", "a ping comes back with the same time", lambda tape, script: [] if tape.pings else None),
    Check("types", "every frame is a JSON text of a known type, its fields of the right types", from_violations),
    Check("one-complete", "a response is complete exactly once, and then over", from_violations_if(_answered)),
    Check("old-ids", "nothing is said for any but the newest request", _old),
    Check("updates", "an update is not answered", from_violations_if(_updated)),
    COMES_BACK,
    Check(
        "no-second-greeting",
        "nobody is greeted again after a lost connection",
        from_violations_if(lambda tape: any(map(is_connection_dropped, tape.turns))),
    ),
    Check("not-1000", "the connection is not closed with 1000 unless the agent ended the call", _stays),
    Check(
        "actions",
        "one thing to do comes with the completing frame, and last words may not be interrupted",
        from_violations_if(lambda tape: any(turn.actions for turn in tape.turns)),
    ),
)
