"""What ElevenLabs' Speech Engine needs beyond what every platform does. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from voicegw.simulate.checks import COMES_BACK, COMMON, PONG, STOPS, Check, check_turns, from_violations_if, from_violations, is_uninterrupted
from voicegw.simulate.frame_schema import FrameFields, is_boolean, required_fields, is_integer, is_text
from voicegw.simulate.recording import Recording, RecordedTurn
from voicegw.simulate.script import CallScript

FRAME_TYPES: Mapping[str, FrameFields] = {
    "agent_response": required_fields(content=is_text, event_id=is_integer, is_final=is_boolean),
    "pong": {},
}
"""What a gateway may send."""


def _superseded(tape: Recording) -> Iterator[tuple[int, RecordedTurn, RecordedTurn]]:
    """Turns that had not ended when the next transcript came: number, turn, and the one after it."""
    for (place, turn), (_, newer) in pairwise(tape.numbered_turns):
        if not any(end <= newer.asked_at for end in turn.end_times):
            yield place, turn, newer


def _spoken(turn: RecordedTurn) -> bool:
    return is_uninterrupted(turn) and bool(turn.texts or turn.end_times)


def _final(turn: RecordedTurn, script: CallScript) -> str | None:
    return "no final message" if turn.texts and not turn.end_times else None


def _old(tape: Recording, script: CallScript) -> list[str] | None:
    """How long did words come for a transcript that was superseded? An interruption alone is no reason."""
    most, pairs = script.patience.stop, list(_superseded(tape))
    late = [(turn, max((at - newer.asked_at for at, _ in old.late_texts), default=0.0)) for turn, old, newer in pairs]
    broken = [
        f"turn {turn}: words still came {after:.2f} s after the next transcript, later than {most:g} s"
        for turn, after in late
        if after > most
    ]
    return broken if pairs else None


CHECKS = (
    *(check for check in COMMON if check is not STOPS),  # an interruption is told by the next transcript
    PONG,
    COMES_BACK,
    Check("speaks-when-asked", "nothing is said before the first transcript", from_violations),
    Check(
        "frames",
        "every frame is an agent_response to a transcript, or a pong, its fields of the right types",
        from_violations,
    ),
    Check(
        "one-final", "an answer ends with exactly one final message, which is empty", check_turns(_final, _spoken)
    ),
    Check(
        "no-final-superseded",
        "an answer that a newer transcript cut short has no final message",
        from_violations_if(lambda tape: any(_superseded(tape))),
    ),
    Check("old-events", "nothing comes with an older event_id than the newest transcript's", _old),
    Check(
        "not-twice",
        "a transcript that comes again while it is being answered is not answered twice",
        from_violations_if(lambda tape: any(turn.step.again is not None for turn in tape.turns)),
    ),
)
