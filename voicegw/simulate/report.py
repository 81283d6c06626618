"""The report of a simulation: a waterfall for people, and the same as JSON (docs/simulate.md). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from voicegw.simulate.checks import CheckResult
from voicegw.simulate.recording import RecordedTurn, Recording
from voicegw.simulate.script import CallStep

MAX_BAR_WIDTH = 40
"""Characters of the longest bar."""
STATE_LABELS = {"held": "ok", "broken": "BROKEN", "not tried": "not tried"}
MAX_LOG_ENTRIES = 8
"""Entries of the log that a report shows, newest last, if a check failed."""
LOG_KINDS = {">": "sent", "<": "received", "!": "happened"}
MAX_TEXT_CHARS = 60
"""Characters of a text that a report shows."""


def as_json(
    platform: str, address: str, recording: Recording, results: Sequence[CheckResult]
) -> dict[str, Any]:
    """Return the whole report as one JSON object. Times are in milliseconds."""
    log = [] if has_passed(recording, results) else recording.log[-MAX_LOG_ENTRIES:]
    return {
        "platform": platform,
        "url": address,
        "good": has_passed(recording, results),
        "failure": recording.failure or None,
        "status": recording.status,
        "body": recording.refusal_body or None,
        "closed": None if recording.gateway_close is None else recording.gateway_close[1],
        "turns": [_turn_as_json(number, turn) for number, turn in recording.numbered_turns],
        "left_out": [
            {"turn": number, "said": _describe_step(step)} for number, step in recording.skipped_steps
        ],
        "checks": [
            {
                "item": result.item,
                "about": result.description,
                "state": result.state,
                "breaches": list(result.violations),
            }
            for result in results
        ],
        "log": [{"at_ms": _to_ms(at), "kind": LOG_KINDS[kind], "text": text} for at, kind, text in log],
    }


def has_passed(recording: Recording, results: Sequence[CheckResult]) -> bool:
    """Did the simulation come to its end, without a broken check?"""
    return not recording.failure and all(result.state != "broken" for result in results)


def as_text(platform: str, address: str, recording: Recording, results: Sequence[CheckResult]) -> str:
    """Return the waterfall of each turn, then the checklist with the broken checks last."""
    duration = max((end for turn in recording.turns for _, _, end, _ in _bars(turn)), default=1.0)
    lines = [f"{platform} calls {address}", ""]
    paragraphs = {number: _format_turn(number, turn, duration) for number, turn in recording.numbered_turns}
    paragraphs |= {
        number: [f"{number:>3}  {_shorten(_describe_step(step))}  [left out]", ""]
        for number, step in recording.skipped_steps
    }
    for number in sorted(paragraphs):
        lines += paragraphs[number]
    lines += _format_checklist(results)
    if recording.failure:
        lines += ["", f"The simulation stopped early: {recording.failure}."]
        lines += [*_explain_refusal(recording), *_format_log(recording)]
    return "\n".join(_to_printable(line) for line in lines)


def _turn_as_json(number: int, turn: RecordedTurn) -> dict[str, Any]:
    return {
        "turn": number,
        "said": _describe_step(turn.step),
        "outcome": turn.outcome,
        "first_ms": _to_ms(turn.first_text_delay),
        "ack_ms": _to_ms(turn.ack_delay),
        "answer_ms": _to_ms(turn.answer_delay),
        "gap_ms": _to_ms(turn.longest_silence),
        "end_ms": _to_ms(turn.end_times[0] - turn.asked_at if turn.end_times else None),
        "stop_ms": _to_ms(turn.stop_delay),
        "words": turn.text,
        "actions": [{"name": action.name, "arguments": action.arguments} for _, action in turn.actions],
    }


def _to_ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _describe_step(step: CallStep) -> str:
    if step.press is not None:
        return f"(presses {step.press})"
    return "(says nothing)" if step.say is None else step.say


def _bars(turn: RecordedTurn) -> Iterator[tuple[str, float, float, str]]:
    """Yield the name, begin, end and text of each bar; times are in seconds since the question."""
    if turn.ack_delay is not None:
        yield "ack", 0.0, turn.ack_delay, turn.nonblank_texts[0][1]
    if turn.answer_delay is not None:
        text = "".join(text for _, text in turn.answer_texts)
        yield "answer", turn.ack_delay or 0.0, turn.answer_delay, text
    if turn.end_times:
        yield "end", turn.answer_delay or 0.0, turn.end_times[0] - turn.asked_at, ""
    if turn.stopped_at is not None:
        begin = turn.stopped_at - turn.asked_at
        if turn.stop_delay is None:
            text = "the platform stops by itself"
        else:
            text = f"last word after {_to_ms(turn.stop_delay):g} ms"
        yield "stop", begin, begin + (turn.stop_delay or 0.0), text


def _format_turn(number: int, turn: RecordedTurn, duration: float) -> list[str]:
    heading = f"{number:>3}  {_shorten(_describe_step(turn.step))}"
    lines = [f"{heading}  [{turn.outcome}, longest silence {_to_ms(turn.longest_silence):g} ms]"]
    for name, begin, end, text in _bars(turn):
        bar = _draw_bar(begin, end, duration)
        lines.append(f"     {name:<7}{_to_ms(end):>9.1f} ms |{bar}| {_shorten(text)}".rstrip())
    lines += [
        f"     {'action':<7}{_to_ms(at - turn.asked_at):>9.1f} ms  {action.name}"
        for at, action in turn.actions
    ]
    return [*lines, ""]


def _draw_bar(begin: float, end: float, duration: float) -> str:
    start = round(MAX_BAR_WIDTH * begin / duration) if duration else 0
    stop = max(start + 1, round(MAX_BAR_WIDTH * end / duration)) if duration else 1
    bar = f"{' ' * min(start, MAX_BAR_WIDTH - 1)}{'#' * (stop - start)}"
    return bar[:MAX_BAR_WIDTH].ljust(MAX_BAR_WIDTH)


def _format_checklist(results: Sequence[CheckResult]) -> list[str]:
    lines = []
    for state in ("held", "not tried", "broken"):
        for result in results:
            if result.state == state:
                lines.append(f"{STATE_LABELS[state]:>9}  {result.item}: {result.description}")
                lines += [f"           - {violation}" for violation in result.violations]
    return lines


def _explain_refusal(recording: Recording) -> list[str]:
    """Return the beginning of the refusal's body, and a hint."""
    body = recording.refusal_body
    lines = [f"The gateway answered: {_shorten(body)}"] if body.strip() else []
    if recording.status == 401:
        lines.append(
            "The gateway may require a key: --key-env VARIABLE names the environment variable that holds it."
        )
    return lines


def _format_log(recording: Recording) -> list[str]:
    if not recording.log:
        return []
    return [
        "The last entries of the log (> sent, < received, ! happened):",
        *(f"  {at:8.3f} {kind} {text}" for at, kind, text in recording.log[-MAX_LOG_ENTRIES:]),
    ]


def _to_printable(text: str) -> str:
    """Replace control characters, so that text from a gateway cannot control the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def _shorten(text: str) -> str:
    text = " ".join(_to_printable(text).split())
    return text if len(text) <= MAX_TEXT_CHARS else f"{text[: MAX_TEXT_CHARS - 1]}…"
