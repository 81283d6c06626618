"""What a rehearsal found: a waterfall for people, and the same as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from voicegw.simulate.checks import Verdict
from voicegw.simulate.recording import Tape, Taped
from voicegw.simulate.script import Step

WIDTH = 40
"""Characters of the longest bar."""
SIGNS = {"held": "ok", "broken": "BROKEN", "not tried": "not tried"}
LAST = 8
"""Entries of the log that are shown where something is wrong."""
KINDS = {">": "sent", "<": "received", "!": "happened"}
SHOWN = 60
"""Characters of what was said that are shown."""


def as_json(platform: str, address: str, tape: Tape, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Everything as one JSON object. Times are in milliseconds."""
    return {
        "platform": platform,
        "url": address,
        "good": good(tape, verdicts),
        "failure": tape.failure or None,
        "status": tape.status,
        "body": tape.body or None,
        "closed": None if tape.closed is None else tape.closed[1],
        "turns": [_turn(number, turn) for number, turn in tape.numbered],
        "left_out": [{"turn": number, "said": _said(step)} for number, step in tape.skipped],
        "checks": [
            {"item": found.item, "about": found.about, "state": found.state, "breaches": list(found.breaches)}
            for found in verdicts
        ],
        "log": [
            {"at_ms": _ms(at), "kind": KINDS[kind], "text": text}
            for at, kind, text in ([] if good(tape, verdicts) else tape.log[-LAST:])
        ],
    }


def good(tape: Tape, verdicts: Sequence[Verdict]) -> bool:
    """Did the rehearsal come to its end, with nothing broken?"""
    return not tape.failure and all(found.state != "broken" for found in verdicts)


def as_text(platform: str, address: str, tape: Tape, verdicts: Sequence[Verdict]) -> str:
    """The waterfall of every turn, then the checklist; what broke first is told last."""
    longest = max((end for turn in tape.turns for _, _, end, _ in _rows(turn)), default=1.0)
    lines = [f"{platform} calls {address}", ""]
    shown = {number: _waterfall(number, turn, longest) for number, turn in tape.numbered}
    shown |= {
        number: [f"{number:>3}  {_short(_said(step))}  [left out]", ""] for number, step in tape.skipped
    }
    for number in sorted(shown):
        lines += shown[number]
    lines += _checklist(verdicts)
    if tape.failure:
        lines += ["", f"The call could not go on: {tape.failure}.", *_refusal(tape), *_last(tape)]
    return "\n".join(_printable(line) for line in lines)


def _turn(number: int, turn: Taped) -> dict[str, Any]:
    return {
        "turn": number,
        "said": _said(turn.step),
        "outcome": turn.outcome,
        "first_ms": _ms(turn.first),
        "ack_ms": _ms(turn.ack),
        "answer_ms": _ms(turn.answer),
        "gap_ms": _ms(turn.gap),
        "end_ms": _ms(turn.ends[0] - turn.asked if turn.ends else None),
        "stop_ms": _ms(turn.stop),
        "words": turn.text,
        "actions": [{"name": acted.name, "arguments": acted.arguments} for _, acted in turn.acted],
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _said(step: Step) -> str:
    if step.press is not None:
        return f"(presses {step.press})"
    return "(says nothing)" if step.say is None else step.say


def _rows(turn: Taped) -> Iterator[tuple[str, float, float, str]]:
    """Name, begin and end in seconds since the question, and what was said: one row for each bar."""
    if turn.ack is not None:
        yield "ack", 0.0, turn.ack, turn.spoken[0][1]
    if turn.answer is not None:
        yield "answer", turn.ack or 0.0, turn.answer, "".join(text for _, text in turn.own)
    if turn.ends:
        yield "end", turn.answer or 0.0, turn.ends[0] - turn.asked, ""
    if turn.stopped is not None:
        stopped = turn.stopped - turn.asked
        late = (
            "the platform stops by itself" if turn.stop is None else f"last word after {_ms(turn.stop):g} ms"
        )
        yield "stop", stopped, stopped + (turn.stop or 0.0), late


def _waterfall(number: int, turn: Taped, longest: float) -> list[str]:
    heading = f"{number:>3}  {_short(_said(turn.step))}"
    lines = [f"{heading}  [{turn.outcome}, longest silence {_ms(turn.gap):g} ms]"]
    for name, begin, end, text in _rows(turn):
        lines.append(
            f"     {name:<7}{_ms(end):>9.1f} ms |{_bar(begin, end, longest)}| {_short(text)}".rstrip()
        )
    lines += [f"     {'action':<7}{_ms(at - turn.asked):>9.1f} ms  {acted.name}" for at, acted in turn.acted]
    return [*lines, ""]


def _bar(begin: float, end: float, longest: float) -> str:
    before = round(WIDTH * begin / longest) if longest else 0
    upto = max(before + 1, round(WIDTH * end / longest)) if longest else 1
    return f"{' ' * min(before, WIDTH - 1)}{'#' * (upto - before)}"[:WIDTH].ljust(WIDTH)


def _checklist(verdicts: Sequence[Verdict]) -> list[str]:
    lines = []
    for state in ("held", "not tried", "broken"):
        for found in verdicts:
            if found.state == state:
                lines.append(f"{SIGNS[state]:>9}  {found.item}: {found.about}")
                lines += [f"           - {breach}" for breach in found.breaches]
    return lines


def _refusal(tape: Tape) -> list[str]:
    """What came with a refusal, and what may help."""
    body = [f"It said: {_short(tape.body)}"] if tape.body.strip() else []
    hint = ["Does it want a key? --key-env VARIABLE names the environment variable that holds it."]
    return [*body, *(hint if tape.status == 401 else [])]


def _last(tape: Tape) -> list[str]:
    """The last things that went over the wire, so that one sees what came."""
    if not tape.log:
        return []
    return [
        "The last that went over the wire:",
        *(f"  {at:8.3f} {kind} {text}" for at, kind, text in tape.log[-LAST:]),
    ]


def _printable(text: str) -> str:
    """Nothing that a gateway sent may command the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def _short(text: str) -> str:
    text = " ".join(_printable(text).split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
