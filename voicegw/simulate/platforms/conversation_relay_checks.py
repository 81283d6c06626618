"""What ConversationRelay needs beyond what every platform does. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from voicegw.simulate.checks import (
    COMES_BACK,
    COMMON,
    REFUSES,
    Check,
    is_connection_dropped,
    check_turns,
    from_violations_if,
    from_violations,
    is_uninterrupted,
)
from voicegw.simulate.frame_schema import FrameFields, is_count, is_boolean, matches, find_mismatch, required_fields, optional_fields, is_text
from voicegw.simulate.recording import Recording, RecordedTurn
from voicegw.simulate.script import CallScript

CYCLE_FIELDS = optional_fields(interruptible=is_boolean, preemptible=is_boolean)
COMMON_FRAMES: Mapping[str, FrameFields] = {
    "text": required_fields(token=is_text) | optional_fields(last=is_boolean, lang=is_text) | CYCLE_FIELDS,
    "play": required_fields(source=matches(r"https?://\S+")) | optional_fields(loop=is_count) | CYCLE_FIELDS,
    "sendDigits": required_fields(digits=matches(r"[0-9w#*]+")),
    "language": optional_fields(ttsLanguage=is_text, transcriptionLanguage=is_text),
    "end": optional_fields(handoffData=is_text),
}
RelayVendor: TypeAlias = Literal["twilio", "telnyx"]
"""Whose ConversationRelay: they name a call and its fields differently."""
FRAMES_BY_VENDOR: Mapping[RelayVendor, Mapping[str, FrameFields]] = {
    "twilio": {**COMMON_FRAMES, "config": {}, "hints": {}},  # whose fields are not documented
    "telnyx": COMMON_FRAMES,
}
"""What a gateway may send."""


def find_frame_flaw(frame: Mapping[str, Any], vendor: RelayVendor) -> str | None:
    """Why the platform does not take this frame; None if it does."""
    kind = frame.get("type")
    if kind == "language" and not frame.keys() & COMMON_FRAMES["language"].keys():
        return "language without a language"
    return find_mismatch(frame, kind, FRAMES_BY_VENDOR[vendor])


def _newer(tape: Recording, script: CallScript) -> list[str] | None:
    """Was every question answered that came over the answer to another?"""
    cut = (older.step.next is not None and older.stopped_at is not None for older in tape.turns)
    newer = [numbered for over, numbered in zip(cut, tape.numbered_turns[1:], strict=False) if over]
    mute = (number for number, turn in newer if is_uninterrupted(turn) and not turn.end_times)
    return [f"turn {number}: no answer" for number in mute] if newer else None


def _endless(turn: RecordedTurn) -> bool:
    """Did words come, and nothing that ended them for as long as the platform waited?"""
    return is_uninterrupted(turn) and bool(turn.texts) and not (turn.end_times or turn.failure or turn.lost_at)


def _last(turn: RecordedTurn, script: CallScript) -> str | None:
    return "no token says that it is the last" if _endless(turn) else None


FRAMES = Check(
    "frames", "every frame is a JSON text that the platform takes, its fields of the right types", from_violations
)
ONE_LAST = Check(
    "one-last",
    "an answer ends with exactly one token that says it is the last",
    check_turns(_last, lambda turn: bool(turn.end_times) or _endless(turn)),
)
PARTIAL = Check(
    "partial",
    "words that may still change are not answered",
    from_violations_if(lambda tape: any(turn.step.partial for turn in tape.turns)),
)
SUPERSEDED = Check("superseded", "of two questions in a row only the newer one is answered", _newer)
ENDS_LAST = Check(
    "ends-last",
    "the call is ended after the last token, and nothing follows",
    from_violations_if(lambda tape: tape.agent_ended_call),
)
NOT_TWICE = Check(
    "not-twice",
    "a question that the platform repeats after a lost connection is answered once",
    from_violations_if(lambda tape: any(map(is_connection_dropped, tape.turns))),
)
TELNYX_CHECKS = (
    *(check for check in COMMON if check is not REFUSES),  # it proves nothing itself
    FRAMES,
    ONE_LAST,
    PARTIAL,
    SUPERSEDED,
    ENDS_LAST,
    COMES_BACK,
    NOT_TWICE,
)
CHECKS: Mapping[RelayVendor, Sequence[Check]] = {"twilio": (REFUSES, *TELNYX_CHECKS), "telnyx": TELNYX_CHECKS}
