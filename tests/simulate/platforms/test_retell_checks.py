"""The checks of Retell: our gateway passes all of them, and each flaw breaks its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.simulate.asgi_websocket import Flaw
from tests.simulate.flawed_websocket import (
    Bend,
    DirectReply,
    Frame,
    broken_checks,
    check_states,
    run_call,
)
from tests.simulate.platforms.test_retell import make_platform
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

URL = "ws://gateway/retell"


async def test_our_gateway_passes_all_checks_in_a_full_call() -> None:
    script = make_script({**FULL_TURNS[0], "wait": 0.1}, *FULL_TURNS[1:])
    platform = make_platform(script)
    scripted_agent = hours_agent()
    recording = await run_call(platform, script, URL, scripted_agent, greeting="Good morning.")
    assert (recording.failure, recording.violations, recording.greeting) == ("", [], [(0.0, "Good morning.")])
    found = check_states(platform.checks, recording, script)
    untried = {"actions"} | SITUATION_ITEMS
    assert found == {item: "not tried" if item in untried else "held" for item in found}
    assert round_turns(recording) == [
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
    assert len(recording.pings) == 11
    assert {answered == sent for sent, answered in recording.pings} == {True}
    assert [turn.said for turn in scripted_agent.turns][2:5] == [
        "Where are you?",
        "When?",
        "On Monday, I mean.",
    ]
    assert [turn.kind for turn in scripted_agent.turns].count("reminder") == 1


async def test_agent_gets_the_heard_part_of_its_interrupted_answer() -> None:
    script = make_script({"say": "Where?", "interrupt": 1.2}, {"say": "When?"})
    scripted_agent = hours_agent()
    recording = await run_call(make_platform(script), script, URL, scripted_agent)
    assert (recording.turns[0].stopped_at, recording.turns[0].text) == (
        1.2,
        "One moment. We are open from nine to five.",
    )
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
    recording = await run_call(platform, script, URL, agent("Bye.", END), actions=ACTIONS)
    assert (
        recording.agent_ended_call,
        len(recording.turns),
        broken_checks(platform.checks, recording, script),
    ) == (True, 1, {})
    assert check_states(platform.checks, recording, script)["actions"] == "held"


async def test_answered_question_is_not_repeated_after_a_reconnect() -> None:
    script = make_script({"say": "Hello?", "drop": 1.0}, {"say": "And?"})
    platform = make_platform(script)
    scripted_agent = hours_agent()
    recording = await run_call(platform, script, URL, scripted_agent, greeting="Good morning.")
    assert broken_checks(platform.checks, recording, script) == {}
    assert [turn.said for turn in scripted_agent.turns] == ["Hello?", "And?"]


def is_answer(frame: Frame) -> bool:
    """Is it a part of an answer to the caller?"""
    return bool(frame["response_type"] == "response" and frame["response_id"] > 0)


def change_frames(
    when: Callable[[Frame], Any], change: Callable[[Frame], Iterable[Any]]
) -> Callable[[], Flaw]:
    """Return a flaw that changes every frame for which `when` holds."""
    return lambda: lambda frame: change(frame) if when(frame) else [frame]


def change_once(
    when: Callable[[Frame], Any], change: Callable[[Frame], Iterable[Any]], place: int = 0
) -> Callable[[], Flaw]:
    """Return a flaw that changes one frame for which `when` holds: the one at `place` among them."""

    def make_flaw() -> Flaw:
        seen: list[Frame] = []

        def flaw(frame: Frame) -> Iterable[Any]:
            seen.extend([frame] if when(frame) else [])
            return change(frame) if when(frame) and len(seen) == place + 1 else [frame]

        return flaw

    return make_flaw


def has_type(name: str) -> Callable[[Frame], bool]:
    return lambda frame: bool(frame["response_type"] == name)


def is_completing(frame: Frame) -> bool:
    return is_answer(frame) and bool(frame["content_complete"])


def is_greeting(frame: Frame) -> bool:
    return frame["response_type"] == "response" and not frame["response_id"]


def encode_response(id: Any, content: str = "Really.", complete: bool = False) -> Frame:
    return {"response_type": "response", "response_id": id, "content": content, "content_complete": complete}


def drop_frames(*kinds: str, since: int = 0) -> Callable[[], Bend]:
    """Drop the platform's frames of these types, from the response_id `since` on."""
    return lambda: (
        lambda frame: (
            [] if frame["interaction_type"] in kinds and frame.get("response_id", since) >= since else [frame]
        )
    )


def drop_after_malformed() -> Bend:
    dead = []

    def bend(frame: Frame) -> Iterable[Frame]:
        if frame["interaction_type"] == "weather":
            dead.append(frame)
        return [frame] if not dead or frame["interaction_type"] == "ping_pong" else []

    return bend


def reply_to(name: str, *pieces: DirectReply) -> Callable[[], Bend]:
    """Reply to frames of this type in place of the gateway."""
    return lambda: lambda frame: pieces if frame["interaction_type"] == name else [frame]


def allow_interruption(frame: Frame) -> Iterable[Frame]:
    yield {key: value for key, value in frame.items() if key != "no_interruption_allowed"}


NEXT = ({"say": "When?", "next": 0.25}, {"say": "On Monday, I mean."})
PARTIAL = (HELLO, {"say": "And on Monday?", "partial": ["And"]})
DROP = ({"say": "Hello?", "drop": 0.25},)
TWO = (HELLO, {"say": "And?"})
MUTE = frozenset({"answers", "first-words", "silence"})
CASES = [
    Case("connects", "the handshake was refused with status 403", path="/retell/wrong"),
    Case(
        "answers",
        "turn 1: no end of the answer within 60 s",
        change_frames(is_completing, lambda frame: [{**frame, "content_complete": False}]),
        side_effects=frozenset({"silence"}),
    ),
    Case(
        "first-words",
        "turn 1: the first words came after 1.50 s, not within 1 s",
        change_once(is_answer, lambda frame: [1.5, frame]),
    ),
    Case(
        "silence",
        "turn 1: silent for 1.50 s, more than 1 s",
        agent=lambda: agent(1.5, "Yes."),
        patience={"silence": 1.0},
    ),
    Case(
        "speakable",
        "turn 1: '**' would be read aloud",
        change_frames(is_answer, lambda frame: [{**frame, "content": f"**{frame['content']}**"}]),
    ),
    Case(
        "nonsense",
        "turn 1: no answer",
        bend=drop_after_malformed,
        turns=({"say": "Hello?", "nonsense": True},),
        side_effects=MUTE,
    ),
    Case("pong", "1 of 1 pings had no answer within 0.25 s", bend=drop_frames("ping_pong"), turns=TWO),
    Case("config-first", "response came before config", change_frames(has_type("config"), lambda frame: [])),
    Case(
        "config-first",
        "the begin message came after 1.50 s, not within 1 s",
        change_once(is_greeting, lambda frame: [1.5, frame]),
        turns=({"say": "Hello?", "wait": 2.0},),
    ),
    Case("config-first", "no begin message (response_id 0)", change_frames(is_greeting, lambda frame: [])),
    Case(
        "echo",
        "timestamp 2, not 1",
        change_frames(has_type("ping_pong"), lambda frame: [{**frame, "timestamp": frame["timestamp"] + 1}]),
        turns=TWO,
    ),
    Case(
        "types",
        "response: response_id does not fit: '1'",
        change_once(is_answer, lambda frame: [encode_response("1"), frame]),
    ),
    Case("types", "a binary frame of 2 bytes", change_once(is_answer, lambda frame: [b"{}", frame])),
    Case(
        "one-complete",
        "response_id 1 goes on after its content_complete",
        change_frames(is_completing, lambda frame: [frame, encode_response(1)]),
    ),
    Case(
        "one-complete",
        "response_id 1 goes on after its content_complete",
        change_frames(is_completing, lambda frame: [frame, frame]),
    ),
    Case(
        "old-ids",
        "turn 1: it went on for 0.40 s after the next question, longer than 0.25 s",
        change_frames(is_completing, lambda frame: [encode_response(1), frame]),
        turns=NEXT,
    ),
    Case(
        "old-ids",
        "response_id 7 was never asked for, the newest is 1",
        change_once(is_answer, lambda frame: [encode_response(7), frame]),
    ),
    Case(
        "updates",
        "a response with response_id 1 came after update_only",
        bend=reply_to("update_only", DirectReply(encode_response(1, "Yes.", True))),
        turns=PARTIAL,
    ),
    Case(
        "comes-back",
        "turn 1: no end of the answer within 60 s",
        bend=drop_frames("response_required", since=2),
        turns=DROP,
        side_effects=frozenset({"answers", "silence"}),
    ),
    Case(
        "no-second-greeting",
        "3 characters for response_id 0 on a new connection",
        change_once(has_type("config"), lambda frame: [frame, encode_response(0, "Hi!", True)], place=1),
        turns=DROP,
    ),
    Case(
        "not-1000",
        "it closed with 1000, which hangs up, though the agent did not end the call",
        bend=reply_to("ping_pong", DirectReply(1000)),
        turns=(HELLO, {"say": "And?", "wait": 3.0}),
    ),
    Case(
        "actions",
        "end_call without no_interruption_allowed, after words",
        change_frames(is_completing, allow_interruption),
        agent=lambda: agent("Bye.", END),
    ),
    Case(
        "actions",
        "end_call and digit_to_press at once",
        change_frames(is_completing, lambda frame: [{**frame, "digit_to_press": "1"}]),
        agent=lambda: agent("Bye.", END),
    ),
    Case(
        "actions",
        "digit_to_press before content_complete",
        change_once(is_answer, lambda frame: [{**frame, "digit_to_press": "1"}]),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.item)
async def test_flaw_breaks_its_check_and_no_other(case: Case) -> None:
    await case.assert_breaks_only_its_check(URL, lambda script, secret: make_platform(script))


def test_every_check_has_a_flaw_that_breaks_it() -> None:
    items = {check.item for check in make_platform().checks}
    assert {case.item for case in CASES} == items - SITUATION_ITEMS
