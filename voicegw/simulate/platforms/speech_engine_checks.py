"""What ElevenLabs' Speech Engine needs beyond what every platform does. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from voicegw.simulate.checks import COMES_BACK, COMMON, PONG, STOPS, Check, each, occasion, reading, whole
from voicegw.simulate.frame_schema import Fields, flag, needs, number, text
from voicegw.simulate.recording import Tape, Taped
from voicegw.simulate.script import Script

KINDS: Mapping[str, Fields] = {
    "agent_response": needs(content=text, event_id=number, is_final=flag),
    "pong": {},
}
"""What a gateway may send."""


def _superseded(tape: Tape) -> Iterator[tuple[int, Taped, Taped]]:
    """Turns that had not ended when the next transcript came: number, turn, and the one after it."""
    for (place, turn), (_, newer) in pairwise(tape.numbered):
        if not any(end <= newer.asked for end in turn.ends):
            yield place, turn, newer


def _spoken(turn: Taped) -> bool:
    return whole(turn) and bool(turn.words or turn.ends)


def _final(turn: Taped, script: Script) -> str | None:
    return "no final message" if turn.words and not turn.ends else None


def _old(tape: Tape, script: Script) -> list[str] | None:
    """How long did words come for a transcript that was superseded? An interruption alone is no reason."""
    most, pairs = script.patience.stop, list(_superseded(tape))
    late = [(turn, max((at - newer.asked for at, _ in old.late), default=0.0)) for turn, old, newer in pairs]
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
    Check("speaks-when-asked", "nothing is said before the first transcript", reading),
    Check(
        "frames",
        "every frame is an agent_response to a transcript, or a pong, its fields of the right types",
        reading,
    ),
    Check(
        "one-final", "an answer ends with exactly one final message, which is empty", each(_final, _spoken)
    ),
    Check(
        "no-final-superseded",
        "an answer that a newer transcript cut short has no final message",
        occasion(lambda tape: any(_superseded(tape))),
    ),
    Check("old-events", "nothing comes with an older event_id than the newest transcript's", _old),
    Check(
        "not-twice",
        "a transcript that comes again while it is being answered is not answered twice",
        occasion(lambda tape: any(turn.step.again is not None for turn in tape.turns)),
    ),
)
