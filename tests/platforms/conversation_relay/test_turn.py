"""Turns as talk cycles: tokens, one final token, and the end of the call after it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.platforms.conversation_relay.frames import (
    ENDED,
    FINAL,
    PLATFORMS,
    action_call,
    any_json,
    frames,
    make_turn,
    perform,
)
from tests.platforms.conversation_relay.test_actions import INVALID_ACTIONS, VALID_ACTIONS
from voicegw.calls.codec import ACTIONS
from voicegw.events import ToolCall
from voicegw.platforms.conversation_relay.codec import RelayPlatform
from voicegw.platforms.conversation_relay.turn import ENDS_ALREADY
from voicegw.turns.prompts import ACTION_DONE


def test_tokens_are_unescaped_and_keep_their_spaces() -> None:
    turn = make_turn()
    turn.text_delta(" Größe “M” 🙂\n")
    assert turn.drain() == '{"type":"text","token":" Größe “M” 🙂\\n","last":false}\n'.encode()
    assert turn.spoken_text == " Größe “M” 🙂\n"


def test_surrogate_pair_in_two_deltas_is_joined() -> None:
    turn = make_turn()
    turn.text_delta("\ud83d")
    turn.text_delta("\ude42")
    assert frames(turn.finish("stop", None)) == [{"type": "text", "token": "🙂", "last": True}]


def test_turn_without_words_closes_its_talk_cycle() -> None:
    assert frames(make_turn().finish("stop", None)) == [FINAL]


def test_turn_with_only_invalid_actions_closes_its_talk_cycle() -> None:
    turn = make_turn()
    assert turn.tool_call(action_call("send_digits", {"digits": "one"})) == b""
    assert frames(turn.finish("tool_calls", None)) == [FINAL]


def test_turn_stopped_before_its_first_token_sends_nothing() -> None:
    turn = make_turn()
    assert turn.start("One moment. ") == b""
    assert turn.stop() == b""
    assert turn.spoken_text == ""


def test_keepalive_is_empty() -> None:
    assert make_turn().keepalive == b""


def test_stopped_turn_does_not_end_the_call() -> None:
    turn = make_turn()
    turn.text_delta("Bye")
    turn.drain()
    turn.tool_call(action_call("end_call", {}))
    assert turn.ends_call
    assert frames(turn.stop()) == [FINAL]
    assert not turn.ends_call


def test_end_frame_follows_the_last_words_once() -> None:
    turn = make_turn()
    assert turn.tool_call(action_call("end_call", {"reason": None})) == b""
    assert turn.tool_call(action_call("transfer_call", {"number": "+15550100199"})) == b""
    turn.text_delta("Goodbye.")
    assert frames(turn.finish("stop", None)) == [{"type": "text", "token": "Goodbye.", "last": True}, ENDED]
    assert turn.ends_call
    assert turn.spoken_text == "Goodbye."


def test_second_end_of_the_call_is_refused() -> None:
    turn = make_turn()
    turn.tool_call(ToolCall("1", "transfer_call", '{"number": "+15550100199"}'))
    turn.tool_call(ToolCall("2", "end_call"))
    assert turn.actions.by_id == {"1": ACTION_DONE, "2": ENDS_ALREADY}
    [end] = frames(turn.finish("stop", None))
    assert json.loads(end["handoffData"])["reasonCode"] == "transfer_call"


@pytest.mark.parametrize("close", ["end", "stop"])
def test_nothing_is_encoded_after_the_turn(close: str) -> None:
    turn = make_turn()
    turn.text_delta("Hi")
    turn.drain()
    perform(turn, [close])
    after: list[list[Any]] = [
        ["begin", "a"],
        ["text", "b"],
        ["call", "end_call", {}],
        ["call", "send_digits", {"digits": "1"}],
    ]
    assert [perform(turn, step) for step in [*after, ["drain"], ["stop"], ["end"]]] == [b""] * 7
    assert (turn.spoken_text, turn.ends_call) == ("Hi", False)


words = st.text(max_size=8).map(lambda text: text.encode("utf-8", "replace").decode())
calls = st.one_of(
    st.sampled_from([(name, arguments) for name, arguments, _ in VALID_ACTIONS]),
    st.sampled_from([("end_call", {"reason": "done"}), ("transfer_call", {"number": "+15550100199"})]),
    st.sampled_from(INVALID_ACTIONS),
    st.tuples(st.sampled_from(ACTIONS), any_json),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["begin", "text"]), words).map(list),
        st.just(["drain"]),
        calls.map(lambda call: ["call", *call]),
    ),
    max_size=12,
)


@given(st.sampled_from(PLATFORMS), steps, st.sampled_from(["end", "stop"]), steps)
def test_every_turn_is_one_well_formed_talk_cycle(
    platform: RelayPlatform, before: list[list[Any]], close: str, after: list[list[Any]]
) -> None:
    turn = make_turn(platform)
    running = [frame for step in before for frame in frames(perform(turn, step))]
    ending = turn.ends_call
    closing = frames(perform(turn, [close]))
    assert all(perform(turn, step) == b"" for step in [*after, ["drain"], ["end"], ["stop"]])
    check_cycle(running, closing, ending and close == "end")
    tokens = "".join(frame["token"] for frame in running + closing if frame["type"] == "text")
    words = "".join(step[1] for step in before if step[0] in ("begin", "text"))
    assert turn.spoken_text == tokens
    assert words.startswith(tokens)
    assert tokens == words or close == "stop"
    assert turn.ends_call == (ending and close == "end")


def check_cycle(running: list[dict[str, Any]], closing: list[dict[str, Any]], ended: bool) -> None:
    """Assert that only the close is final: a final token where one is due, and then the end frame."""
    assert not any(frame.get("last") or frame["type"] == "end" for frame in running)
    finals = [frame for frame in closing if frame["type"] == "text"]
    assert [frame["type"] for frame in closing] == ["text"] * len(finals) + ["end"] * ended
    assert [frame["last"] for frame in finals] in ([], [True])
    if any(frame["type"] == "text" for frame in running):
        assert finals, "an open cycle is closed"
