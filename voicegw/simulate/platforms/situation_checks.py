"""Checks of situations in real calls, for the platforms whose wire has them. Pure.

A cough interrupts without words, an interruption is reported late, a question is lost with its connection,
and a transfer is refused.
"""

from __future__ import annotations

from voicegw.simulate.checks import Check, check_turns, find_missing_answer
from voicegw.simulate.recording import RecordedTurn, Recording
from voicegw.simulate.script import CallScript


def _find_lost_words(turn: RecordedTurn, script: CallScript) -> str | None:
    reported_at = turn.late_interrupt_at or 0.0
    has_words = any(at > reported_at for at, _ in turn.nonblank_texts)
    return None if has_words else "no words came after the report"


def _find_dead_air(turn: RecordedTurn, script: CallScript) -> str | None:
    delay, limit = turn.first_text_delay, script.patience.dead_air
    if delay is not None and delay <= limit:
        return None
    return "the agent said nothing" if delay is None else f"silent for {delay:.2f} s, more than {limit:g} s"


def _check_refusals(recording: Recording, script: CallScript) -> list[str] | None:
    """Check the answers after refused transfers: a transfer that is executed ends the call."""
    flaws = []
    for number, turn in recording.numbered_turns:
        if turn.step.refused is not None and not turn.takes_back:
            flaws.append(f"turn {number}: the agent did not say {turn.step.refused!r}")
        elif turn.step.refused is not None and turn is recording.turns[-1] and recording.agent_ended_call:
            flaws.append(f"turn {number}: the call was ended or transferred")
    return flaws if any(turn.step.refused is not None for turn in recording.turns) else None


LATE_INTERRUPT = Check(
    "late-interrupt",
    "a report that an older answer was interrupted does not stop the newer one",
    check_turns(_find_lost_words, lambda turn: turn.late_interrupt_at is not None),
)
DEAD_AIR = Check(
    "dead-air",
    "after an interruption without words the agent speaks again",
    check_turns(_find_dead_air, lambda turn: turn.is_unprompted),
)
ASKS_AGAIN = Check(
    "asks-again",
    "after a lost connection a question that the platform does not repeat is answered, too",
    check_turns(find_missing_answer, lambda turn: not turn.step.resend),
)
TAKES_BACK = Check(
    "takes-back", "after a refused transfer the agent takes its promise back, and goes on", _check_refusals
)
