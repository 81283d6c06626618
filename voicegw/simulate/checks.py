"""Checklists: what every platform needs, judged from the tape of a call. Pure.

An entry that the script gave no occasion for was not tried, which is neither good nor bad.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from voicegw.simulate.recording import Tape, Taped
from voicegw.simulate.script import Script

Judge: TypeAlias = Callable[[Tape, Script], list[str] | None]
"""What is broken, in sentences; [] if nothing is; None if there was no occasion."""

SYMBOLS = re.compile(r"\*\*|__|```|`|<think|</?[a-z]+>|\]\(|^\s{0,3}#{1,6}\s|^\s*\|.*\|", re.M)
"""Markup that a voice would read aloud."""


@dataclass(frozen=True, slots=True)
class Check:
    """One entry of a checklist. `item` is its name, `about` says what the platform needs."""

    item: str
    about: str
    judge: Judge


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an entry went: "held", "broken" (and how), or "not tried"."""

    item: str
    about: str
    breaches: tuple[str, ...] = ()
    tried: bool = True

    @property
    def state(self) -> str:
        return "not tried" if not self.tried else "broken" if self.breaches else "held"


def verdicts(checks: Iterable[Check], tape: Tape, script: Script) -> list[Verdict]:
    """Every entry's verdict. What was found wrong while reading counts for the entry that it names."""
    found = []
    for check in checks:
        judged = check.judge(tape, script)
        first = dict.fromkeys(wrong for wrong in tape.wrongs if wrong.item == check.item)
        wrong = [f"{found.where}: {found.why}" if found.where else found.why for found in first]
        tried = judged is not None or bool(wrong)
        found.append(Verdict(check.item, check.about, (*(judged or ()), *wrong), tried))
    return found


def each(
    judge: Callable[[Taped, Script], str | None], which: Callable[[Taped], bool] = lambda turn: True
) -> Judge:
    """A judge of turns: one sentence for each that is broken; no occasion if there is no such turn."""

    def judged(tape: Tape, script: Script) -> list[str] | None:
        turns = [(number, turn) for number, turn in tape.numbered if which(turn)]
        if not turns:
            return None
        said = ((number, judge(turn, script)) for number, turn in turns)
        return [f"turn {number}: {why}" for number, why in said if why]

    return judged


def reading(tape: Tape, script: Script) -> list[str] | None:
    """For entries that are judged while frames are read."""
    return [] if any(kind == "<" for _, kind, _ in tape.log) else None


def occasion(found: Callable[[Tape], bool]) -> Judge:
    """For entries that are judged while frames are read, where there is an occasion."""
    return lambda tape, script: [] if found(tape) else None


def whole(turn: Taped) -> bool:
    """Was it left to its end?"""
    step = turn.step
    cut = (step.interrupt, step.next, step.hang_up)
    return turn.stopped is None and all(way is None for way in cut)


def due(turn: Taped) -> bool:
    """Does the platform wait for its end? Also where the caller would have cut it short, but nothing came."""
    return whole(turn) or not (turn.cut or turn.ends)


def came(turn: Taped) -> bool:
    """Did anything of an answer come?"""
    return bool(turn.text.strip() or turn.acted or turn.ends)


def dropped(turn: Taped) -> bool:
    return turn.step.drop is not None


def _connected(tape: Tape, script: Script) -> list[str]:
    if tape.opened is None:
        return [tape.failure or f"refused with status {tape.status}"]
    return []


def _refuses(tape: Tape, script: Script) -> list[str] | None:
    if tape.forged is None:
        return None
    refused = tape.forged in (401, 403)
    return [] if refused else [f"a wrong proof was answered with status {tape.forged}"]


def _answered(turn: Taped, script: Script) -> str | None:
    if turn.ends and (turn.text.strip() or turn.acted):
        return None
    if turn.ends:
        return "the answer was empty"
    if not turn.words:
        return f"no answer: {turn.why}" if turn.why else "no answer"
    return turn.why or f"no end of the answer within {script.patience.answer:g} s"


def _first_words(tape: Tape, script: Script) -> list[str] | None:
    """After a key one may well wait for the next; and who was cut short in time owes no words."""
    most, found = script.patience.first_words, []
    for number, turn in tape.numbered:
        ended = not turn.cut or any(end < (turn.stopped or 0.0) for end in turn.ends)
        if turn.step.press is None and (turn.first is not None or turn.acted or ended or turn.gap > most):
            late = turn.first is not None and turn.first > most
            why = f"the first words came after {turn.first:.2f} s, not within {most:g} s" if late else ""
            why = "no words" if turn.first is None and not turn.acted else why
            found.append(f"turn {number}: {why}" if why else "")
    return [*filter(None, found)] if found else None


def _silence(tape: Tape, script: Script) -> list[str] | None:
    most = script.patience.silence
    turns = [
        (number, turn) for number, turn in tape.numbered if due(turn) and (came(turn) or turn.gap > most)
    ]
    said = [
        f"turn {number}: silent for {turn.gap:.2f} s, more than {most:g} s"
        for number, turn in turns
        if turn.gap > most
    ]
    return said if turns else None


def _nonsense(tape: Tape, script: Script) -> list[str] | None:
    """Was every turn answered, or reached its interruption, before which nonsense was sent?"""
    asked = [number for number, _ in tape.numbered]
    unasked = [number for number in tape.nonsense if number not in asked and tape.failure]
    said = each(_answered, lambda turn: turn.step.nonsense and due(turn))(tape, script)
    lost = [f"turn {number}: the call ended before it was asked: {tape.failure}" for number in unasked]
    return [*(said or ()), *lost] if lost or said is not None else None


def _stops(turn: Taped, script: Script) -> str | None:
    most = script.patience.stop
    late = turn.stop is not None and turn.stop > most
    return f"words still came {turn.stop:.2f} s after it, later than {most:g} s" if late else None


def _symbols(turn: Taped, script: Script) -> str | None:
    found = SYMBOLS.search(turn.text)
    return f"{found[0].strip()!r} would be read aloud" if found else None


def _pong(tape: Tape, script: Script) -> list[str] | None:
    if not tape.pings:
        return None
    most = script.patience.pong
    waits = [most + 1 if answered is None else answered - sent for sent, answered in tape.pings]
    slow = sum(wait > most for wait in waits)
    return [f"{slow} of {len(waits)} pings had no answer within {most:g} s"] if slow else []


CONNECTS = Check("connects", "the gateway takes the call", _connected)
REFUSES = Check("refuses", "who cannot prove to be the platform is refused with 401 or 403", _refuses)
ANSWERS = Check(
    "answers", "every question gets an answer with words or an action, and its end", each(_answered, due)
)
FIRST_WORDS = Check("first-words", "the first words come in time", _first_words)
SILENCE = Check("silence", "nobody waits in silence for too long", _silence)
STOPS = Check(
    "stops",
    "nothing is said any more once the caller interrupted or asked something newer",
    each(_stops, lambda turn: turn.stopped is not None),
)
SPEAKABLE = Check("speakable", "no markup is spoken", each(_symbols, lambda turn: bool(turn.text)))
PONG = Check("pong", "pings are answered at once, also while an answer is streaming", _pong)
NONSENSE = Check("nonsense", "what makes no sense is passed over, and the call goes on", _nonsense)
COMES_BACK = Check(
    "comes-back",
    "after a lost connection the question is answered on the new one",
    each(_answered, lambda turn: dropped(turn)),
)
COMMON = (CONNECTS, REFUSES, ANSWERS, FIRST_WORDS, SILENCE, STOPS, SPEAKABLE, NONSENSE)
"""What every platform needs."""
