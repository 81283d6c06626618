"""The simulated ElevenLabs: documented requests, and each flaw breaks its own check."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulate.asgi_http import post_to_app
from tests.simulate.flawed_http import (
    CHAT_FLAWS,
    FULL_SCRIPT,
    KEY,
    URL,
    FlawedGateway,
    broken_checks,
    check_states,
    delay_head,
    replace_bytes,
)
from tests.support.fake_agent import fake_agent as agent
from tests.support.gateway import create_gateway
from voicegw.simulate.http_platform import PlatformRequest
from voicegw.simulate.http_runner import HttpRunner
from voicegw.simulate.platforms.elevenlabs import SYSTEM_TOOLS, SimulatedElevenLabs
from voicegw.simulate.script import CallScript

FLAWS = {
    **CHAT_FLAWS,
    "joins": FlawedGateway(replace_bytes(b'" in Rome', b'"in Rome')),
    "before-cascade": FlawedGateway(delay_head(1.6), frozenset({"first-words"})),
}


def make_platform(**tables: Any) -> SimulatedElevenLabs:
    script = CallScript.model_validate({"turns": [{"say": "Hello?"}], **tables})
    return SimulatedElevenLabs(script, URL, secret=KEY, call_id="conv_1")


def decode_body(request: PlatformRequest) -> dict[str, Any]:
    found = json.loads(request.body)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("item", [check.item for check in SimulatedElevenLabs.checks])
async def test_flaw_breaks_its_check_and_no_other(item: str) -> None:
    flawed = FLAWS[item]
    assert (
        broken_checks(SimulatedElevenLabs, await flawed.run(SimulatedElevenLabs))
        == {item} | flawed.side_effects
    )


def test_every_flaw_has_its_check() -> None:
    assert FLAWS.keys() == {check.item for check in SimulatedElevenLabs.checks}


async def test_our_gateway_passes_all_checks() -> None:
    recording = await FlawedGateway().run(SimulatedElevenLabs)
    assert recording.failure == ""
    assert set(check_states(SimulatedElevenLabs, recording).values()) == {"held"}
    assert recording.forged_status == 401
    assert [turn.outcome for turn in recording.turns] == [
        *("answered", "answered", "answered", "stopped", "stopped"),
        *("answered", "answered", "answered", "hung up"),
    ]
    assert len(recording.turns) == len(FULL_SCRIPT.turns) - 1  # the press step is skipped


async def test_acknowledgement_and_answer_have_exact_times() -> None:
    script = CallScript.model_validate({"turns": [{"say": "Hello?"}, {"say": "And?", "wait": 1.0}]})
    app = create_gateway(agent(2.0, "Good day."), agent_section={"dialect": "elevenlabs"})
    recording = await HttpRunner(SimulatedElevenLabs(script, URL), script, post_to_app(app)).run()
    first, second = recording.turns
    assert first.texts == [(0.0, "One moment... "), (2.0, "Good day.")]
    assert (first.ack_delay, first.answer_delay, first.longest_silence, first.end_times) == (
        0.0,
        2.0,
        2.0,
        [2.0],
    )
    assert second.texts == [(3.0, "Let me see... "), (5.0, "Good day.")]
    assert check_states(SimulatedElevenLabs, recording, script)["joins"] == "held"
    assert recording.connected_at == 0.0


@pytest.mark.parametrize(
    ("entered", "address"),
    [
        ("https://gw.example", "https://gw.example/chat/completions"),
        ("https://gw.example/", "https://gw.example/chat/completions"),
        ("https://gw.example/v1/", "https://gw.example/v1/chat/completions"),
        ("https://gw.example/v1/chat/completions", "https://gw.example/v1/chat/completions"),
        ("https://gw.example/v1?api-version=1", "https://gw.example/v1/chat/completions?api-version=1"),
    ],
)
def test_path_is_appended_unless_the_url_has_it(entered: str, address: str) -> None:
    assert make_platform().build_url(entered) == address


def test_request_has_the_documented_fields() -> None:
    request = make_platform(greeting="Good morning.").ask("Hello?")
    assert request.url == f"{URL}/chat/completions"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["X-Voicegw-Call"] == "conv_1"
    assert request.headers["x-stainless-retry-count"] == "0"
    assert decode_body(request) == {
        "model": "agent",
        "messages": [
            {"role": "system", "content": "You answer the telephone. Be brief."},
            {"role": "assistant", "content": "Good morning."},
            {"role": "user", "content": "Hello?"},
        ],
        "stream": True,
        "temperature": 0,
        "max_tokens": 1024,
        "user_id": "caller-1",
        "elevenlabs_extra_body": {"caller_id": "+15550100", "channel": "phone"},
    }


def test_system_tools_in_the_script_are_offered_with_the_platform_s_schemas() -> None:
    names = [*SYSTEM_TOOLS, "weather"]
    offered = decode_body(make_platform(tools=[{"name": name} for name in names]).ask("Hello?"))["tools"]
    assert [tool["function"]["name"] for tool in offered] == names
    assert offered[0]["function"]["parameters"]["required"] == ["reason"]
    assert offered[-1]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_repeated_request_differs_only_in_its_retry_count() -> None:
    platform = make_platform()
    first = platform.ask("Hello?")
    for again in (platform.repeat(after_loss=False), platform.repeat(after_loss=True)):
        assert again.body == first.body
        assert again.headers == {**first.headers, "x-stainless-retry-count": "1"}


def test_no_call_header_without_a_mapped_header() -> None:
    platform = SimulatedElevenLabs(make_platform().script, URL, call_header="")
    assert not [name for name in platform.ask("Hello?").headers if "call" in name.lower()]


async def test_dots_without_a_space_are_a_bad_join_even_before_a_space() -> None:
    recording = await FlawedGateway(replace_bytes(b"sunny,", b"sunny...")).run(SimulatedElevenLabs)
    assert broken_checks(SimulatedElevenLabs, recording) == {"joins"}
    recording = await FlawedGateway(replace_bytes(b"sunny,", b"sunny... ")).run(SimulatedElevenLabs)
    assert broken_checks(SimulatedElevenLabs, recording) == set()
