"""The shared checks: held, broken with a reason, and not tried."""

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
    evaluate_checks,
    from_violations,
    from_violations_if,
)
from voicegw.simulate.recording import ActionSeen, RecordedTurn, Recording, Violation
from voicegw.simulate.script import CallScript, CallStep

SCRIPT = CallScript.model_validate({"turns": [{"say": "Hello?"}]})


def make_turn(
    text: str = "Yes.", *, first: float = 0.5, end: float | None = 1.0, say: Any = None, **more: Any
) -> RecordedTurn:
    """Return a turn that was asked at 0 s."""
    step = CallStep.model_validate({"say": "Hello?"} if say is None else say)
    words = [(first, text)] if text else []
    return RecordedTurn(step, 0.0, texts=words, end_times=[] if end is None else [end], **more)


def evaluate(check: Check, recording: Recording) -> tuple[str, tuple[str, ...]]:
    [found] = evaluate_checks([check], recording, SCRIPT)
    assert (found.item, found.description) == (check.item, check.description)
    return found.state, found.violations


HELD: list[tuple[Check, Recording]] = [
    (CONNECTS, Recording(connected_at=0.0)),
    (REFUSES, Recording(forged_status=403)),
    (REFUSES, Recording(forged_status=401)),
    (ANSWERS, Recording(turns=[make_turn()])),
    (ANSWERS, Recording(turns=[make_turn("", actions=[(0.5, ActionSeen(0, "end"))])])),
    (FIRST_WORDS, Recording(turns=[make_turn(first=1.0)])),
    (FIRST_WORDS, Recording(turns=[make_turn("", actions=[(9.0, ActionSeen(0, "end"))])])),
    (SILENCE, Recording(turns=[make_turn(first=8.0)])),
    (STOPS, Recording(turns=[make_turn(stopped_at=2.0, late_texts=[(2.25, "x")])])),
    (SPEAKABLE, Recording(turns=[make_turn("2 * 3 is 6, snake_case, 1 < 2, #1 and a | b.")])),
    (PONG, Recording(pings=[(1.0, 1.25)])),
    (NONSENSE, Recording(turns=[make_turn(say={"say": "a", "nonsense": True})])),
    (COMES_BACK, Recording(turns=[make_turn(say={"say": "a", "drop": 1}, lost_at=0.7)])),
]
BROKEN: list[tuple[Check, Recording, str]] = [
    (CONNECTS, Recording(status=503), "refused with status 503"),
    (CONNECTS, Recording(failure="no connection: refused"), "no connection: refused"),
    (REFUSES, Recording(forged_status=101), "a wrong proof was answered with status 101"),
    (ANSWERS, Recording(turns=[make_turn(), make_turn("", end=None)]), "turn 2: no answer"),
    (ANSWERS, Recording(turns=[make_turn(" ")]), "turn 1: the answer was empty"),
    (ANSWERS, Recording(turns=[make_turn(end=None)]), "turn 1: no end of the answer within 60 s"),
    (
        FIRST_WORDS,
        Recording(turns=[make_turn(first=1.25)]),
        "turn 1: the first words came after 1.25 s, not within 1 s",
    ),
    (FIRST_WORDS, Recording(turns=[make_turn("")]), "turn 1: no words"),
    (SILENCE, Recording(turns=[make_turn(first=8.5)]), "turn 1: silent for 8.50 s, more than 8 s"),
    (
        STOPS,
        Recording(turns=[make_turn(stopped_at=2.0, late_texts=[(2.5, "x")])]),
        "turn 1: words still came 0.50 s after it, later than 0.25 s",
    ),
    (
        PONG,
        Recording(pings=[(1.0, None), (2.0, 2.5), (3.0, 3.0)]),
        "2 of 3 pings had no answer within 0.25 s",
    ),
    (
        NONSENSE,
        Recording(turns=[make_turn("", end=None, say={"say": "a", "nonsense": True})]),
        "turn 1: no answer",
    ),
    (
        COMES_BACK,
        Recording(turns=[make_turn("", end=None, say={"say": "a", "drop": 1})]),
        "turn 1: no answer",
    ),
]
NOT_TRIED: list[tuple[Check, Recording]] = [
    (REFUSES, Recording()),
    (ANSWERS, Recording()),
    *(
        (ANSWERS, Recording(turns=[make_turn("", say={"say": "a", way: 1})]))
        for way in ("interrupt", "next", "hang_up")
    ),
    (ANSWERS, Recording(turns=[make_turn("", stopped_at=1.0)])),
    (FIRST_WORDS, Recording(turns=[make_turn(first=2.0, say={"press": "1"})])),
    (SILENCE, Recording()),
    (STOPS, Recording(turns=[make_turn()])),
    (SPEAKABLE, Recording(turns=[make_turn("")])),
    (PONG, Recording()),
    (NONSENSE, Recording(turns=[make_turn()])),
    (COMES_BACK, Recording(turns=[make_turn()])),
]


@pytest.mark.parametrize(("check", "recording"), HELD)
def test_check_holds(check: Check, recording: Recording) -> None:
    assert evaluate(check, recording) == ("held", ())


@pytest.mark.parametrize(("check", "recording", "reason"), BROKEN)
def test_broken_check_has_its_violation(check: Check, recording: Recording, reason: str) -> None:
    assert evaluate(check, recording) == ("broken", (reason,))


@pytest.mark.parametrize(("check", "recording"), NOT_TRIED)
def test_check_that_is_not_exercised_is_not_tried(check: Check, recording: Recording) -> None:
    assert evaluate(check, recording) == ("not tried", ())


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
def test_markup_breaks_the_speakable_check(text: str, shown: str) -> None:
    assert evaluate(SPEAKABLE, Recording(turns=[make_turn(text)])) == (
        "broken",
        (f"turn 1: {shown!r} would be read aloud",),
    )


def test_every_shared_check_has_a_held_and_a_broken_case() -> None:
    shown = {SPEAKABLE, *(check for check, _, _ in BROKEN)} & {check for check, _ in HELD}
    assert shown == {*COMMON, PONG, COMES_BACK}


def test_recorded_violations_break_their_check_once_even_if_it_is_not_exercised() -> None:
    never = Check("frames", "", lambda recording, script: None)
    wrongs = [
        Violation("frames", "a"),
        Violation("other", "b"),
        Violation("frames", "c"),
        Violation("frames", "a"),
    ]
    assert evaluate(never, Recording(violations=wrongs)) == ("broken", ("a", "c"))


def test_check_of_violations_is_tried_after_the_first_received_frame() -> None:
    frames = Check("frames", "", from_violations)
    assert evaluate(frames, Recording(log=[(0.0, ">", "x"), (0.0, "!", "x")])) == ("not tried", ())
    assert evaluate(frames, Recording(log=[(0.0, "<", "x")])) == ("held", ())


def test_check_of_violations_is_tried_if_its_condition_holds() -> None:
    over = Check("over", "", from_violations_if(lambda recording: recording.agent_ended_call))
    assert evaluate(over, Recording()) == ("not tried", ())
    assert evaluate(over, Recording(agent_ended_call=True)) == ("held", ())
