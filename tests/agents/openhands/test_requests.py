"""Requests to OpenHands' agent server, and its lists of profiles."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.openhands.requests import (
    LlmProfiles,
    conversation_request,
    join_path,
    parse_llm_settings,
    parse_profiles,
    user_message,
)
from voicegw.errors import AgentError, AgentProtocolError, AgentRejected
from voicegw.events import Message

LISTED = {"profiles": [{"name": "fast", "model": "m"}, {"name": "good"}], "active_profile": "good"}
AGENTS = {
    "profiles": [{"id": "x", "name": "other"}, {"id": "a", "name": "default", "llm_profile_ref": "fast"}],
    "active_agent_profile_id": "a",
}
KNOWN = LlmProfiles(("fast", "good"), "good", "a", "fast")
LLM = {"model": "m", "stream": True}
WORKSPACE = {"kind": "LocalWorkspace", "working_dir": "workspace/project"}
RISKY = {"kind": "ConfirmRisky", "threshold": "HIGH", "confirm_unknown": True}


def test_both_lists_become_the_profiles() -> None:
    profiles = parse_profiles(LISTED, AGENTS, "OpenHands")
    assert profiles == KNOWN
    assert profiles.models == ["openhands_fast", "openhands_good"]
    assert profiles.profile_for_model("openhands_fast") == "fast"
    assert [profiles.profile_for_model(model) for model in ("fast", "openhands_", "openhands_x", "")] == [
        None
    ] * 4


@pytest.mark.parametrize(
    ("profiles", "default"),
    [
        (KNOWN, "good"),
        (LlmProfiles(("fast", "good"), None, "a", "good"), "good"),
        (LlmProfiles(("fast", "good"), "gone", "a", "default"), "fast"),
        (LlmProfiles(), None),
    ],
)
def test_the_default_profile(profiles: LlmProfiles, default: str | None) -> None:
    assert profiles.default_profile() == default


def test_older_servers_have_no_profiles() -> None:
    assert parse_profiles(None, None, "OpenHands") == LlmProfiles()
    assert (
        parse_profiles({"profiles": None}, {"active_agent_profile_id": "a"}, "OpenHands").agent_profile_id
        == "a"
    )


def test_an_agent_profile_may_bring_its_own_model() -> None:
    agents = {"profiles": [{"id": "a", "agent_kind": "acp"}], "active_agent_profile_id": "a"}
    profiles = parse_profiles(LISTED, agents, "OpenHands")
    assert profiles.agent_has_own_model
    assert "agent_launch_additions" not in conversation_request(
        "c", profiles, llm=None, profile="fast", tools=None
    )


@pytest.mark.parametrize("listed", [5, {"profiles": [5]}, {"profiles": [{}]}, {"profiles": 5}])
def test_lists_of_another_shape_are_protocol_errors(listed: Any) -> None:
    with pytest.raises(AgentProtocolError, match="unknown shape"):
        parse_profiles(listed, None, "OpenHands")


def test_a_conversation_with_tools_has_a_lean_agent() -> None:
    body = conversation_request(
        "c", KNOWN, llm=LLM, profile="fast", tools=("terminal",), suffix="Be brief.", workspace="/w"
    )
    assert body == {
        "conversation_id": "c",
        "workspace": WORKSPACE | {"working_dir": "/w"},
        "autotitle": False,
        "confirmation_policy": RISKY,
        "security_analyzer": {"kind": "LLMSecurityAnalyzer"},
        "agent": {
            "kind": "Agent",
            "llm": LLM,
            "tools": [{"name": "terminal"}],
            "include_default_tools": [],
            "agent_context": {"system_message_suffix": "Be brief."},
        },
        "secrets_encrypted": True,
    }


def test_without_instructions_there_is_no_suffix() -> None:
    assert "agent_context" not in conversation_request("c", KNOWN, llm=LLM, profile="fast", tools=())["agent"]


def test_the_agent_profile_of_the_server_has_its_own_tools() -> None:
    body = conversation_request(
        "c", KNOWN, llm=LLM, profile="fast", tools=None, suffix="Be brief.", confirm="never"
    )
    assert body == {
        "conversation_id": "c",
        "workspace": WORKSPACE,
        "autotitle": False,
        "confirmation_policy": {"kind": "NeverConfirm"},
        "agent_profile_id": "a",
        "agent_launch_additions": {"llm_profile_ref": "fast", "system_message_suffix_append": "Be brief."},
    }


@pytest.mark.parametrize("llm", [None, LLM | {"provider_connection_id": "p"}])
def test_a_model_with_a_key_stored_elsewhere_needs_the_agent_profile(llm: Any) -> None:
    assert (
        conversation_request("c", KNOWN, llm=llm, profile="fast", tools=("terminal",))["agent_profile_id"]
        == "a"
    )


def test_a_server_without_agent_profiles_gets_a_lean_agent() -> None:
    body = conversation_request("c", LlmProfiles(("fast",)), llm=LLM, profile="fast", tools=None)
    assert body["agent"]["tools"] == []


def test_a_server_without_any_profile_is_rejected() -> None:
    with pytest.raises(AgentRejected, match="save an LLM profile"):
        conversation_request("c", LlmProfiles(), llm=None, profile=None, tools=("terminal",))


def test_llm_settings_stream_and_retry_at_once() -> None:
    assert parse_llm_settings(
        b'{"config": {"model": "m", "stream": false, "num_retries": 5}}', "OpenHands"
    ) == {
        "model": "m",
        "stream": True,
        "num_retries": 2,
        "retry_min_wait": 0,
        "retry_max_wait": 1,
        "usage_id": "voice",
    }


@given(st.binary(max_size=30) | st.sampled_from([b"5", b"{}", b'{"config": 5}', b'{"config": null}']))
def test_settings_of_another_shape_are_agent_errors(body: bytes) -> None:
    with pytest.raises(AgentError):
        parse_llm_settings(body, "OpenHands")


def test_a_message_has_the_images_of_the_caller() -> None:
    with_images = Message(
        "user",
        "Look",
        ({"type": "text", "text": "Look"}, {"image_url": {"url": "data:1"}}, {"image_url": "http://2"}),
    )
    without_images = Message("user", "x", ({"image_url": {"url": 5}}, {"image_url": None}))
    assert user_message("Look", (with_images, without_images)) == {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look"},
            {"type": "image", "image_urls": ["data:1", "http://2"]},
        ],
    }
    assert user_message("Hi") == {"role": "user", "content": [{"type": "text", "text": "Hi"}]}


def test_names_are_encoded_in_paths() -> None:
    assert join_path("/api/profiles", "a/b c") == "/api/profiles/a%2Fb%20c"
