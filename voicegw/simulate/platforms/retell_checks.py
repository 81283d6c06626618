"""The checks of Retell besides those that all platforms share. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from voicegw.simulate.checks import (
    COMES_BACK,
    COMMON,
    PONG,
    REFUSES,
    STOPS,
    Check,
    from_violations,
    from_violations_if,
    is_connection_dropped,
)
from voicegw.simulate.frame_schema import (
    FrameFields,
    find_mismatch,
    is_boolean,
    is_integer,
    is_object,
    is_text,
    optional_fields,
    required_fields,
)
from voicegw.simulate.platforms.situation_checks import ASKS_AGAIN, TAKES_BACK
from voicegw.simulate.recording import Recording
from voicegw.simulate.script import CallScript

ACTIONS = ("end_call", "transfer_number", "digit_to_press")
"""The actions of a response, the strongest first."""
RESPONSE_FIELDS = required_fields(content=is_text, content_complete=is_boolean) | optional_fields(
    no_interruption_allowed=is_boolean,
    end_call=is_boolean,
    transfer_number=is_text,
    show_transferee_as_caller=is_boolean,
    digit_to_press=is_text,
)
CONFIG_FIELDS = optional_fields(
    auto_reconnect=is_boolean, call_details=is_boolean, transcript_with_tool_calls=is_boolean
)
FRAME_TYPES: Mapping[str, FrameFields] = {
    "config": required_fields(config=is_object),
    "response": required_fields(response_id=is_integer) | RESPONSE_FIELDS,
    "ping_pong": required_fields(timestamp=is_integer),
    "agent_interrupt": required_fields(interrupt_id=is_integer) | RESPONSE_FIELDS,
    "tool_call_invocation": required_fields(tool_call_id=is_text, name=is_text, arguments=is_text),
    "tool_call_result": required_fields(tool_call_id=is_text, content=is_text)
    | optional_fields(successful=is_boolean),
    "metadata": required_fields(metadata=lambda value: True),
    "update_agent": required_fields(agent_config=is_object),
}
"""The frames that a gateway may send."""


def find_frame_flaw(frame: Mapping[str, Any], frame_type: Any) -> str | None:
    """Return a sentence that says why Retell drops this frame; None if it accepts it."""
    flaw = find_mismatch(frame, frame_type, FRAME_TYPES)
    if frame_type == "config" and flaw is None:
        return find_mismatch(frame["config"], frame_type, {"config": CONFIG_FIELDS})
    return flaw


def find_action_flaws(frame: Mapping[str, Any], actions: Sequence[str], *, has_words: bool) -> Iterator[str]:
    """Yield a sentence for each reason why Retell would not execute the actions of a response as meant.

    `has_words`: the reply says something before them.
    """
    action = actions[0]
    if not frame["content_complete"]:
        yield f"{action} before content_complete"
    if len(actions) > 1:
        yield f"{' and '.join(actions)} at once"
    ends_call = action != "digit_to_press"
    if ends_call and has_words and frame.get("no_interruption_allowed") is not True:
        yield f"{action} without no_interruption_allowed, after words"


def _check_begin_message(recording: Recording, script: CallScript) -> list[str] | None:
    """Check that the agent speaks first, in time."""
    if recording.connected_at is None:
        return None
    limit = script.patience.first_words
    delay = min((at - recording.connected_at for at, _ in recording.greeting), default=None)
    if delay is None:
        return ["no begin message (response_id 0)"]
    if delay <= limit:
        return []
    return [f"the begin message came after {delay:.2f} s, not within {limit:g} s"]


def _check_old_ids(recording: Recording, script: CallScript) -> list[str] | None:
    """Check how long text arrives for a request that a newer one replaced."""
    pairs = [pair for pair in pairwise(recording.numbered_turns) if pair[0][1].stopped_at is not None]
    limit = script.patience.stop
    delays = [
        (number, max((at - newer.asked_at for at, _ in older.late_texts), default=0.0))
        for (number, older), (_, newer) in pairs
    ]
    flaws = [
        f"turn {number}: it went on for {delay:.2f} s after the next question, longer than {limit:g} s"
        for number, delay in delays
        if delay > limit
    ]
    return flaws if pairs else None


def _check_close_code(recording: Recording, script: CallScript) -> list[str] | None:
    if recording.connected_at is None:
        return None
    close = recording.gateway_close
    if close is not None and close[1] == 1000 and not recording.agent_ended_call:
        return ["it closed with 1000, which hangs up, though the agent did not end the call"]
    return from_violations(recording, script)


def _has_answer(recording: Recording) -> bool:
    return any(turn.end_times for turn in recording.turns)


def _has_update(recording: Recording) -> bool:
    return any(turn.step.partial or turn.step.interrupt is not None for turn in recording.turns)


CHECKS = (
    # Retell sends no proof, and drops late text itself.
    *(check for check in COMMON if check not in (REFUSES, STOPS)),
    PONG,
    Check("config-first", "config comes first, and the begin message right after it", _check_begin_message),
    Check(
        "echo",
        "a pong has the timestamp of its ping",
        lambda recording, script: [] if recording.pings else None,
    ),
    Check(
        "types", "every frame is JSON text of a known type, with fields of the right types", from_violations
    ),
    Check(
        "one-complete",
        "a response is complete exactly once, and ends there",
        from_violations_if(_has_answer),
    ),
    Check("old-ids", "only the newest request is answered", _check_old_ids),
    Check("updates", "an update is not answered", from_violations_if(_has_update)),
    COMES_BACK,
    ASKS_AGAIN,
    TAKES_BACK,
    Check(
        "no-second-greeting",
        "the caller is not greeted again after a lost connection",
        from_violations_if(lambda recording: any(map(is_connection_dropped, recording.turns))),
    ),
    Check(
        "not-1000",
        "the connection is not closed with 1000 unless the agent ended the call",
        _check_close_code,
    ),
    Check(
        "actions",
        "the completing frame has one action at most, and last words forbid interruptions",
        from_violations_if(lambda recording: any(turn.actions for turn in recording.turns)),
    ),
)
