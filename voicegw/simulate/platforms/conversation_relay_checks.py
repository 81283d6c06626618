"""The checks of ConversationRelay besides those that all platforms share. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from voicegw.simulate.checks import (
    COMES_BACK,
    COMMON,
    REFUSES,
    Check,
    check_turns,
    from_violations,
    from_violations_if,
    is_connection_dropped,
    is_uninterrupted,
)
from voicegw.simulate.frame_schema import (
    FrameFields,
    find_mismatch,
    is_boolean,
    is_count,
    is_text,
    matches,
    optional_fields,
    required_fields,
)
from voicegw.simulate.platforms.situation_checks import ASKS_AGAIN, DEAD_AIR, LATE_INTERRUPT, TAKES_BACK
from voicegw.simulate.recording import RecordedTurn, Recording
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
"""The vendor of the ConversationRelay: they name a call and its fields differently."""
FRAMES_BY_VENDOR: Mapping[RelayVendor, Mapping[str, FrameFields]] = {
    "twilio": {**COMMON_FRAMES, "config": {}, "hints": {}},  # the fields of these two are not documented
    "telnyx": COMMON_FRAMES,
}
"""The frames that a gateway may send."""


def find_frame_flaw(frame: Mapping[str, Any], vendor: RelayVendor) -> str | None:
    """Return a sentence that says why the platform does not accept this frame; None if it does."""
    frame_type = frame.get("type")
    if frame_type == "language" and not frame.keys() & COMMON_FRAMES["language"].keys():
        return "language without a language"
    return find_mismatch(frame, frame_type, FRAMES_BY_VENDOR[vendor])


def _check_superseding(recording: Recording, script: CallScript) -> list[str] | None:
    """Check that each question that superseded another one is answered."""
    superseded = (older.step.next is not None and older.stopped_at is not None for older in recording.turns)
    pairs = zip(superseded, recording.numbered_turns[1:], strict=False)
    newer = [numbered for is_superseded, numbered in pairs if is_superseded]
    unanswered = (number for number, turn in newer if is_uninterrupted(turn) and not turn.end_times)
    return [f"turn {number}: no answer" for number in unanswered] if newer else None


def _is_endless(turn: RecordedTurn) -> bool:
    """Did text arrive, but no end of it for as long as the platform waited?"""
    has_other_cause = turn.end_times or turn.failure or turn.lost_at
    return is_uninterrupted(turn) and bool(turn.texts) and not has_other_cause


def _find_missing_last(turn: RecordedTurn, script: CallScript) -> str | None:
    return "no token has last: true" if _is_endless(turn) else None


FRAMES = Check(
    "frames",
    "every frame is JSON text that the platform accepts, with fields of the right types",
    from_violations,
)
ONE_LAST = Check(
    "one-last",
    "exactly one token of an answer has last: true, and it ends the answer",
    check_turns(_find_missing_last, lambda turn: bool(turn.end_times) or _is_endless(turn)),
)
PARTIAL = Check(
    "partial",
    "partial transcripts are not answered",
    from_violations_if(lambda recording: any(turn.step.partial for turn in recording.turns)),
)
SUPERSEDED = Check(
    "superseded", "of two questions in a row only the newer one is answered", _check_superseding
)
ENDS_LAST = Check(
    "ends-last",
    "the call is ended after the last token, and no frame follows",
    from_violations_if(lambda recording: recording.agent_ended_call),
)
NOT_TWICE = Check(
    "not-twice",
    "a question that the platform repeats after a lost connection is answered once",
    from_violations_if(lambda recording: any(map(is_connection_dropped, recording.turns))),
)
TELNYX_CHECKS = (
    *(check for check in COMMON if check is not REFUSES),  # Telnyx sends no proof
    FRAMES,
    ONE_LAST,
    PARTIAL,
    SUPERSEDED,
    ENDS_LAST,
    COMES_BACK,
    ASKS_AGAIN,
    NOT_TWICE,
    LATE_INTERRUPT,
    DEAD_AIR,
)
CHECKS: Mapping[RelayVendor, Sequence[Check]] = {
    "twilio": (REFUSES, *TELNYX_CHECKS, TAKES_BACK),  # Telnyx has no transfers
    "telnyx": TELNYX_CHECKS,
}
