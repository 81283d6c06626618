"""The caller of Retell: what it sends, and how it reads a gateway."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.simulate.platform import SimulatedPlatform, decode_frame
from voicegw.simulate.platforms.retell import MALFORMED_FRAMES, SimulatedRetell
from voicegw.simulate.recording import ActionSeen, AnswerEnded, Observation, HangUpSeen, PongSeen, FramesReturned, TextHeard, Violation
from voicegw.simulate.script import CallScript

CALL = "call_" + "ab" * 14
HELLO = {"say": "Hello?"}
USER = {"role": "user", "content": "Hello?"}
CONFIG = {"auto_reconnect": True, "call_details": True, "transcript_with_tool_calls": False}


def told(*turns: dict[str, Any], **tables: Any) -> CallScript:
    return CallScript.model_validate({"turns": turns or [HELLO], **tables})


def retell(script: CallScript | None = None, **how: Any) -> SimulatedRetell:
    return SimulatedRetell(script or told(), random_hex=lambda size: "ab" * size, **how)


def config(**more: bool) -> str:
    return json.dumps({"response_type": "config", "config": {**CONFIG, **more}})


def response(id: Any, content: Any = "Yes.", complete: Any = False, **more: Any) -> str:
    frame = {"response_type": "response", "response_id": id, "content": content}
    return json.dumps({**frame, "content_complete": complete, **more})


def said(words: str) -> dict[str, str]:
    return {"role": "agent", "content": words}


def frames(sent: Iterable[str | bytes]) -> list[Any]:
    return [json.loads(frame) for frame in sent]


def greeted() -> SimulatedRetell:
    """A caller who was greeted."""
    caller = retell()
    caller.start(reconnecting=False)
    caller.receive(config())
    caller.receive(response(0, "Hi!", True))
    return caller


def asked() -> SimulatedRetell:
    caller = greeted()
    caller.ask("Hello?")
    return caller


def test_it_is_a_caller() -> None:
    caller: SimulatedPlatform = retell()
    assert (caller.name, caller.ping_interval, caller.build_headers("ws://h", forged=True)) == ("retell", 2.0, {})
    assert (caller.start(reconnecting=False), caller.press("1"), caller.hang_up()) == ((), (), ())


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
def test_the_call_has_an_address_below_the_one_that_was_entered(url: str, address: str) -> None:
    assert retell().build_url(url) == address


def test_calls_have_names_of_their_own() -> None:
    assert SimulatedRetell(told()).call_id != SimulatedRetell(told()).call_id


def test_the_transcript_goes_with_every_request_and_holds_what_was_said() -> None:
    caller = greeted()
    [first] = frames(caller.ask("Hello?"))
    assert first == {
        "interaction_type": "response_required",
        "response_id": 1,
        "transcript": [said("Hi!"), USER],
    }
    caller.receive(response(1, "We are "))
    caller.receive(response(1, "open.", True))
    [nudge] = frames(caller.ask(None))
    assert nudge == {
        "interaction_type": "reminder_required",
        "response_id": 2,
        "transcript": [said("Hi!"), USER, said("We are open.")],
    }
    caller.receive(response(2, "Still there?", True))
    [second] = frames(caller.ask("Yes."))
    assert second["transcript"][2:] == [
        said("We are open."),
        said("Still there?"),
        {"role": "user", "content": "Yes."},
    ]


def test_words_that_may_still_change_are_an_update_and_leave_no_trace() -> None:
    caller = greeted()
    assert frames(caller.encode_partial("Hel")) == [
        {
            "interaction_type": "update_only",
            "turntaking": "user_turn",
            "transcript": [said("Hi!"), {"role": "user", "content": "Hel"}],
        }
    ]
    [question] = frames(caller.ask("Hello?"))
    assert question["transcript"] == [said("Hi!"), USER]


@pytest.mark.parametrize(("heard", "kept"), [("We are", [said("We are")]), ("", [])])
def test_an_interruption_is_an_update_with_what_was_heard(heard: str, kept: list[Any]) -> None:
    caller = asked()
    caller.receive(response(1, "We are open."))
    [update] = frames(caller.interrupt(heard))
    assert (update["interaction_type"], update["transcript"]) == ("update_only", [said("Hi!"), USER, *kept])
    assert caller.receive(response(1, " From nine.")) == ()
    [question] = frames(caller.ask("When?"))
    assert (question["response_id"], question["transcript"][2:-1]) == (2, kept)


def test_the_same_is_asked_once_more_under_a_new_number() -> None:
    caller = asked()
    caller.receive(response(1, "We are"))
    [again] = frames(caller.repeat())
    assert (again["interaction_type"], again["response_id"]) == ("response_required", 2)
    assert again["transcript"] == [said("Hi!"), USER]
    assert caller.receive(response(1, " open.")) == ()
    assert caller.receive(response(2, "Yes.", True)) == (TextHeard(0, "Yes."), AnswerEnded(0))


def test_a_call_that_comes_back_asks_again_what_was_not_answered() -> None:
    caller = asked()
    [again] = frames(caller.start(reconnecting=True))
    assert (again["response_id"], again["transcript"]) == (2, [said("Hi!"), USER])
    assert caller.ping() == ()
    caller.receive(response(2, "Yes.", True))
    assert caller.start(reconnecting=True) == ()


def test_a_reminder_is_repeated_as_one() -> None:
    caller = greeted()
    caller.ask(None)
    [again] = frames(caller.start(reconnecting=True))
    assert again["interaction_type"] == "reminder_required"


def test_call_details_come_only_if_they_are_wanted() -> None:
    caller = retell(told(caller="+15550123"))
    [returned] = caller.receive(config())
    assert isinstance(returned, FramesReturned)
    [details] = frames(returned.frames)
    assert details["interaction_type"] == "call_details"
    assert {"call_id": CALL, "from_number": "+15550123", "to_number": "+15550199"}.items() <= details[
        "call"
    ].items()
    assert retell().receive(config(call_details=False)) == ()


def test_the_transcript_comes_twice_if_the_one_with_tools_is_wanted() -> None:
    caller = retell()
    caller.receive(config(transcript_with_tool_calls=True))
    [question] = frames(caller.ask("Hello?"))
    assert question["transcript_with_tool_calls"] == question["transcript"] == [USER]


def test_pings_come_only_if_they_are_wanted_and_each_has_a_time_of_its_own() -> None:
    caller = retell(now=1_700_000_000.5)
    assert caller.ping() == ()
    caller.receive(config())
    assert frames([*caller.ping(), *caller.ping()]) == [
        {"interaction_type": "ping_pong", "timestamp": 1_700_000_000_501},
        {"interaction_type": "ping_pong", "timestamp": 1_700_000_000_502},
    ]
    assert caller.receive('{"response_type":"ping_pong","timestamp":1700000000501}') == (PongSeen(),)
    assert caller.receive('{"response_type":"ping_pong","timestamp":7}') == (
        Violation("echo", "timestamp 7, not 1700000000502"),
        PongSeen(),
    )
    caller.receive(config(auto_reconnect=False))
    assert caller.ping() == ()


def test_words_belong_to_the_question_of_their_number() -> None:
    caller = retell()
    caller.receive(config())
    assert caller.receive(response(0, "Hi!", True)) == (TextHeard(None, "Hi!"), AnswerEnded(None))
    caller.ask("Hello?")
    assert caller.receive(response(1, "One")) == (TextHeard(0, "One"),)
    caller.ask("And?")
    assert caller.receive(response(1, " two.")) == (TextHeard(0, " two."),)
    assert caller.receive(response(2, "Three.", True)) == (TextHeard(1, "Three."), AnswerEnded(1))
    unnamed = json.dumps({"response_id": 2, "content": "!", "content_complete": False})
    assert caller.receive(unnamed) == (
        Violation("one-complete", "response_id 2 goes on after its content_complete"),
    )


def test_a_begin_message_may_cross_the_first_question() -> None:
    caller = retell()
    caller.ask("Hello?")
    caller.receive(config())
    assert caller.receive(response(0, "Hi!", True)) == (TextHeard(None, "Hi!"), AnswerEnded(None))
    assert caller.transcript.entries == [USER]


def test_what_is_said_unasked_is_heard() -> None:
    frame = {
        "response_type": "agent_interrupt",
        "interrupt_id": 1,
        "content": "Fire!",
        "content_complete": True,
    }
    assert asked().receive(json.dumps(frame)) == (TextHeard(0, "Fire!"),)


def test_tools_are_noted_and_their_results_have_to_be_of_one() -> None:
    caller = asked()
    call = {"response_type": "tool_call_invocation", "tool_call_id": "t1", "name": "hours", "arguments": "{}"}
    assert caller.receive(json.dumps(call)) == (ActionSeen(0, "hours", "{}", "t1"),)
    result = {"response_type": "tool_call_result", "tool_call_id": "t1", "content": "9 to 5"}
    assert caller.receive(json.dumps(result)) == ()
    assert caller.receive(json.dumps({**result, "tool_call_id": "t2"})) == (
        Violation("types", "tool_call_result of no tool call: 't2'"),
    )


@pytest.mark.parametrize(
    ("action", "heard"),
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
def test_actions_come_with_the_last_frame_and_two_of_them_hang_up(
    action: dict[str, Any], heard: tuple[Observation, ...]
) -> None:
    frame = response(1, "Bye.", True, no_interruption_allowed=True, **action)
    assert asked().receive(frame) == (TextHeard(0, "Bye."), AnswerEnded(0), *heard)


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (response(1, "Bye.", True, end_call=True), "end_call without no_interruption_allowed, after words"),
        (
            response(1, "", True, end_call=True, digit_to_press="1"),
            "end_call and digit_to_press at once",
        ),
        (response(1, "", False, digit_to_press="1"), "digit_to_press before content_complete"),
    ],
)
def test_actions_that_retell_would_not_do_are_wrong(frame: str, why: str) -> None:
    assert Violation("actions", why) in asked().receive(frame)


def test_without_words_there_is_nothing_to_interrupt() -> None:
    heard = asked().receive(response(1, "", True, end_call=True))
    assert heard == (TextHeard(0, ""), AnswerEnded(0), ActionSeen(0, "end_call", '{"end_call": true}'), HangUpSeen())


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"{}", "a binary frame of 2 bytes"),
        ("hi", "no JSON: 'hi'"),
        ("null", "JSON, but no object: 'null'"),
        ('{"response_type":"text"}', "a frame of unknown type: 'text'"),
        ("{}", "response without response_id"),
        (response("1"), "response: response_id does not fit: '1'"),
        (response(1.0), "response: response_id does not fit: 1.0"),
        (response(True), "response: response_id does not fit: true"),
        (response(1, None), "response: content does not fit: null"),
        (response(1, "a", "false"), "response: content_complete does not fit: 'false'"),
        (response(1, "a", 1), "response: content_complete does not fit: 1"),
        (response(1, "a", True, end_call="yes"), "response: end_call does not fit: 'yes'"),
        (response(1, "a", True, transfer_number=1), "response: transfer_number does not fit: 1"),
        ('{"response_type":"ping_pong","timestamp":"1"}', "ping_pong: timestamp does not fit: '1'"),
        ('{"response_type":"config"}', "config without config"),
        ('{"response_type":"config","config":{"call_details":1}}', "config: call_details does not fit: 1"),
    ],
)
def test_what_retell_drops_is_wrong_and_said_how(frame: str | bytes, why: str) -> None:
    assert asked().receive(frame) == (Violation("types", why),)


def test_the_configuration_comes_first_and_once() -> None:
    caller = retell()
    early, *_ = caller.receive(response(0, "Hi!", True))
    assert early == Violation("config-first", "response came before config")
    assert Violation("config-first", "config came twice, or too late") in caller.receive(config())
    assert asked().receive(config(call_details=False)) == (
        Violation("config-first", "config came twice, or too late"),
    )


def test_numbers_that_were_never_asked_for_and_answers_that_are_complete_take_nothing_more() -> None:
    caller = asked()
    assert caller.receive(response(7)) == (
        Violation("old-ids", "response_id 7 was never asked for, the newest is 1"),
    )
    caller.receive(response(1, "Yes.", True))
    assert caller.receive(response(1)) == (
        Violation("one-complete", "response_id 1 goes on after its content_complete"),
    )


@pytest.mark.parametrize("id", [0, 1, 2])
def test_an_answer_to_an_update_is_wrong_whatever_its_number(id: int) -> None:
    caller = asked()
    caller.receive(response(1, "Yes.", True))
    caller.encode_partial("And")
    assert caller.receive(response(id)) == (
        Violation("updates", f"a response with response_id {id} came after update_only"),
    )
    caller.ask("And?")
    assert caller.receive(response(2)) == (TextHeard(1, "Yes."),)


def test_only_silence_greets_a_call_that_came_back() -> None:
    caller = asked()
    caller.start(reconnecting=True)
    caller.receive(config())
    assert caller.receive(response(0, "", True)) == ()
    assert caller.receive(response(0, "Hi!", True)) == (
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
WELL = st.builds(
    response,
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
ANY = st.one_of(
    st.text(),
    st.binary(),
    VALUES.map(json.dumps),
    st.dictionaries(KEYS, VALUES | st.sampled_from(KINDS), max_size=6).map(json.dumps),
    WELL,
    st.just(config()),
)
DOES = st.sampled_from(["ask", "silent", "partial", "interrupt", "repeat", "again", "ping"])


@given(st.lists(st.one_of(ANY, DOES), max_size=14))
def test_nothing_that_comes_is_too_much_for_it(steps: list[str | bytes]) -> None:
    caller = retell()
    items = {check.item for check in caller.checks} | {"pong"}
    turns = -1
    caller.start(reconnecting=False)
    for step in steps:
        turns += step in ("ask", "silent")
        heard = _do(caller, step)
        assert all(found.item in items for found in heard if isinstance(found, Violation))
        numbers = {found.turn for found in heard if isinstance(found, TextHeard | AnswerEnded | ActionSeen)}
        assert all(number is None or 0 <= number <= turns for number in numbers)


def _do(caller: SimulatedRetell, step: str | bytes) -> Iterable[Any]:
    if step in ("repeat", "interrupt") and caller.turn is None:
        return ()
    does: dict[str | bytes, Any] = {
        "ask": lambda: caller.ask("Hello?"),
        "silent": lambda: caller.ask(None),
        "partial": lambda: caller.encode_partial("Hel"),
        "interrupt": lambda: caller.interrupt("He"),
        "repeat": caller.repeat,
        "again": lambda: caller.start(reconnecting=True),
        "ping": caller.ping,
    }
    if step in does:
        frames(does[step]())
        return ()
    return caller.receive(step)


@pytest.mark.parametrize(
    "frame",
    [
        '{"response_type":"metadata","metadata":' + "[" * 900 + "]" * 900 + "}",
        "[" * 100_000,
        "1" * 5000,
        '{"response_type":"ping_pong","timestamp":' + "9" * 400 + "}",
    ],
)
def test_deep_and_long_frames_are_no_more_than_wrong(frame: str) -> None:
    heard = asked().receive(frame)
    assert all(isinstance(found, Violation) and len(found.reason) < 120 for found in heard)


def test_its_nonsense_asks_for_nothing() -> None:
    found = [decode_frame(frame) for frame in MALFORMED_FRAMES]
    kinds = {frame.get("interaction_type") for frame in found if isinstance(frame, dict)}
    assert kinds == {"weather", "update_only", None}
