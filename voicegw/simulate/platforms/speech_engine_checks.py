"""The checks of ElevenLabs' Speech Engine besides those that all platforms share. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from voicegw.simulate.checks import (
    COMES_BACK,
    COMMON,
    PONG,
    STOPS,
    Check,
    check_turns,
    from_violations,
    from_violations_if,
    is_uninterrupted,
)
from voicegw.simulate.frame_schema import FrameFields, is_boolean, is_integer, is_text, required_fields
from voicegw.simulate.recording import RecordedTurn, Recording
from voicegw.simulate.script import CallScript

FRAME_TYPES: Mapping[str, FrameFields] = {
    "agent_response": required_fields(content=is_text, event_id=is_integer, is_final=is_boolean),
    "pong": {},
}
"""The frames that a gateway may send."""


def _superseded_turns(recording: Recording) -> Iterator[tuple[int, RecordedTurn, RecordedTurn]]:
    """Yield each turn that had no end at the next transcript: its number, the turn, and the next turn."""
    for (number, turn), (_, newer) in pairwise(recording.numbered_turns):
        if not any(end <= newer.asked_at for end in turn.end_times):
            yield number, turn, newer


def _has_uninterrupted_answer(turn: RecordedTurn) -> bool:
    return is_uninterrupted(turn) and bool(turn.texts or turn.end_times)


def _find_missing_final(turn: RecordedTurn, script: CallScript) -> str | None:
    return "no final message" if turn.texts and not turn.end_times else None


def _check_old_events(recording: Recording, script: CallScript) -> list[str] | None:
    """Check how long text arrives for a superseded transcript. An interruption alone supersedes none."""
    limit, superseded = script.patience.stop, list(_superseded_turns(recording))
    delays = [
        (number, max((at - newer.asked_at for at, _ in turn.late_texts), default=0.0))
        for number, turn, newer in superseded
    ]
    flaws = [
        f"turn {number}: words still came {delay:.2f} s after the next transcript, later than {limit:g} s"
        for number, delay in delays
        if delay > limit
    ]
    return flaws if superseded else None


CHECKS = (
    # The gateway learns of an interruption only from the next transcript.
    *(check for check in COMMON if check is not STOPS),
    PONG,
    COMES_BACK,
    Check("speaks-when-asked", "the agent does not speak before the first transcript", from_violations),
    Check(
        "frames",
        "every frame is an agent_response to a transcript, or a pong, with fields of the right types",
        from_violations,
    ),
    Check(
        "one-final",
        "an answer ends with exactly one final message, which is empty",
        check_turns(_find_missing_final, _has_uninterrupted_answer),
    ),
    Check(
        "no-final-superseded",
        "an answer that a newer transcript cut short has no final message",
        from_violations_if(lambda recording: any(_superseded_turns(recording))),
    ),
    Check("old-events", "only the newest event_id is answered", _check_old_events),
    Check(
        "not-twice",
        "a transcript that is repeated during its answer is not answered twice",
        from_violations_if(lambda recording: any(turn.step.again is not None for turn in recording.turns)),
    ),
)
