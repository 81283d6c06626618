"""HTTP platforms: the conversation that they keep and send with each request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from voicegw.simulate.http_platform import (
    UNKNOWN_FIELDS,
    UNKNOWN_HEADERS,
    PlatformRequest,
    SimulatedHttpPlatform,
)
from voicegw.simulate.platforms.elevenlabs import SimulatedElevenLabs
from voicegw.simulate.recording import ActionSeen
from voicegw.simulate.script import CallScript

TOOLS = [{"name": "weather", "result": "Sunny."}, {"name": "end_call"}, {"name": "skip_turn"}]


def make_platform(**tables: Any) -> SimulatedHttpPlatform:
    script = CallScript.model_validate({"prompt": "Be brief.", "turns": [{"say": "Hello?"}], **tables})
    return SimulatedElevenLabs(script, "http://127.0.0.1/v1", secret="right", call_id="conv_12345")


def messages_in(request: PlatformRequest) -> list[dict[str, Any]]:
    found = json.loads(request.body)["messages"]
    assert isinstance(found, list)
    return found[1:]


def user_message(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant_message(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_each_request_has_the_conversation_so_far() -> None:
    platform = make_platform(greeting="Good morning.")
    assert messages_in(platform.ask("Hello?")) == [assistant_message("Good morning."), user_message("Hello?")]
    assert platform.follow_up("Good day.", []) is None
    assert messages_in(platform.ask("And?")) == [
        *(
            assistant_message("Good morning."),
            user_message("Hello?"),
            assistant_message("Good day."),
            user_message("And?"),
        )
    ]


def test_silent_caller_adds_no_message() -> None:
    platform = make_platform()
    assert messages_in(platform.ask(None)) == []
    platform.follow_up("Are you there?", [])
    assert messages_in(platform.ask(None)) == [assistant_message("Are you there?")]


def test_partial_transcript_is_not_kept() -> None:
    platform = make_platform()
    assert messages_in(platform.ask_partial("Hel")) == [user_message("Hel")]
    assert messages_in(platform.ask("Hello?")) == [user_message("Hello?")]


@pytest.mark.parametrize(("heard", "kept"), [("Good", [assistant_message("Good")]), ("", []), (" ", [])])
def test_truncated_answer_keeps_only_the_heard_text(heard: str, kept: list[Any]) -> None:
    platform = make_platform()
    platform.ask("Hello?")
    platform.follow_up("Good day.", [])
    platform.record_heard(heard)
    assert messages_in(platform.ask("Stop"))[1:-1] == kept
    platform.record_heard(heard)  # and so with one that did not come to its end
    assert messages_in(platform.ask("Stop"))[-1 - len(kept) : -1] == kept


def test_record_heard_changes_only_the_current_turn() -> None:
    platform = make_platform(greeting="Good morning.")
    platform.record_heard("")
    platform.ask(None)
    platform.record_heard("")
    assert messages_in(platform.ask("Hello?"))[0] == assistant_message("Good morning.")


def test_tool_results_are_sent_in_the_same_turn() -> None:
    platform = make_platform(tools=TOOLS)
    platform.ask("Weather?")
    following = platform.follow_up(
        "Let me see. ", [ActionSeen(0, "weather", '{"a":1}', "c1"), ActionSeen(0, "skip_turn")]
    )
    assert following is not None
    called, *results = messages_in(following)[1:]
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


def test_no_request_follows_a_tool_without_result_or_a_hangup_tool() -> None:
    platform = make_platform(tools=TOOLS)
    platform.ask("Hush")
    assert platform.follow_up("", [ActionSeen(0, "skip_turn")]) is None
    assert platform.follow_up("", [ActionSeen(0, "weather"), ActionSeen(0, "end_call")]) is None
    assert platform.is_hangup([ActionSeen(0, "end_call")])
    assert not platform.is_hangup([ActionSeen(0, "weather")])
    assert platform.messages[2]["content"] is None


def test_unusual_request_is_valid_and_does_not_change_the_next_one() -> None:
    platform = make_platform(greeting="Good morning.")
    request = platform.ask("Hello?", unusual=True)
    first, tool, greeting, question = messages_in(request)
    assert first["content"] is None
    assert tool["tool_call_id"] == first["tool_calls"][0]["id"]
    assert greeting == assistant_message("Good morning.")
    assert question["content"] == [{"type": "text", "text": "Hello?"}]
    assert UNKNOWN_FIELDS.items() <= json.loads(request.body).items()
    assert UNKNOWN_HEADERS.items() <= request.headers.items()
    usual = platform.ask("And?")
    assert messages_in(usual) == [greeting, user_message("Hello?"), user_message("And?")]
    assert not UNKNOWN_FIELDS.keys() & json.loads(usual.body).keys()


def test_wrong_key_probe_has_its_own_call_id() -> None:
    probe = make_platform().build_wrong_key_probe()
    assert probe.has_wrong_key
    assert probe.request.headers["Authorization"] == "Bearer not-the-key"
    assert probe.request.headers["X-Voicegw-Call"] != "conv_12345"
    assert messages_in(probe.request) == [user_message("Hello?")]


def test_no_authorization_header_without_a_key() -> None:
    platform = SimulatedElevenLabs(make_platform().script, "http://127.0.0.1")
    assert "Authorization" not in platform.ask("Hello?").headers
    assert platform.call_id != SimulatedElevenLabs(make_platform().script, "http://127.0.0.1").call_id
