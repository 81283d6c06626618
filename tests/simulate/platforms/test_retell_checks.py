"""What the caller of Retell finds: nothing in our gateway, and every flaw in a broken one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.simulate.bent import Bend, Frame, Out, broken, rehearse, states, through
from tests.simulate.platforms.test_retell import HELLO, retell, told
from tests.simulate.stage import Flaw, sound
from tests.support.script import Script as Agent
from tests.support.script import script as agent
from voicegw.calls.call_tools import call_tools
from voicegw.events import ToolCall

END = ToolCall("c1", "end_call", '{"reason":"done"}')
URL = "ws://gateway/retell"
ACTIONS = call_tools(("end_call",))
EVERYTHING: list[dict[str, Any]] = [
    {"say": "Hello?", "nonsense": True, "wait": 0.1},
    {"say": "Are you open?", "partial": ["Are", "Are you"], "wait": 0.5},
    {"say": "Where are you?", "interrupt": 0.3},
    {"say": "When?", "next": 0.3},
    {"say": "On Monday, I mean."},
    {"say": "Your number?", "drop": 0.35},
    {"say": "Again?", "again": 0.1},
    {"silent": True},
    {"press": "12#"},
    {"say": "Bye.", "hang_up": 0.3},
]


def open_hours() -> Agent:
    return agent(0.2, "We are open", 0.1, " from nine", 0.1, " to five.")


async def test_our_gateway_holds_everything_in_a_call_with_everything() -> None:
    script = told(*EVERYTHING)
    caller = retell(script)
    mind = open_hours()
    tape = await rehearse(caller, script, URL, mind, greeting="Good morning.")
    assert (tape.failure, tape.violations, tape.greeting) == ("", [], [(0.0, "Good morning.")])
    found = states(caller.checks, tape, script)
    assert found == {item: "not tried" if item == "actions" else "held" for item in found}
    seconds = [(turn.asked_at, turn.first_text_delay, turn.answer_delay, turn.end_times, turn.outcome) for turn in tape.turns]
    assert [tuple(map(_rounded, row)) for row in seconds] == [
        (0.1, 0.0, 0.2, [0.5], "answered"),
        (1.1, 0.0, 0.2, [1.5], "answered"),
        (1.5, 0.0, 0.2, [1.9], "stopped"),
        (2.35, 0.0, 0.2, [], "stopped"),
        (2.65, 0.0, 0.2, [3.05], "answered"),
        (3.35, 0.0, 0.2, [4.3], "answered"),
        (4.6, 0.0, 0.3, [5.1], "answered"),
        (5.4, 0.0, 0.2, [5.8], "answered"),
        (5.8, 0.0, 0.2, [], "hung up"),
    ]
    assert len(tape.pings) == 11
    assert {answered == sent for sent, answered in tape.pings} == {True}
    assert [turn.said for turn in mind.turns][2:5] == ["Where are you?", "When?", "On Monday, I mean."]
    assert [turn.kind for turn in mind.turns].count("reminder") == 1


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(value, 9) if isinstance(value, float) else value


async def test_the_agent_learns_what_was_heard_of_its_interrupted_answer() -> None:
    script = told({"say": "Where?", "interrupt": 1.2}, {"say": "When?"})
    mind = open_hours()
    tape = await rehearse(retell(script), script, URL, mind)
    assert (tape.turns[0].stopped_at, tape.turns[0].text) == (1.2, "One moment. We are open from nine to five.")
    assert (mind.turns[1].heard, [message.text for message in mind.turns[1].messages]) == (
        "We",
        ["Where?", "We", "When?"],
    )


async def test_a_call_that_the_agent_ends_holds_too() -> None:
    script = told({"say": "Bye."}, {"say": "Never asked."})
    caller = retell(script)
    tape = await rehearse(caller, script, URL, agent("Bye.", END), actions=ACTIONS)
    assert (tape.agent_ended_call, len(tape.turns), broken(caller.checks, tape, script)) == (True, 1, {})
    assert states(caller.checks, tape, script)["actions"] == "held"


async def test_a_call_that_was_answered_before_it_was_lost_is_asked_nothing_again() -> None:
    script = told({"say": "Hello?", "drop": 1.0}, {"say": "And?"})
    caller = retell(script)
    mind = open_hours()
    tape = await rehearse(caller, script, URL, mind, greeting="Good morning.")
    assert broken(caller.checks, tape, script) == {}
    assert [turn.said for turn in mind.turns] == ["Hello?", "And?"]


@dataclass(frozen=True)
class Case:
    """A gateway broken on purpose: `also` are entries that cannot but break with it."""

    item: str
    why: str
    flaw: Callable[[], Flaw] = lambda: sound
    bend: Callable[[], Bend] = lambda: through
    turns: tuple[dict[str, Any], ...] = (HELLO,)
    also: frozenset[str] = frozenset()
    mind: Callable[[], Agent] = open_hours
    url: str = URL
    patience: dict[str, float] = field(default_factory=dict)


def answer(frame: Frame) -> bool:
    """Is it part of an answer to the caller?"""
    return bool(frame["response_type"] == "response" and frame["response_id"] > 0)


def changed(when: Callable[[Frame], Any], change: Callable[[Frame], Iterable[Any]]) -> Callable[[], Flaw]:
    """Frames of that kind are changed into others."""
    return lambda: lambda frame: change(frame) if when(frame) else [frame]


def once(
    when: Callable[[Frame], Any], change: Callable[[Frame], Iterable[Any]], place: int = 0
) -> Callable[[], Flaw]:
    """The first frame of that kind, or the one at `place` among them, is changed."""

    def made() -> Flaw:
        seen: list[Frame] = []

        def flaw(frame: Frame) -> Iterable[Any]:
            seen.extend([frame] if when(frame) else [])
            return change(frame) if when(frame) and len(seen) == place + 1 else [frame]

        return flaw

    return made


def kind(name: str) -> Callable[[Frame], bool]:
    return lambda frame: bool(frame["response_type"] == name)


def complete(frame: Frame) -> bool:
    return answer(frame) and bool(frame["content_complete"])


def greeting(frame: Frame) -> bool:
    return frame["response_type"] == "response" and not frame["response_id"]


def response(id: Any, content: str = "Really.", complete: bool = False) -> Frame:
    return {"response_type": "response", "response_id": id, "content": content, "content_complete": complete}


def deaf(*kinds: str, since: int = 0) -> Callable[[], Bend]:
    """These are not taken notice of, from that number on."""
    return lambda: (
        lambda frame: (
            [] if frame["interaction_type"] in kinds and frame.get("response_id", since) >= since else [frame]
        )
    )


def dead_after_nonsense() -> Bend:
    dead = []

    def bend(frame: Frame) -> Iterable[Frame]:
        if frame["interaction_type"] == "weather":
            dead.append(frame)
        return [frame] if not dead or frame["interaction_type"] == "ping_pong" else []

    return bend


def on(name: str, *pieces: Out) -> Callable[[], Bend]:
    """This is what comes of that frame."""
    return lambda: lambda frame: pieces if frame["interaction_type"] == name else [frame]


def without(frame: Frame) -> Iterable[Frame]:
    yield {key: value for key, value in frame.items() if key != "no_interruption_allowed"}


NEXT = ({"say": "When?", "next": 0.25}, {"say": "On Monday, I mean."})
PARTIAL = (HELLO, {"say": "And on Monday?", "partial": ["And"]})
DROP = ({"say": "Hello?", "drop": 0.25},)
TWO = (HELLO, {"say": "And?"})
MUTE = frozenset({"answers", "first-words", "silence"})
CASES = [
    Case("connects", "the handshake was refused with status 403", url="ws://gateway/retell/wrong"),
    Case(
        "answers",
        "turn 1: no end of the answer within 60 s",
        changed(complete, lambda frame: [{**frame, "content_complete": False}]),
        also=frozenset({"silence"}),
    ),
    Case(
        "first-words",
        "turn 1: the first words came after 1.50 s, not within 1 s",
        once(answer, lambda frame: [1.5, frame]),
    ),
    Case(
        "silence",
        "turn 1: silent for 1.50 s, more than 1 s",
        mind=lambda: agent(1.5, "Yes."),
        patience={"silence": 1.0},
    ),
    Case(
        "speakable",
        "turn 1: '**' would be read aloud",
        changed(answer, lambda frame: [{**frame, "content": f"**{frame['content']}**"}]),
    ),
    Case(
        "nonsense",
        "turn 1: no answer",
        bend=dead_after_nonsense,
        turns=({"say": "Hello?", "nonsense": True},),
        also=MUTE,
    ),
    Case("pong", "1 of 1 pings had no answer within 0.25 s", bend=deaf("ping_pong"), turns=TWO),
    Case("config-first", "response came before config", changed(kind("config"), lambda frame: [])),
    Case(
        "config-first",
        "the begin message came after 1.50 s, not within 1 s",
        once(greeting, lambda frame: [1.5, frame]),
        turns=({"say": "Hello?", "wait": 2.0},),
    ),
    Case("config-first", "no begin message (response_id 0)", changed(greeting, lambda frame: [])),
    Case(
        "echo",
        "timestamp 2, not 1",
        changed(kind("ping_pong"), lambda frame: [{**frame, "timestamp": frame["timestamp"] + 1}]),
        turns=TWO,
    ),
    Case(
        "types",
        "response: response_id does not fit: '1'",
        once(answer, lambda frame: [response("1"), frame]),
    ),
    Case("types", "a binary frame of 2 bytes", once(answer, lambda frame: [b"{}", frame])),
    Case(
        "one-complete",
        "response_id 1 goes on after its content_complete",
        changed(complete, lambda frame: [frame, response(1)]),
    ),
    Case(
        "one-complete",
        "response_id 1 goes on after its content_complete",
        changed(complete, lambda frame: [frame, frame]),
    ),
    Case(
        "old-ids",
        "turn 1: it went on for 0.40 s after the next question, longer than 0.25 s",
        changed(complete, lambda frame: [response(1), frame]),
        turns=NEXT,
    ),
    Case(
        "old-ids",
        "response_id 7 was never asked for, the newest is 1",
        once(answer, lambda frame: [response(7), frame]),
    ),
    Case(
        "updates",
        "a response with response_id 1 came after update_only",
        bend=on("update_only", Out(response(1, "Yes.", True))),
        turns=PARTIAL,
    ),
    Case(
        "comes-back",
        "turn 1: no end of the answer within 60 s",
        bend=deaf("response_required", since=2),
        turns=DROP,
        also=frozenset({"answers", "silence"}),
    ),
    Case(
        "no-second-greeting",
        "3 characters for response_id 0 on a new connection",
        once(kind("config"), lambda frame: [frame, response(0, "Hi!", True)], place=1),
        turns=DROP,
    ),
    Case(
        "not-1000",
        "it closed with 1000, which hangs up, though the agent did not end the call",
        bend=on("ping_pong", Out(1000)),
        turns=(HELLO, {"say": "And?", "wait": 3.0}),
    ),
    Case(
        "actions",
        "end_call without no_interruption_allowed, after words",
        changed(complete, without),
        mind=lambda: agent("Bye.", END),
    ),
    Case(
        "actions",
        "end_call and digit_to_press at once",
        changed(complete, lambda frame: [{**frame, "digit_to_press": "1"}]),
        mind=lambda: agent("Bye.", END),
    ),
    Case(
        "actions",
        "digit_to_press before content_complete",
        once(answer, lambda frame: [{**frame, "digit_to_press": "1"}]),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.item)
async def test_a_flaw_breaks_its_own_entry_and_no_other(case: Case) -> None:
    script = told(*case.turns, patience=case.patience)
    caller = retell(script)
    tape = await rehearse(
        caller, script, case.url, case.mind(), bend=case.bend(), flaw=case.flaw(), actions=ACTIONS
    )
    found = broken(caller.checks, tape, script)
    assert found.keys() == {case.item} | case.also
    assert any(breach.endswith(case.why) for breach in found[case.item]), found[case.item]


def test_every_entry_has_a_flaw_that_breaks_it() -> None:
    assert {case.item for case in CASES} == {check.item for check in retell().checks}
