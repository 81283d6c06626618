"""The simulated Retell: its frames, and the observations in a gateway's frames."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.simulate.platform import SimulatedPlatform, decode_frame
from voicegw.simulate.platforms.retell import MALFORMED_FRAMES, SimulatedRetell
from voicegw.simulate.recording import (
    ActionSeen,
    AnswerEnded,
    FramesReturned,
    HangUpSeen,
    Observation,
    PongSeen,
    TextHeard,
    Violation,
)
from voicegw.simulate.script import CallScript

CALL = "call_" + "ab" * 14
HELLO = {"say": "Hello?"}
USER = {"role": "user", "content": "Hello?"}
CONFIG = {"auto_reconnect": True, "call_details": True, "transcript_with_tool_calls": False}


def make_script(*turns: dict[str, Any], **tables: Any) -> CallScript:
    return CallScript.model_validate({"turns": turns or [HELLO], **tables})


def make_platform(script: CallScript | None = None, **options: Any) -> SimulatedRetell:
    return SimulatedRetell(script or make_script(), random_hex=lambda size: "ab" * size, **options)


def config_frame(**more: bool) -> str:
    return json.dumps({"response_type": "config", "config": {**CONFIG, **more}})


def response_frame(id: Any, content: Any = "Yes.", complete: Any = False, **more: Any) -> str:
    frame = {"response_type": "response", "response_id": id, "content": content}
    return json.dumps({**frame, "content_complete": complete, **more})


def agent_entry(words: str) -> dict[str, str]:
    return {"role": "agent", "content": words}


def decode_all(sent: Iterable[str | bytes]) -> list[Any]:
    return [json.loads(frame) for frame in sent]


def greeted_platform() -> SimulatedRetell:
    """Return a platform after the config and the begin message."""
    platform = make_platform()
    platform.start(reconnecting=False)
    platform.receive(config_frame())
    platform.receive(response_frame(0, "Hi!", True))
    return platform


def asked_platform() -> SimulatedRetell:
    platform = greeted_platform()
    platform.ask("Hello?")
    return platform


def test_implements_the_platform_protocol() -> None:
    platform: SimulatedPlatform = make_platform()
    assert (platform.name, platform.ping_interval, platform.build_headers("ws://h", forged=True)) == (
        "retell",
        2.0,
        {},
    )
    assert (platform.start(reconnecting=False), platform.press("1"), platform.hang_up()) == ((), (), ())


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("wss://voice.example.com/retell", f"wss://voice.example.com/retell/{CALL}"),
        ("wss://voice.example.com/retell/secret/", f"wss://voice.example.com/retell/secret/{CALL}"),
        ("https://voice.example.com/retell", f"wss://voice.example.com/retell/{CALL}"),
        ("HTTP://127.0.0.1:8080/retell", f"ws://127.0.0.1:8080/retell/{CALL}"),
        ("wss://h/retell?key=a/b", f"wss://h/retell/{CALL}?key=a/b"),
    ],
)
def test_url_of_the_call_is_below_the_entered_url(url: str, address: str) -> None:
    assert make_platform().build_url(url) == address


def test_each_call_has_its_own_id() -> None:
    assert SimulatedRetell(make_script()).call_id != SimulatedRetell(make_script()).call_id


def test_every_request_has_the_transcript_so_far() -> None:
    platform = greeted_platform()
    [first] = decode_all(platform.ask("Hello?"))
    assert first == {
        "interaction_type": "response_required",
        "response_id": 1,
        "transcript": [agent_entry("Hi!"), USER],
    }
    platform.receive(response_frame(1, "We are "))
    platform.receive(response_frame(1, "open.", True))
    [nudge] = decode_all(platform.ask(None))
    assert nudge == {
        "interaction_type": "reminder_required",
        "response_id": 2,
        "transcript": [agent_entry("Hi!"), USER, agent_entry("We are open.")],
    }
    platform.receive(response_frame(2, "Still there?", True))
    [second] = decode_all(platform.ask("Yes."))
    assert second["transcript"][2:] == [
        agent_entry("We are open."),
        agent_entry("Still there?"),
        {"role": "user", "content": "Yes."},
    ]


def test_partial_transcript_is_an_update_and_is_not_kept() -> None:
    platform = greeted_platform()
    assert decode_all(platform.encode_partial("Hel")) == [
        {
            "interaction_type": "update_only",
            "turntaking": "user_turn",
            "transcript": [agent_entry("Hi!"), {"role": "user", "content": "Hel"}],
        }
    ]
    [question] = decode_all(platform.ask("Hello?"))
    assert question["transcript"] == [agent_entry("Hi!"), USER]


@pytest.mark.parametrize(("observations", "kept"), [("We are", [agent_entry("We are")]), ("", [])])
def test_interruption_is_an_update_with_the_heard_text(observations: str, kept: list[Any]) -> None:
    platform = asked_platform()
    platform.receive(response_frame(1, "We are open."))
    [update] = decode_all(platform.interrupt(observations))
    assert (update["interaction_type"], update["transcript"]) == (
        "update_only",
        [agent_entry("Hi!"), USER, *kept],
    )
    assert platform.receive(response_frame(1, " From nine.")) == ()
    [question] = decode_all(platform.ask("When?"))
    assert (question["response_id"], question["transcript"][2:-1]) == (2, kept)


def test_repeated_request_has_a_new_id() -> None:
    platform = asked_platform()
    platform.receive(response_frame(1, "We are"))
    [again] = decode_all(platform.repeat())
    assert (again["interaction_type"], again["response_id"]) == ("response_required", 2)
    assert again["transcript"] == [agent_entry("Hi!"), USER]
    assert platform.receive(response_frame(1, " open.")) == ()
    assert platform.receive(response_frame(2, "Yes.", True)) == (TextHeard(0, "Yes."), AnswerEnded(0))


def test_reconnected_call_repeats_the_unanswered_request() -> None:
    platform = asked_platform()
    [again] = decode_all(platform.start(reconnecting=True))
    assert (again["response_id"], again["transcript"]) == (2, [agent_entry("Hi!"), USER])
    assert platform.ping() == ()
    platform.receive(response_frame(2, "Yes.", True))
    assert platform.start(reconnecting=True) == ()


def test_reminder_is_repeated_as_a_reminder() -> None:
    platform = greeted_platform()
    platform.ask(None)
    [again] = decode_all(platform.start(reconnecting=True))
    assert again["interaction_type"] == "reminder_required"


def test_call_details_are_sent_if_the_config_asks_for_them() -> None:
    platform = make_platform(make_script(caller="+15550123"))
    [returned] = platform.receive(config_frame())
    assert isinstance(returned, FramesReturned)
    [details] = decode_all(returned.frames)
    assert details["interaction_type"] == "call_details"
    assert {"call_id": CALL, "from_number": "+15550123", "to_number": "+15550199"}.items() <= details[
        "call"
    ].items()
    assert make_platform().receive(config_frame(call_details=False)) == ()


def test_transcript_with_tool_calls_is_sent_if_the_config_asks_for_it() -> None:
    platform = make_platform()
    platform.receive(config_frame(transcript_with_tool_calls=True))
    [question] = decode_all(platform.ask("Hello?"))
    assert question["transcript_with_tool_calls"] == question["transcript"] == [USER]


def test_pings_need_auto_reconnect_and_each_has_its_own_timestamp() -> None:
    platform = make_platform(now=1_700_000_000.5)
    assert platform.ping() == ()
    platform.receive(config_frame())
    assert decode_all([*platform.ping(), *platform.ping()]) == [
        {"interaction_type": "ping_pong", "timestamp": 1_700_000_000_501},
        {"interaction_type": "ping_pong", "timestamp": 1_700_000_000_502},
    ]
    assert platform.receive('{"response_type":"ping_pong","timestamp":1700000000501}') == (PongSeen(),)
    assert platform.receive('{"response_type":"ping_pong","timestamp":7}') == (
        Violation("echo", "timestamp 7, not 1700000000502"),
        PongSeen(),
    )
    platform.receive(config_frame(auto_reconnect=False))
    assert platform.ping() == ()


def test_response_text_belongs_to_the_turn_of_its_id() -> None:
    platform = make_platform()
    platform.receive(config_frame())
    assert platform.receive(response_frame(0, "Hi!", True)) == (TextHeard(None, "Hi!"), AnswerEnded(None))
    platform.ask("Hello?")
    assert platform.receive(response_frame(1, "One")) == (TextHeard(0, "One"),)
    platform.ask("And?")
    assert platform.receive(response_frame(1, " two.")) == (TextHeard(0, " two."),)
    assert platform.receive(response_frame(2, "Three.", True)) == (TextHeard(1, "Three."), AnswerEnded(1))
    unnamed = json.dumps({"response_id": 2, "content": "!", "content_complete": False})
    assert platform.receive(unnamed) == (
        Violation("one-complete", "response_id 2 goes on after its content_complete"),
    )


def test_begin_message_may_cross_the_first_question() -> None:
    platform = make_platform()
    platform.ask("Hello?")
    platform.receive(config_frame())
    assert platform.receive(response_frame(0, "Hi!", True)) == (TextHeard(None, "Hi!"), AnswerEnded(None))
    assert platform.transcript.entries == [USER]


def test_agent_interrupt_text_is_heard() -> None:
    frame = {
        "response_type": "agent_interrupt",
        "interrupt_id": 1,
        "content": "Fire!",
        "content_complete": True,
    }
    assert asked_platform().receive(json.dumps(frame)) == (TextHeard(0, "Fire!"),)


def test_tool_calls_are_actions_and_results_need_a_known_id() -> None:
    platform = asked_platform()
    call = {"response_type": "tool_call_invocation", "tool_call_id": "t1", "name": "hours", "arguments": "{}"}
    assert platform.receive(json.dumps(call)) == (ActionSeen(0, "hours", "{}", "t1"),)
    result = {"response_type": "tool_call_result", "tool_call_id": "t1", "content": "9 to 5"}
    assert platform.receive(json.dumps(result)) == ()
    assert platform.receive(json.dumps({**result, "tool_call_id": "t2"})) == (
        Violation("types", "tool_call_result of no tool call: 't2'"),
    )


@pytest.mark.parametrize(
    ("action", "observations"),
    [
        ({"end_call": True}, (ActionSeen(0, "end_call", '{"end_call": true}'), HangUpSeen())),
        (
            {"transfer_number": "+15550123"},
            (ActionSeen(0, "transfer_number", '{"transfer_number": "+15550123"}'), HangUpSeen()),
        ),
        ({"digit_to_press": "1"}, (ActionSeen(0, "digit_to_press", '{"digit_to_press": "1"}'),)),
        ({"end_call": False}, ()),
    ],
)
def test_action_comes_with_the_completing_frame_and_two_kinds_hang_up(
    action: dict[str, Any], observations: tuple[Observation, ...]
) -> None:
    frame = response_frame(1, "Bye.", True, no_interruption_allowed=True, **action)
    assert asked_platform().receive(frame) == (TextHeard(0, "Bye."), AnswerEnded(0), *observations)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (
            response_frame(1, "Bye.", True, end_call=True),
            "end_call without no_interruption_allowed, after words",
        ),
        (
            response_frame(1, "", True, end_call=True, digit_to_press="1"),
            "end_call and digit_to_press at once",
        ),
        (response_frame(1, "", False, digit_to_press="1"), "digit_to_press before content_complete"),
    ],
)
def test_invalid_actions_are_violations(frame: str, reason: str) -> None:
    assert Violation("actions", reason) in asked_platform().receive(frame)


def test_end_call_without_text_needs_no_interruption_flag() -> None:
    observations = asked_platform().receive(response_frame(1, "", True, end_call=True))
    assert observations == (
        TextHeard(0, ""),
        AnswerEnded(0),
        ActionSeen(0, "end_call", '{"end_call": true}'),
        HangUpSeen(),
    )


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"{}", "a binary frame of 2 bytes"),
        ("hi", "not JSON: 'hi'"),
        ("null", "JSON, but not an object: 'null'"),
        ('{"response_type":"text"}', "a frame of unknown type: 'text'"),
        ("{}", "response without response_id"),
        (response_frame("1"), "response: response_id does not fit: '1'"),
        (response_frame(1.0), "response: response_id does not fit: 1.0"),
        (response_frame(True), "response: response_id does not fit: true"),
        (response_frame(1, None), "response: content does not fit: null"),
        (response_frame(1, "a", "false"), "response: content_complete does not fit: 'false'"),
        (response_frame(1, "a", 1), "response: content_complete does not fit: 1"),
        (response_frame(1, "a", True, end_call="yes"), "response: end_call does not fit: 'yes'"),
        (response_frame(1, "a", True, transfer_number=1), "response: transfer_number does not fit: 1"),
        ('{"response_type":"ping_pong","timestamp":"1"}', "ping_pong: timestamp does not fit: '1'"),
        ('{"response_type":"config"}', "config without config"),
        ('{"response_type":"config","config":{"call_details":1}}', "config: call_details does not fit: 1"),
    ],
)
def test_invalid_frames_are_violations_with_a_reason(frame: str | bytes, reason: str) -> None:
    assert asked_platform().receive(frame) == (Violation("types", reason),)


def test_config_must_come_first_and_once() -> None:
    platform = make_platform()
    early, *_ = platform.receive(response_frame(0, "Hi!", True))
    assert early == Violation("config-first", "response came before config")
    assert Violation("config-first", "config came twice, or too late") in platform.receive(config_frame())
    assert asked_platform().receive(config_frame(call_details=False)) == (
        Violation("config-first", "config came twice, or too late"),
    )


def test_unknown_and_completed_response_ids_are_violations() -> None:
    platform = asked_platform()
    assert platform.receive(response_frame(7)) == (
        Violation("old-ids", "response_id 7 was never asked for, the newest is 1"),
    )
    platform.receive(response_frame(1, "Yes.", True))
    assert platform.receive(response_frame(1)) == (
        Violation("one-complete", "response_id 1 goes on after its content_complete"),
    )


@pytest.mark.parametrize("id", [0, 1, 2])
def test_response_to_an_update_is_a_violation(id: int) -> None:
    platform = asked_platform()
    platform.receive(response_frame(1, "Yes.", True))
    platform.encode_partial("And")
    assert platform.receive(response_frame(id)) == (
        Violation("updates", f"a response with response_id {id} came after update_only"),
    )
    platform.ask("And?")
    assert platform.receive(response_frame(2)) == (TextHeard(1, "Yes."),)


def test_greeting_after_a_reconnect_is_a_violation() -> None:
    platform = asked_platform()
    platform.start(reconnecting=True)
    platform.receive(config_frame())
    assert platform.receive(response_frame(0, "", True)) == ()
    assert platform.receive(response_frame(0, "Hi!", True)) == (
        Violation("no-second-greeting", "3 characters for response_id 0 on a new connection"),
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KINDS = [
    *("config", "response", "ping_pong", "agent_interrupt", "metadata", "update_agent"),
    *("tool_call_invocation", "tool_call_result"),
]
VALID_RESPONSES = st.builds(
    response_frame,
    st.integers(-1, 4),
    st.text(),
    st.booleans(),
    end_call=st.booleans(),
    digit_to_press=st.sampled_from(["", "1"]),
)
KEYS = st.sampled_from(
    [
        "response_type",
        "response_id",
        "content",
        "content_complete",
        "timestamp",
        "config",
        "tool_call_id",
        "name",
    ]
)
ANY_FRAME = st.one_of(
    st.text(),
    st.binary(),
    VALUES.map(json.dumps),
    st.dictionaries(KEYS, VALUES | st.sampled_from(KINDS), max_size=6).map(json.dumps),
    VALID_RESPONSES,
    st.just(config_frame()),
)
CALLER_ACTIONS = st.sampled_from(["ask", "silent", "partial", "interrupt", "repeat", "again", "ping"])


@given(st.lists(st.one_of(ANY_FRAME, CALLER_ACTIONS), max_size=14))
def test_any_frames_give_observations_of_known_turns_and_checks(steps: list[str | bytes]) -> None:
    platform = make_platform()
    items = {check.item for check in platform.checks} | {"pong"}
    turns = -1
    platform.start(reconnecting=False)
    for step in steps:
        turns += step in ("ask", "silent")
        observations = _apply(platform, step)
        assert all(found.item in items for found in observations if isinstance(found, Violation))
        numbers = {
            found.turn for found in observations if isinstance(found, TextHeard | AnswerEnded | ActionSeen)
        }
        assert all(number is None or 0 <= number <= turns for number in numbers)


def _apply(platform: SimulatedRetell, step: str | bytes) -> Iterable[Any]:
    if step in ("repeat", "interrupt") and platform.turn is None:
        return ()
    actions: dict[str | bytes, Any] = {
        "ask": lambda: platform.ask("Hello?"),
        "silent": lambda: platform.ask(None),
        "partial": lambda: platform.encode_partial("Hel"),
        "interrupt": lambda: platform.interrupt("He"),
        "repeat": platform.repeat,
        "again": lambda: platform.start(reconnecting=True),
        "ping": platform.ping,
    }
    if step in actions:
        decode_all(actions[step]())
        return ()
    return platform.receive(step)


@pytest.mark.parametrize(
    "frame",
    [
        '{"response_type":"metadata","metadata":' + "[" * 900 + "]" * 900 + "}",
        "[" * 100_000,
        "1" * 5000,
        '{"response_type":"ping_pong","timestamp":' + "9" * 400 + "}",
    ],
)
def test_deep_and_long_frames_are_violations_with_short_reasons(frame: str) -> None:
    observations = asked_platform().receive(frame)
    assert all(isinstance(found, Violation) and len(found.reason) < 120 for found in observations)


def test_malformed_frames_ask_no_question() -> None:
    found = [decode_frame(frame) for frame in MALFORMED_FRAMES]
    kinds = {frame.get("interaction_type") for frame in found if isinstance(frame, dict)}
    assert kinds == {"weather", "update_only", None}
