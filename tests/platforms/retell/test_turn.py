"""Replies as response frames: words, one action, and exactly one completing frame."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.platforms.retell.frames import (
    ACTION_FIELDS,
    CALL,
    END,
    LAST,
    POLICY,
    PRESS,
    TRANSFER,
    completing_frame,
    frames,
    response,
)
from voicegw.calls.codec import (
    ACTIONS,
    TurnRequested,
)
from voicegw.events import ToolCall
from voicegw.platforms.retell.codec import RetellCodec
from voicegw.platforms.retell.turn import ONE_ACTION, RetellTurn
from voicegw.turns.prompts import ACTION_DONE, NOT_DONE


@pytest.mark.parametrize("may_stay_open", [True, False])
def test_reply_with_a_refused_action_stays_open_for_the_next_turn(may_stay_open: bool) -> None:
    turn = RetellCodec(CALL, transfers=POLICY).begin_turn(TurnRequested(id=1))
    turn.may_stay_open = may_stay_open
    turn.text_delta("I put you through.")
    turn.tool_call(ToolCall("1", "transfer_call", '{"number": "my boss"}'))
    assert frames(turn.finish("stop", None)) == [response(1, "I put you through.", not may_stay_open)]
    assert turn.stays_open is may_stay_open
    assert turn.actions.by_id["1"].startswith(f"{NOT_DONE}This is no telephone number.")


def test_only_the_action_that_retell_executes_is_done() -> None:
    turn = RetellCodec(CALL, transfers=POLICY).begin_turn(TurnRequested(id=1))
    calls = [ToolCall(str(id), "send_digits", f'{{"digits": "{id}"}}') for id in (1, 2)]
    for call in (*calls, ToolCall("3", "end_call")):
        turn.tool_call(call)
    [last] = frames(turn.finish("stop", None))
    assert (last["end_call"], "digit_to_press" in last) == (True, False)
    assert [call.id for call in turn.actions.executed] == ["3"]
    assert turn.actions.by_id == {"1": ONE_ACTION, "2": ONE_ACTION, "3": ACTION_DONE}


def test_action_that_is_cut_off_is_not_done() -> None:
    turn = RetellCodec(CALL, transfers=POLICY).begin_turn(TurnRequested(id=1))
    turn.tool_call(ToolCall("1", "end_call"))
    assert (turn.stop(), turn.actions.by_id, turn.actions.executed) == (b"", {}, [])


def test_words_are_gathered_until_drain() -> None:
    turn = RetellTurn(9, POLICY)
    assert (
        turn.start("One ") + turn.text_delta("two ") + turn.text_delta("") + turn.text_delta("three ") == b""
    )
    assert turn.spoken_text == ""
    assert frames(turn.drain()) == [response(9, "One two three ", False)]
    assert (turn.spoken_text, turn.drain()) == ("One two three ", b"")
    assert frames(turn.finish("stop", None)) == [response(9, "", True)]


def test_reply_without_words_is_completed() -> None:
    turn = RetellTurn(9, POLICY)
    assert turn.start("") + turn.drain() == b""
    assert frames(turn.finish("length", None)) == [response(9, "", True)]
    assert (turn.spoken_text, turn.ends_call) == ("", False)


def test_nothing_is_encoded_after_stop() -> None:
    turn = RetellTurn(9, POLICY)
    turn.text_delta("Bye.")
    turn.tool_call(END)
    assert (
        turn.stop() + turn.tool_call(TRANSFER) + turn.drain() + turn.finish("stop", None) + turn.stop() == b""
    )
    assert (turn.spoken_text, turn.ends_call) == ("", False)


def test_stop_after_the_end_changes_nothing() -> None:
    turn = RetellTurn(9, POLICY)
    turn.text_delta("Bye.")
    turn.tool_call(END)
    turn.finish("stop", None)
    assert (
        turn.stop()
        + turn.text_delta("More")
        + turn.tool_call(PRESS)
        + turn.drain()
        + turn.finish("stop", None)
        == b""
    )
    assert (turn.spoken_text, turn.ends_call) == ("Bye.", True)


@pytest.mark.parametrize(("call", "last"), [(END, True), (TRANSFER, True), (PRESS, False)])
def test_action_goes_with_the_completing_frame(call: ToolCall, last: bool) -> None:
    turn = RetellTurn(2, POLICY)
    turn.text_delta("One moment. ")
    turn.tool_call(call)
    assert turn.ends_call is last
    assert frames(turn.drain()) == [response(2, "One moment. ", False)]
    turn.text_delta("Bye.")
    assert frames(turn.finish("tool_calls", None)) == [response(2, "Bye.", True, **ACTION_FIELDS[call.name])]
    assert turn.ends_call is last


@pytest.mark.parametrize(
    ("calls", "executed_action"),
    [
        ([PRESS, TRANSFER, END], "end_call"),
        ([END, PRESS], "end_call"),
        ([PRESS, TRANSFER], "transfer_call"),
        ([PRESS, ToolCall("c4", "send_digits", '{"digits":"9"}')], "send_digits"),
    ],
)
def test_only_the_first_action_by_priority_is_sent(calls: list[ToolCall], executed_action: str) -> None:
    assert completing_frame(*calls) == response(1, "Bye.", True, **ACTION_FIELDS[executed_action])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("end_call", ""),
        ("end_call", "[]"),
        ("end_call", "bye"),
        ("end_call", "\ud83d"),
        ("transfer_call", "{}"),
        ("transfer_call", '{"number":4930123456}'),
        ("transfer_call", '{"number":"4930123456"}'),
        ("transfer_call", '{"number":"+0930123456"}'),
        ("transfer_call", '{"number":"+493"}'),
        ("transfer_call", '{"number":"+4930123456789012"}'),
        ("send_digits", "{}"),
        ("send_digits", '{"digits":""}'),
        ("send_digits", '{"digits":5}'),
        ("send_digits", '{"digits":"1w2"}'),
        ("send_digits", '{"digits":"١"}'),
        ("send_digits", json.dumps({"digits": "1" * 65})),
        ("switch_language", '{"language":"de-DE"}'),
        ("play_audio", '{"url":"https://example.com/a.mp3"}'),
        ("weather", "{}"),
    ],
)
def test_unknown_or_invalid_action_does_nothing(name: str, arguments: str) -> None:
    assert completing_frame(ToolCall("c", name, arguments)) == response(1, "Bye.", True)


@pytest.mark.parametrize("number", ["+4930123456", "+49 (0)30 123 456"])
def test_transfer_number_is_sent_in_e164_form(number: str) -> None:
    call = ToolCall("c", "transfer_call", json.dumps({"number": number, "reason": None}))
    assert completing_frame(call) == response(1, "Bye.", True, transfer_number=POLICY.resolve(number), **LAST)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
CALLS = st.builds(
    ToolCall,
    st.just("c"),
    st.sampled_from(ACTIONS) | st.just("weather"),
    st.sampled_from([END.arguments, TRANSFER.arguments, PRESS.arguments, "{}", "", "[]"]),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["start", "text_delta"]), WORDS)
    | st.tuples(st.just("tool_call"), CALLS)
    | st.tuples(st.just("drain"), st.none()),
    max_size=12,
)


@given(st.integers(0, 2**63), STEPS, st.sampled_from(["end", "stop"]), STEPS)
def test_every_reply_is_well_formed(
    id: int, before: list[tuple[str, Any]], how: str, after: list[tuple[str, Any]]
) -> None:
    turn, words, drained, sent = RetellTurn(id, POLICY), "", "", b""
    wanted: dict[str, ToolCall] = {}
    for step, value in before:
        frame = turn.drain() if step == "drain" else getattr(turn, step)(value)
        assert not frame or step == "drain"
        sent += frame
        words += value if step in ("start", "text_delta") else ""
        drained = words if step == "drain" else drained
        if step == "tool_call" and completing_frame(value).keys() - response(1, "", True).keys():
            wanted.setdefault(value.name, value)
    sent += turn.finish("stop", None) if how == "end" else turn.stop()
    ended = how == "end"
    event = frames(sent)
    assert {frame["response_id"] for frame in event} <= {id}
    assert [frame["content_complete"] for frame in event] == [False] * (len(event) - ended) + [True] * ended
    assert all(frame["content"] for frame in event if not frame["content_complete"])
    assert turn.spoken_text == "".join(frame["content"] for frame in event) == (words if ended else drained)
    executed_action = next(
        (name for name in ("end_call", "transfer_call", "send_digits") if name in wanted), None
    )
    assert turn.ends_call is (ended and executed_action in ("end_call", "transfer_call"))
    if ended:
        assert event[-1] == response(
            id, event[-1]["content"], True, **ACTION_FIELDS.get(executed_action or "", {})
        )
    for step, value in [*after, ("drain", None)]:
        assert (turn.drain() if step == "drain" else getattr(turn, step)(value)) == b""
    assert turn.finish("stop", None) + turn.stop() == b""
    assert turn.spoken_text == (words if ended else drained)
