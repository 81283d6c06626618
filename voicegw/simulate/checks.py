"""Checklists: the requirements that all platforms share, evaluated on the recording of a call. Pure.

Requirements of one platform are in `voicegw.simulate.platforms`. A check that the script did not exercise is
"not tried", which is neither a success nor a failure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from voicegw.simulate.recording import RecordedTurn, Recording
from voicegw.simulate.script import CallScript

CheckFunction: TypeAlias = Callable[[Recording, CallScript], list[str] | None]
"""Returns a sentence for each violation; [] without any; None if the script did not exercise the check."""

MARKUP = re.compile(r"\*\*|__|```|`|<think|</?[a-z]+>|\]\(|^\s{0,3}#{1,6}\s|^\s*\|.*\|", re.M)
"""Markup that a voice would read aloud."""


@dataclass(frozen=True, slots=True)
class Check:
    """One entry of a checklist."""

    item: str
    """Its name in reports and violations."""
    description: str
    """The platform's requirement, as a sentence without a full stop."""
    evaluate: CheckFunction
    """Checks the requirement."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check."""

    item: str
    """As in `Check.item`."""
    description: str
    """As in `Check.description`."""
    violations: tuple[str, ...] = ()
    """A sentence for each violation."""
    was_tried: bool = True
    """False if the script did not exercise the check."""

    @property
    def state(self) -> str:
        """One of "held", "broken" and "not tried"."""
        return "not tried" if not self.was_tried else "broken" if self.violations else "held"


def evaluate_checks(checks: Iterable[Check], recording: Recording, script: CallScript) -> list[CheckResult]:
    """Return the result of each check.

    The violations in the recording, which were found while frames were read, count for the check that they
    name.
    """
    results = []
    for check in checks:
        evaluated = check.evaluate(recording, script)
        recorded = dict.fromkeys(found for found in recording.violations if found.item == check.item)
        violations = [
            f"{found.location}: {found.reason}" if found.location else found.reason for found in recorded
        ]
        was_tried = evaluated is not None or bool(violations)
        results.append(
            CheckResult(check.item, check.description, (*(evaluated or ()), *violations), was_tried)
        )
    return results


def check_turns(
    find_flaw: Callable[[RecordedTurn, CallScript], str | None],
    applies: Callable[[RecordedTurn], bool] = lambda turn: True,
) -> CheckFunction:
    """Return a check of each turn that `applies` accepts; without such a turn it is not tried."""

    def evaluate(recording: Recording, script: CallScript) -> list[str] | None:
        turns = [(number, turn) for number, turn in recording.numbered_turns if applies(turn)]
        if not turns:
            return None
        flaws = ((number, find_flaw(turn, script)) for number, turn in turns)
        return [f"turn {number}: {flaw}" for number, flaw in flaws if flaw]

    return evaluate


def from_violations(recording: Recording, script: CallScript) -> list[str] | None:
    """Check only the violations that were found while frames were read; not tried without a frame."""
    return [] if any(kind == "<" for _, kind, _ in recording.log) else None


def from_violations_if(is_exercised: Callable[[Recording], bool]) -> CheckFunction:
    """Return a check of only the violations that were found while frames were read.

    It is not tried unless `is_exercised`.
    """
    return lambda recording, script: [] if is_exercised(recording) else None


def is_uninterrupted(turn: RecordedTurn) -> bool:
    """Does the caller wait for the end of the answer?"""
    step = turn.step
    cuts = (step.interrupt, step.next, step.hang_up)
    return turn.stopped_at is None and all(cut is None for cut in cuts)


def is_answer_expected(turn: RecordedTurn) -> bool:
    """Return whether the platform waits for the end of the answer.

    It also waits if the step would cut the answer short, but no answer arrived.
    """
    return is_uninterrupted(turn) or not (turn.is_cut_short or turn.end_times)


def has_output(turn: RecordedTurn) -> bool:
    """Did any part of an answer arrive?"""
    return bool(turn.text.strip() or turn.actions or turn.end_times)


def is_connection_dropped(turn: RecordedTurn) -> bool:
    """Does the turn's step drop the connection?"""
    return turn.step.drop is not None


def _check_connected(recording: Recording, script: CallScript) -> list[str]:
    if recording.connected_at is None:
        return [recording.failure or f"refused with status {recording.status}"]
    return []


def _check_refusal(recording: Recording, script: CallScript) -> list[str] | None:
    if recording.forged_status is None:
        return None
    is_refused = recording.forged_status in (401, 403)
    return [] if is_refused else [f"a wrong proof was answered with status {recording.forged_status}"]


def find_missing_answer(turn: RecordedTurn, script: CallScript) -> str | None:
    """Return a sentence that says what the answer lacks; None if it is complete."""
    if turn.end_times and (turn.text.strip() or turn.actions):
        return None
    if turn.end_times:
        return "the answer was empty"
    if not turn.texts:
        return f"no answer: {turn.failure}" if turn.failure else "no answer"
    return turn.failure or f"no end of the answer within {script.patience.answer:g} s"


def _check_first_words(recording: Recording, script: CallScript) -> list[str] | None:
    """Check the delay of the first words.

    Turns with pressed keys are left out: a gateway may wait for the next key. So is an interruption without
    words (`situation_checks`). A turn that was cut short in time needs no words.
    """
    limit = script.patience.first_words
    flaws: list[tuple[int, str]] = []
    for number, turn in recording.numbered_turns:
        delay = turn.first_text_delay
        has_ended = not turn.is_cut_short or any(end < (turn.stopped_at or 0.0) for end in turn.end_times)
        is_exercised = delay is not None or turn.actions or has_ended or turn.longest_silence > limit
        if turn.step.press is not None or turn.is_unprompted or not is_exercised:
            continue
        if delay is None:
            flaws.append((number, "" if turn.actions else "no words"))
        elif delay > limit:
            flaws.append((number, f"the first words came after {delay:.2f} s, not within {limit:g} s"))
        else:
            flaws.append((number, ""))
    return [f"turn {number}: {flaw}" for number, flaw in flaws if flaw] if flaws else None


def _check_silence(recording: Recording, script: CallScript) -> list[str] | None:
    limit = script.patience.silence
    turns = [
        (number, turn.longest_silence)
        for number, turn in recording.numbered_turns
        if is_answer_expected(turn)
        and not turn.is_unprompted
        and (has_output(turn) or turn.longest_silence > limit)
    ]
    flaws = [
        f"turn {number}: silent for {silence:.2f} s, more than {limit:g} s"
        for number, silence in turns
        if silence > limit
    ]
    return flaws if turns else None


def _check_malformed(recording: Recording, script: CallScript) -> list[str] | None:
    """Check that each turn after malformed frames is answered, unless the caller cuts it short."""
    asked = [number for number, _ in recording.numbered_turns]
    unasked = [number for number in recording.malformed_before if number not in asked and recording.failure]
    check = check_turns(find_missing_answer, lambda turn: turn.step.nonsense and is_answer_expected(turn))
    flaws = check(recording, script)
    ended = [f"turn {number}: the call ended before it was asked: {recording.failure}" for number in unasked]
    return [*(flaws or ()), *ended] if ended or flaws is not None else None


def _find_late_text(turn: RecordedTurn, script: CallScript) -> str | None:
    limit = script.patience.stop
    if turn.stop_delay is None or turn.stop_delay <= limit:
        return None
    return f"words still came {turn.stop_delay:.2f} s after it, later than {limit:g} s"


def _find_markup(turn: RecordedTurn, script: CallScript) -> str | None:
    found = MARKUP.search(turn.text)
    return f"{found[0].strip()!r} would be read aloud" if found else None


def _check_pongs(recording: Recording, script: CallScript) -> list[str] | None:
    if not recording.pings:
        return None
    limit = script.patience.pong
    late = sum(answered is None or answered - sent > limit for sent, answered in recording.pings)
    return [f"{late} of {len(recording.pings)} pings had no answer within {limit:g} s"] if late else []


CONNECTS = Check("connects", "the gateway accepts the call", _check_connected)
REFUSES = Check("refuses", "a caller without a valid proof is refused with 401 or 403", _check_refusal)
ANSWERS = Check(
    "answers",
    "every question gets an answer with words or an action, and an end of the answer",
    check_turns(find_missing_answer, is_answer_expected),
)
FIRST_WORDS = Check("first-words", "the first words come in time", _check_first_words)
SILENCE = Check("silence", "no silence within an answer is too long", _check_silence)
STOPS = Check(
    "stops",
    "no words come after the caller interrupts or asks something newer",
    check_turns(_find_late_text, lambda turn: turn.stopped_at is not None),
)
SPEAKABLE = Check("speakable", "no markup is spoken", check_turns(_find_markup, lambda turn: bool(turn.text)))
PONG = Check("pong", "pings are answered at once, also during an answer", _check_pongs)
NONSENSE = Check("nonsense", "malformed frames are ignored, and the call goes on", _check_malformed)
COMES_BACK = Check(
    "comes-back",
    "after a lost connection the question is answered on the new one",
    check_turns(find_missing_answer, is_connection_dropped),
)
COMMON = (CONNECTS, REFUSES, ANSWERS, FIRST_WORDS, SILENCE, STOPS, SPEAKABLE, NONSENSE)
"""The checks that all platforms with a websocket share."""
