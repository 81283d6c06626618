"""What the caller of ConversationRelay finds: nothing in our gateway, and every flaw in a broken one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.app.test_platforms import SECRET, TOKEN, gateway
from tests.simulate.bent import Bend, Frame, Out, broken, rehearse, states, through
from tests.simulate.platforms.test_conversation_relay import HELLO, URL, relay, told
from tests.simulate.stage import Flaw, sound, stage
from tests.support.script import Script as Agent
from tests.support.script import script as agent
from voicegw.calls.call_tools import call_tools
from voicegw.events import ToolCall
from voicegw.simulate.call_runner import CallRunner

END = ToolCall("c1", "end_call", '{"reason":"done"}')
ACTIONS = call_tools(("end_call",))
EVERYTHING: list[dict[str, Any]] = [
    {"say": "Hello?", "nonsense": True},
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
    caller = relay(script)
    mind = open_hours()
    tape = await rehearse(caller, script, "ws://gateway/twilio/relay", mind)
    assert (tape.failure, tape.violations) == ("", [])
    found = states(caller.checks, tape, script)
    untried = {"refuses", "ends-last"}
    assert found == {item: "not tried" if item in untried else "held" for item in found}
    seconds = [(turn.asked_at, turn.first_text_delay, turn.answer_delay, turn.end_times, turn.outcome) for turn in tape.turns]
    assert [tuple(map(_rounded, row)) for row in seconds] == [
        (0.3, 0.0, 0.2, [0.7], "answered"),
        (1.3, 0.0, 0.2, [1.7], "answered"),
        (1.7, 0.0, 0.2, [2.0], "stopped"),
        (2.55, 0.0, 0.2, [], "stopped"),
        (2.85, 0.0, 0.2, [3.25], "answered"),
        (3.55, 0.0, 0.2, [4.5], "answered"),
        (4.8, 0.0, 0.2, [5.2], "answered"),
        (5.5, 0.0, 0.2, [5.9], "answered"),
        (5.9, 0.0, 0.2, [], "hung up"),
    ]
    assert [turn.said for turn in mind.turns] == [
        *("Hello?", "Are you open?", "Where are you?", "When?", "On Monday, I mean."),
        *("Your number?", "Your number?", "Again?", "(The caller pressed 12# on the keypad.)", "Bye."),
    ]


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(value, 9) if isinstance(value, float) else value


async def test_the_agent_learns_what_was_heard_of_its_interrupted_answer() -> None:
    script = told({"say": "Where?", "interrupt": 1.2}, {"say": "When?"})
    mind = open_hours()
    await rehearse(relay(script), script, "ws://gateway/twilio/relay", mind)
    assert (mind.turns[1].heard, [message.text for message in mind.turns[1].messages]) == (
        "We",
        ["Where?", "We", "When?"],
    )


async def test_a_call_that_the_agent_ends_holds_too() -> None:
    script = told({"say": "Bye."}, {"say": "Never asked."})
    caller = relay(script)
    tape = await rehearse(caller, script, "ws://gateway/twilio/relay", agent("Bye.", END), actions=ACTIONS)
    assert (tape.agent_ended_call, len(tape.turns), broken(caller.checks, tape, script)) == (True, 1, {})
    assert states(caller.checks, tape, script)["ends-last"] == "held"
    assert [act.name for _, act in tape.turns[0].actions] == ["end"]


async def test_the_whole_gateway_takes_a_signed_call_with_a_ticket_and_refuses_a_forged_one(
    tmp_path: Path,
) -> None:
    script = told()
    caller = relay(script, secret=TOKEN, now=time.time())
    app = gateway(tmp_path, agent("Guten Tag."))
    tape = await CallRunner(caller, script, URL, stage(app), try_forged=True).run()
    assert (tape.forged_status, tape.status, tape.failure) == (403, 101, "")
    assert broken(caller.checks, tape, script) == {}
    assert tape.turns[0].text == "Guten Tag."
    shown = "\n".join(text for _, _, text in tape.log)
    assert TOKEN not in shown
    assert caller.build_headers(URL)["X-Twilio-Signature"] not in shown


async def test_the_whole_gateway_holds_a_call_of_telnyx_s_with_everything(tmp_path: Path) -> None:
    script = told(*EVERYTHING)
    caller = relay(script, flavour="telnyx")
    app = gateway(tmp_path, open_hours())
    tape = await CallRunner(caller, script, f"wss://voice.example.com/telnyx/{SECRET}/relay", stage(app)).run()
    assert (tape.failure, tape.violations) == ("", [])
    found = states(caller.checks, tape, script)
    assert found == {item: "not tried" if item == "ends-last" else "held" for item in found}


# Flaws


@dataclass(frozen=True)
class Case:
    """A gateway broken on purpose: `also` are entries that cannot but break with it."""

    item: str
    flaw: Callable[[], Flaw] = lambda: sound
    bend: Callable[[], Bend] = lambda: through
    turns: tuple[dict[str, Any], ...] = (HELLO,)
    also: frozenset[str] = frozenset()
    mind: Callable[[], Agent] = open_hours
    url: str = "ws://gateway/twilio/relay"
    secret: str = ""
    why: str = ""


def then(*pieces: Any) -> Callable[[], Flaw]:
    """These follow the last token of an answer."""

    def flaw(frame: Frame) -> Iterable[Any]:
        yield frame
        if frame.get("last"):
            yield from pieces

    return lambda: flaw


def never_last() -> Flaw:
    def flaw(frame: Frame) -> Iterable[Frame]:
        yield {**frame, "last": False}

    return flaw


def late(seconds: float, place: int) -> Callable[[], Flaw]:
    """The frame at this place comes so much later."""

    def made() -> Flaw:
        seen = iter(range(1000))

        def flaw(frame: Frame) -> Iterable[Frame | float]:
            if next(seen) == place:
                yield seconds
            yield frame

        return flaw

    return made


def marked(frame: Frame) -> Iterable[Frame]:
    yield {**frame, "token": f"**{frame['token']}**"}


def deaf(*kinds: str) -> Callable[[], Bend]:
    """These are not taken notice of."""
    return lambda: lambda frame: [] if frame["type"] in kinds else [frame]


def dead_after_nonsense() -> Bend:
    dead = []

    def bend(frame: Frame) -> Iterable[Frame]:
        if frame["type"] == "weather":
            dead.append(frame)
        return [] if dead else [frame]

    return bend


def eager() -> Bend:
    """Whatever may still change is answered already."""

    def bend(frame: Frame) -> Iterable[Frame | Out]:
        if frame["type"] == "prompt" and not frame["last"]:
            yield Out({"type": "text", "token": "Yes.", "last": True})
        else:
            yield frame

    return bend


def first_only() -> Bend:
    """Questions after the first are not answered."""
    prompts = []

    def bend(frame: Frame) -> Iterable[Frame]:
        if frame["type"] == "prompt":
            prompts.append(frame)
        return [] if len(prompts) > 1 else [frame]

    return bend


def deaf_when_back() -> Bend:
    setups = []

    def bend(frame: Frame) -> Iterable[Frame]:
        setups.extend([frame] if frame["type"] == "setup" else [])
        return [] if len(setups) > 1 else [frame]

    return bend


def before_the_end(frame: Frame) -> Iterable[Frame]:
    """The last token does not say so if the call is then ended."""
    yield {**frame, "last": False} if frame["type"] == "text" else frame


def after_the_end(frame: Frame) -> Iterable[Frame]:
    yield frame
    if frame["type"] == "end":
        yield {"type": "text", "token": "Still there?", "last": True}


TOKEN_AFTER = {"type": "text", "token": " Really.", "last": False}
CLOSING = {"type": "text", "token": "", "last": True}
NEXT = ({"say": "When?", "next": 0.25}, {"say": "On Monday, I mean."})
CASES = [
    Case("connects", url="ws://gateway/twilio/wrong", why="the handshake was refused with status 403"),
    Case("refuses", secret="tok", why="a wrong proof was answered with status 101"),
    Case(
        "answers",
        never_last,
        also=frozenset({"silence", "one-last"}),
        why="turn 1: no end of the answer within 60 s",
    ),
    Case(
        "one-last",
        never_last,
        also=frozenset({"silence", "answers"}),
        why="turn 1: no token says that it is the last",
    ),
    Case("first-words", late(1.5, 0), why="turn 1: the first words came after 1.50 s, not within 1 s"),
    Case("silence", late(9.0, 1), why="turn 1: silent for 9.20 s, more than 8 s"),
    Case(
        "stops",
        bend=deaf("interrupt"),
        turns=({"say": "Hello?", "interrupt": 0.05},),
        mind=lambda: agent(*[step for _ in range(9) for step in (0.1, " and")]),
        why="turn 1: words still came 0.75 s after it, later than 0.25 s",
    ),
    Case("speakable", lambda: marked, why="turn 1: '**' would be read aloud"),
    Case(
        "nonsense",
        bend=dead_after_nonsense,
        turns=({"say": "Hello?", "nonsense": True},),
        also=frozenset({"answers", "first-words", "silence"}),
        why="turn 1: no answer",
    ),
    Case("frames", then({"type": "done"}), why="a frame of unknown type: 'done'"),
    Case(
        "one-last", then(CLOSING), why="turn 1: a final token of 0 characters came after the answer had ended"
    ),
    Case(
        "one-last",
        then(TOKEN_AFTER),
        why="turn 1: one more token of 8 characters came after the answer had ended",
    ),
    Case(
        "partial",
        bend=eager,
        turns=(HELLO, {"say": "And on Monday?", "partial": ["And"]}),
        why="a final token of 4 characters came before the caller had finished",
    ),
    Case(
        "superseded",
        then({"type": "text", "token": "On Monday too.", "last": True}),
        first_only,
        turns=NEXT,
        why="turn 2: a final token of 14 characters came after the answer had ended",
    ),
    Case(
        "superseded",
        bend=lambda: lambda frame: [{**frame, "type": "interrupt"} if "Monday" in str(frame) else frame],
        turns=NEXT,
        also=frozenset({"answers", "first-words", "silence"}),
        why="turn 2: no answer",
    ),
    Case(
        "ends-last",
        lambda: before_the_end,
        mind=lambda: agent("Bye.", END),
        why="the call was ended before the final token of its last words",
    ),
    Case(
        "ends-last",
        lambda: after_the_end,
        mind=lambda: agent("Bye.", END),
        why="a frame came after the end of the call",
    ),
    Case(
        "comes-back",
        bend=deaf_when_back,
        turns=({"say": "Hello?", "drop": 0.25},),
        also=frozenset({"answers", "silence"}),
        why="turn 1: the gateway closed the connection with code 1008 in mid-answer",
    ),
    Case(
        "not-twice",
        then({"type": "text", "token": "Once more.", "last": True}),
        turns=({"say": "Hello?", "drop": 0.25},),
        why="turn 1: a final token of 10 characters came after the answer had ended",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.item)
async def test_a_flaw_breaks_its_own_entry_and_no_other(case: Case) -> None:
    script = told(*case.turns)
    caller = relay(script, case.secret)
    tape = await rehearse(
        caller,
        script,
        case.url,
        case.mind(),
        bend=case.bend(),
        flaw=case.flaw(),
        proof=bool(case.secret),
        actions=ACTIONS,
    )
    found = broken(caller.checks, tape, script)
    assert found.keys() == {case.item} | case.also
    assert any(breach.endswith(case.why) for breach in found[case.item]), found[case.item]


def test_every_entry_has_a_flaw_that_breaks_it() -> None:
    assert {case.item for case in CASES} == {check.item for check in relay().checks}
    assert {check.item for check in relay(flavour="telnyx").checks} == {
        check.item for check in relay().checks
    } - {"refuses"}
