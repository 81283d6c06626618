"""The checks of ConversationRelay: our gateway passes all of them, and each flaw breaks its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.app.test_platforms import SECRET, TOKEN, create_gateway
from tests.simulate.asgi_websocket import Flaw, sockets_to_app
from tests.simulate.flawed_websocket import (
    Bend,
    DirectReply,
    Frame,
    broken_checks,
    check_states,
    run_call,
)
from tests.simulate.platforms.test_conversation_relay import URL, make_platform
from tests.simulate.platforms.test_situations import SITUATION_ITEMS
from tests.simulate.platforms.websocket_cases import (
    ACTIONS,
    END,
    FULL_TURNS,
    HELLO,
    Case,
    hours_agent,
    make_script,
    round_turns,
)
from tests.support.fake_agent import fake_agent as agent
from voicegw.simulate.call_runner import CallRunner

RELAY = "ws://gateway/twilio/relay"


async def test_our_gateway_passes_all_checks_in_a_full_call() -> None:
    script = make_script(*FULL_TURNS)
    platform = make_platform(script)
    scripted_agent = hours_agent()
    recording = await run_call(platform, script, RELAY, scripted_agent)
    assert (recording.failure, recording.violations) == ("", [])
    found = check_states(platform.checks, recording, script)
    untried = {"refuses", "ends-last"} | SITUATION_ITEMS
    assert found == {item: "not tried" if item in untried else "held" for item in found}
    assert round_turns(recording) == [
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
    assert [turn.said for turn in scripted_agent.turns] == [
        *("Hello?", "Are you open?", "Where are you?", "When?", "On Monday, I mean."),
        *("Your number?", "Your number?", "Again?", "(The caller pressed 12# on the keypad.)", "Bye."),
    ]


async def test_agent_gets_the_heard_part_of_its_interrupted_answer() -> None:
    script = make_script({"say": "Where?", "interrupt": 1.2}, {"say": "When?"})
    scripted_agent = hours_agent()
    await run_call(make_platform(script), script, RELAY, scripted_agent)
    assert (
        scripted_agent.turns[1].heard,
        [message.text for message in scripted_agent.turns[1].messages],
    ) == (
        "We",
        ["Where?", "We", "When?"],
    )


async def test_call_that_the_agent_ends_passes_all_checks() -> None:
    script = make_script({"say": "Bye."}, {"say": "Never asked."})
    platform = make_platform(script)
    recording = await run_call(platform, script, RELAY, agent("Bye.", END), actions=ACTIONS)
    assert (
        recording.agent_ended_call,
        len(recording.turns),
        broken_checks(platform.checks, recording, script),
    ) == (True, 1, {})
    assert check_states(platform.checks, recording, script)["ends-last"] == "held"
    assert [action.name for _, action in recording.turns[0].actions] == ["end"]


async def test_gateway_accepts_a_signed_call_and_refuses_a_forged_one(
    tmp_path: Path,
) -> None:
    script = make_script()
    platform = make_platform(script, secret=TOKEN, now=time.time())
    app = create_gateway(tmp_path, agent("Guten Tag."))
    recording = await CallRunner(platform, script, URL, sockets_to_app(app), try_forged=True).run()
    assert (recording.forged_status, recording.status, recording.failure) == (403, 101, "")
    assert broken_checks(platform.checks, recording, script) == {}
    assert recording.turns[0].text == "Guten Tag."
    shown = "\n".join(text for _, _, text in recording.log)
    assert TOKEN not in shown
    assert platform.build_headers(URL)["X-Twilio-Signature"] not in shown


async def test_gateway_passes_all_checks_in_a_full_telnyx_call(tmp_path: Path) -> None:
    script = make_script(*FULL_TURNS)
    platform = make_platform(script, vendor="telnyx")
    app = create_gateway(tmp_path, hours_agent())
    recording = await CallRunner(
        platform, script, f"wss://voice.example.com/telnyx/{SECRET}/relay", sockets_to_app(app)
    ).run()
    assert (recording.failure, recording.violations) == ("", [])
    found = check_states(platform.checks, recording, script)
    untried = {"ends-last"} | SITUATION_ITEMS
    assert found == {item: "not tried" if item in untried else "held" for item in found}


# Flaws


def append_once(*pieces: Any) -> Callable[[], Flaw]:
    """Append these frames to the last token of an answer."""

    def flaw(frame: Frame) -> Iterable[Any]:
        yield frame
        if frame.get("last"):
            yield from pieces

    return lambda: flaw


def clear_last() -> Flaw:
    def flaw(frame: Frame) -> Iterable[Frame]:
        yield {**frame, "last": False}

    return flaw


def delay_token(seconds: float, place: int) -> Callable[[], Flaw]:
    """Delay the frame at this place."""

    def make_flaw() -> Flaw:
        seen = iter(range(1000))

        def flaw(frame: Frame) -> Iterable[Frame | float]:
            if next(seen) == place:
                yield seconds
            yield frame

        return flaw

    return make_flaw


def add_markup(frame: Frame) -> Iterable[Frame]:
    yield {**frame, "token": f"**{frame['token']}**"}


def drop_frames(*kinds: str) -> Callable[[], Bend]:
    """Drop the platform's frames of these types."""
    return lambda: lambda frame: [] if frame["type"] in kinds else [frame]


def drop_after_malformed() -> Bend:
    dead = []

    def bend(frame: Frame) -> Iterable[Frame]:
        if frame["type"] == "weather":
            dead.append(frame)
        return [] if dead else [frame]

    return bend


def answer_partials() -> Bend:
    """Answer each partial prompt."""

    def bend(frame: Frame) -> Iterable[Frame | DirectReply]:
        if frame["type"] == "prompt" and not frame["last"]:
            yield DirectReply({"type": "text", "token": "Yes.", "last": True})
        else:
            yield frame

    return bend


def keep_first_prompt() -> Bend:
    """Drop all prompts but the first."""
    prompts = []

    def bend(frame: Frame) -> Iterable[Frame]:
        if frame["type"] == "prompt":
            prompts.append(frame)
        return [] if len(prompts) > 1 else [frame]

    return bend


def close_on_reconnect() -> Bend:
    setups = []

    def bend(frame: Frame) -> Iterable[Frame]:
        setups.extend([frame] if frame["type"] == "setup" else [])
        return [] if len(setups) > 1 else [frame]

    return bend


def clear_last_before_end(frame: Frame) -> Iterable[Frame]:
    """Clear `last` of every token before the call is ended."""
    yield {**frame, "last": False} if frame["type"] == "text" else frame


def append_after_end(frame: Frame) -> Iterable[Frame]:
    yield frame
    if frame["type"] == "end":
        yield {"type": "text", "token": "Still there?", "last": True}


TOKEN_AFTER = {"type": "text", "token": " Really.", "last": False}
CLOSING = {"type": "text", "token": "", "last": True}
NEXT = ({"say": "When?", "next": 0.25}, {"say": "On Monday, I mean."})
CASES = [
    Case("connects", path="/twilio/wrong", violation="the handshake was refused with status 403"),
    Case("refuses", secret="tok", violation="a wrong proof was answered with status 101"),
    Case(
        "answers",
        flaw=clear_last,
        side_effects=frozenset({"silence", "one-last"}),
        violation="turn 1: no end of the answer within 60 s",
    ),
    Case(
        "one-last",
        flaw=clear_last,
        side_effects=frozenset({"silence", "answers"}),
        violation="turn 1: no token has last: true",
    ),
    Case(
        "first-words",
        flaw=delay_token(1.5, 0),
        violation="turn 1: the first words came after 1.50 s, not within 1 s",
    ),
    Case("silence", flaw=delay_token(9.0, 1), violation="turn 1: silent for 9.20 s, more than 8 s"),
    Case(
        "stops",
        bend=drop_frames("interrupt"),
        turns=({"say": "Hello?", "interrupt": 0.05},),
        agent=lambda: agent(*[step for _ in range(9) for step in (0.1, " and")]),
        violation="turn 1: words still came 0.75 s after it, later than 0.25 s",
    ),
    Case("speakable", flaw=lambda: add_markup, violation="turn 1: '**' would be read aloud"),
    Case(
        "nonsense",
        bend=drop_after_malformed,
        turns=({"say": "Hello?", "nonsense": True},),
        side_effects=frozenset({"answers", "first-words", "silence"}),
        violation="turn 1: no answer",
    ),
    Case("frames", flaw=append_once({"type": "done"}), violation="a frame of unknown type: 'done'"),
    Case(
        "one-last",
        flaw=append_once(CLOSING),
        violation="turn 1: a final token of 0 characters came after the answer had ended",
    ),
    Case(
        "one-last",
        flaw=append_once(TOKEN_AFTER),
        violation="turn 1: one more token of 8 characters came after the answer had ended",
    ),
    Case(
        "partial",
        bend=answer_partials,
        turns=(HELLO, {"say": "And on Monday?", "partial": ["And"]}),
        violation="a final token of 4 characters came before the caller had finished",
    ),
    Case(
        "superseded",
        flaw=append_once({"type": "text", "token": "On Monday too.", "last": True}),
        bend=keep_first_prompt,
        turns=NEXT,
        violation="turn 2: a final token of 14 characters came after the answer had ended",
    ),
    Case(
        "superseded",
        bend=lambda: lambda frame: [{**frame, "type": "interrupt"} if "Monday" in str(frame) else frame],
        turns=NEXT,
        side_effects=frozenset({"answers", "first-words", "silence"}),
        violation="turn 2: no answer",
    ),
    Case(
        "ends-last",
        flaw=lambda: clear_last_before_end,
        agent=lambda: agent("Bye.", END),
        violation="the call was ended before the final token of its last words",
    ),
    Case(
        "ends-last",
        flaw=lambda: append_after_end,
        agent=lambda: agent("Bye.", END),
        violation="a frame came after the end of the call",
    ),
    Case(
        "comes-back",
        bend=close_on_reconnect,
        turns=({"say": "Hello?", "drop": 0.25},),
        side_effects=frozenset({"answers", "silence"}),
        violation="turn 1: the gateway closed the connection with code 1008 in mid-answer",
    ),
    Case(
        "not-twice",
        flaw=append_once({"type": "text", "token": "Once more.", "last": True}),
        turns=({"say": "Hello?", "drop": 0.25},),
        violation="turn 1: a final token of 10 characters came after the answer had ended",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.item)
async def test_flaw_breaks_its_check_and_no_other(case: Case) -> None:
    await case.assert_breaks_only_its_check(RELAY, make_platform)


def test_every_check_has_a_flaw_that_breaks_it() -> None:
    assert {case.item for case in CASES} | SITUATION_ITEMS == {check.item for check in make_platform().checks}
    assert {check.item for check in make_platform(vendor="telnyx").checks} == {
        check.item for check in make_platform().checks
    } - {"refuses", "takes-back"}
