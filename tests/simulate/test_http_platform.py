"""The conversation as a platform keeps it, and posts it whole with each question."""

from __future__ import annotations

import json
from typing import Any

import pytest

from voicegw.simulate.http_platform import UNKNOWN_FIELDS, UNKNOWN_HEADERS, SimulatedHttpPlatform, PlatformRequest
from voicegw.simulate.platforms.elevenlabs import SimulatedElevenLabs
from voicegw.simulate.recording import ActionSeen
from voicegw.simulate.script import CallScript

TOOLS = [{"name": "weather", "result": "Sunny."}, {"name": "end_call"}, {"name": "skip_turn"}]


def poster(**tables: Any) -> SimulatedHttpPlatform:
    script = CallScript.model_validate({"prompt": "Be brief.", "turns": [{"say": "Hello?"}], **tables})
    return SimulatedElevenLabs(script, "http://127.0.0.1/v1", secret="right", call_id="conv_12345")


def messages(request: PlatformRequest) -> list[dict[str, Any]]:
    found = json.loads(request.body)["messages"]
    assert isinstance(found, list)
    return found[1:]


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_each_question_brings_everything_that_was_said_before() -> None:
    platform = poster(greeting="Good morning.")
    assert messages(platform.ask("Hello?")) == [said("Good morning."), user("Hello?")]
    assert platform.follow_up("Good day.", []) is None
    assert messages(platform.ask("And?")) == [
        *(said("Good morning."), user("Hello?"), said("Good day."), user("And?"))
    ]


def test_a_silent_caller_adds_nothing() -> None:
    platform = poster()
    assert messages(platform.ask(None)) == []
    platform.follow_up("Are you there?", [])
    assert messages(platform.ask(None)) == [said("Are you there?")]


def test_a_guess_leaves_no_trace() -> None:
    platform = poster()
    assert messages(platform.ask_partial("Hel")) == [user("Hel")]
    assert messages(platform.ask("Hello?")) == [user("Hello?")]


@pytest.mark.parametrize(("heard", "kept"), [("Good", [said("Good")]), ("", []), (" ", [])])
def test_of_an_answer_that_was_cut_off_only_what_was_heard_stays(heard: str, kept: list[Any]) -> None:
    platform = poster()
    platform.ask("Hello?")
    platform.follow_up("Good day.", [])
    platform.record_heard(heard)
    assert messages(platform.ask("Stop"))[1:-1] == kept
    platform.record_heard(heard)  # and so with one that did not come to its end
    assert messages(platform.ask("Stop"))[-1 - len(kept) : -1] == kept


def test_cutting_an_answer_touches_none_before() -> None:
    platform = poster(greeting="Good morning.")
    platform.record_heard("")
    platform.ask(None)
    platform.record_heard("")
    assert messages(platform.ask("Hello?"))[0] == said("Good morning.")


def test_the_results_of_tools_are_posted_in_the_same_turn() -> None:
    platform = poster(tools=TOOLS)
    platform.ask("Weather?")
    following = platform.follow_up("Let me see. ", [ActionSeen(0, "weather", '{"a":1}', "c1"), ActionSeen(0, "skip_turn")])
    assert following is not None
    called, *results = messages(following)[1:]
    assert called == {
        "role": "assistant",
        "content": "Let me see. ",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"a":1}'}},
            {"id": "call_1", "type": "function", "function": {"name": "skip_turn", "arguments": "{}"}},
        ],
    }
    assert results == [
        {"role": "tool", "tool_call_id": "c1", "content": "Sunny."},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"status":"success"}'},
    ]
    assert platform.repeat(after_loss=True).body == following.body


def test_nothing_follows_a_tool_without_a_result_or_a_farewell() -> None:
    platform = poster(tools=TOOLS)
    platform.ask("Hush")
    assert platform.follow_up("", [ActionSeen(0, "skip_turn")]) is None
    assert platform.follow_up("", [ActionSeen(0, "weather"), ActionSeen(0, "end_call")]) is None
    assert platform.is_hangup([ActionSeen(0, "end_call")])
    assert not platform.is_hangup([ActionSeen(0, "weather")])
    assert platform.messages[2]["content"] is None


def test_an_odd_request_is_legal_and_the_next_one_is_as_ever() -> None:
    platform = poster(greeting="Good morning.")
    request = platform.ask("Hello?", unusual=True)
    first, tool, greeting, question = messages(request)
    assert first["content"] is None
    assert tool["tool_call_id"] == first["tool_calls"][0]["id"]
    assert greeting == said("Good morning.")
    assert question["content"] == [{"type": "text", "text": "Hello?"}]
    assert UNKNOWN_FIELDS.items() <= json.loads(request.body).items()
    assert UNKNOWN_HEADERS.items() <= request.headers.items()
    usual = platform.ask("And?")
    assert messages(usual) == [greeting, user("Hello?"), user("And?")]
    assert not UNKNOWN_FIELDS.keys() & json.loads(usual.body).keys()


def test_a_wrong_key_is_tried_by_a_caller_of_its_own() -> None:
    probe = poster().build_wrong_key_probe()
    assert probe.has_wrong_key
    assert probe.request.headers["Authorization"] == "Bearer not-the-key"
    assert probe.request.headers["X-Voicegw-Call"] != "conv_12345"
    assert messages(probe.request) == [user("Hello?")]


def test_without_a_key_no_key_is_shown() -> None:
    platform = SimulatedElevenLabs(poster().script, "http://127.0.0.1")
    assert "Authorization" not in platform.ask("Hello?").headers
    assert platform.call_id != SimulatedElevenLabs(poster().script, "http://127.0.0.1").call_id
