"""Checklists: what holds, what is broken and why, and what there was no occasion for."""

from __future__ import annotations

from typing import Any

import pytest

from voicegw.simulate.checks import (
    ANSWERS,
    COMES_BACK,
    COMMON,
    CONNECTS,
    FIRST_WORDS,
    NONSENSE,
    PONG,
    REFUSES,
    SILENCE,
    SPEAKABLE,
    STOPS,
    Check,
    from_violations_if,
    from_violations,
    evaluate_checks,
)
from voicegw.simulate.recording import ActionSeen, Recording, RecordedTurn, Violation
from voicegw.simulate.script import CallScript, CallStep

SCRIPT = CallScript.model_validate({"turns": [{"say": "Hello?"}]})


def turn(
    text: str = "Yes.", *, first: float = 0.5, end: float | None = 1.0, say: Any = None, **more: Any
) -> RecordedTurn:
    """A turn that was asked at 0."""
    step = CallStep.model_validate({"say": "Hello?"} if say is None else say)
    words = [(first, text)] if text else []
    return RecordedTurn(step, 0.0, texts=words, end_times=[] if end is None else [end], **more)


def verdict(check: Check, tape: Recording) -> tuple[str, tuple[str, ...]]:
    [found] = evaluate_checks([check], tape, SCRIPT)
    assert (found.item, found.description) == (check.item, check.description)
    return found.state, found.violations


HELD: list[tuple[Check, Recording]] = [
    (CONNECTS, Recording(connected_at=0.0)),
    (REFUSES, Recording(forged_status=403)),
    (REFUSES, Recording(forged_status=401)),
    (ANSWERS, Recording(turns=[turn()])),
    (ANSWERS, Recording(turns=[turn("", acted=[(0.5, ActionSeen(0, "end"))])])),
    (FIRST_WORDS, Recording(turns=[turn(first=1.0)])),
    (FIRST_WORDS, Recording(turns=[turn("", acted=[(9.0, ActionSeen(0, "end"))])])),
    (SILENCE, Recording(turns=[turn(first=8.0)])),
    (STOPS, Recording(turns=[turn(stopped=2.0, late=[(2.25, "x")])])),
    (SPEAKABLE, Recording(turns=[turn("2 * 3 is 6, snake_case, 1 < 2, #1 and a | b.")])),
    (PONG, Recording(pings=[(1.0, 1.25)])),
    (NONSENSE, Recording(turns=[turn(say={"say": "a", "nonsense": True})])),
    (COMES_BACK, Recording(turns=[turn(say={"say": "a", "drop": 1}, lost=0.7)])),
]
BROKEN: list[tuple[Check, Recording, str]] = [
    (CONNECTS, Recording(status=503), "refused with status 503"),
    (CONNECTS, Recording(failure="no connection: refused"), "no connection: refused"),
    (REFUSES, Recording(forged_status=101), "a wrong proof was answered with status 101"),
    (ANSWERS, Recording(turns=[turn(), turn("", end=None)]), "turn 2: no answer"),
    (ANSWERS, Recording(turns=[turn(" ")]), "turn 1: the answer was empty"),
    (ANSWERS, Recording(turns=[turn(end=None)]), "turn 1: no end of the answer within 60 s"),
    (
        FIRST_WORDS,
        Recording(turns=[turn(first=1.25)]),
        "turn 1: the first words came after 1.25 s, not within 1 s",
    ),
    (FIRST_WORDS, Recording(turns=[turn("")]), "turn 1: no words"),
    (SILENCE, Recording(turns=[turn(first=8.5)]), "turn 1: silent for 8.50 s, more than 8 s"),
    (
        STOPS,
        Recording(turns=[turn(stopped=2.0, late=[(2.5, "x")])]),
        "turn 1: words still came 0.50 s after it, later than 0.25 s",
    ),
    (PONG, Recording(pings=[(1.0, None), (2.0, 2.5), (3.0, 3.0)]), "2 of 3 pings had no answer within 0.25 s"),
    (NONSENSE, Recording(turns=[turn("", end=None, say={"say": "a", "nonsense": True})]), "turn 1: no answer"),
    (COMES_BACK, Recording(turns=[turn("", end=None, say={"say": "a", "drop": 1})]), "turn 1: no answer"),
]
NOT_TRIED: list[tuple[Check, Recording]] = [
    (REFUSES, Recording()),
    (ANSWERS, Recording()),
    *(
        (ANSWERS, Recording(turns=[turn("", say={"say": "a", way: 1})]))
        for way in ("interrupt", "next", "hang_up")
    ),
    (ANSWERS, Recording(turns=[turn("", stopped=1.0)])),
    (FIRST_WORDS, Recording(turns=[turn(first=2.0, say={"press": "1"})])),
    (SILENCE, Recording()),
    (STOPS, Recording(turns=[turn()])),
    (SPEAKABLE, Recording(turns=[turn("")])),
    (PONG, Recording()),
    (NONSENSE, Recording(turns=[turn()])),
    (COMES_BACK, Recording(turns=[turn()])),
]


@pytest.mark.parametrize(("check", "tape"), HELD)
def test_an_entry_holds(check: Check, tape: Recording) -> None:
    assert verdict(check, tape) == ("held", ())


@pytest.mark.parametrize(("check", "tape", "why"), BROKEN)
def test_an_entry_is_broken_and_says_how(check: Check, tape: Recording, why: str) -> None:
    assert verdict(check, tape) == ("broken", (why,))


@pytest.mark.parametrize(("check", "tape"), NOT_TRIED)
def test_without_an_occasion_an_entry_is_neither(check: Check, tape: Recording) -> None:
    assert verdict(check, tape) == ("not tried", ())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**Yes**", "**"),
        ("__Yes__", "__"),
        ("`ls`", "`"),
        ("a\n# Title", "#"),
        ("[us](https://example.com)", "]("),
        ("<b>Yes</b>", "<b>"),
        ("<think>Hm", "<think"),
        ("| a | b |", "| a | b |"),
    ],
)
def test_markup_is_not_spoken(text: str, shown: str) -> None:
    assert verdict(SPEAKABLE, Recording(turns=[turn(text)])) == (
        "broken",
        (f"turn 1: {shown!r} would be read aloud",),
    )


def test_every_check_of_all_platforms_is_shown_to_hold_and_to_break() -> None:
    shown = {SPEAKABLE, *(check for check, _, _ in BROKEN)} & {check for check, _ in HELD}
    assert shown == {*COMMON, PONG, COMES_BACK}


def test_what_was_found_while_reading_breaks_its_entry_once_even_without_an_occasion() -> None:
    never = Check("frames", "", lambda tape, script: None)
    wrongs = [Violation("frames", "a"), Violation("other", "b"), Violation("frames", "c"), Violation("frames", "a")]
    assert verdict(never, Recording(violations=wrongs)) == ("broken", ("a", "c"))


def test_reading_was_tried_as_soon_as_anything_came() -> None:
    frames = Check("frames", "", from_violations)
    assert verdict(frames, Recording(log=[(0.0, ">", "x"), (0.0, "!", "x")])) == ("not tried", ())
    assert verdict(frames, Recording(log=[(0.0, "<", "x")])) == ("held", ())


def test_an_occasion_is_found_on_the_tape() -> None:
    over = Check("over", "", from_violations_if(lambda tape: tape.agent_ended_call))
    assert verdict(over, Recording()) == ("not tried", ())
    assert verdict(over, Recording(agent_ended_call=True)) == ("held", ())
