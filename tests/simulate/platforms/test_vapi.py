"""The simulated Vapi: documented requests, and each flaw breaks its own check."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.types import Message

from tests.simulate.asgi_http import change_events, post_to_app
from tests.simulate.flawed_http import (
    CHAT_FLAWS,
    KEY,
    URL,
    FlawedGateway,
    broken_checks,
    check_states,
    delay_head,
    refuse_if,
)
from tests.support.fake_agent import fake_agent as agent
from tests.support.gateway import create_gateway
from voicegw.simulate.http_platform import PlatformRequest
from voicegw.simulate.http_runner import HttpRunner
from voicegw.simulate.platforms.vapi import EXAMPLE_METADATA, MetadataPlacement, SimulatedVapi
from voicegw.simulate.script import CallScript


def _pause_in_clause(event: bytes) -> Iterable[bytes | float]:
    if b" in Rome" in event:
        yield 0.4
    yield event.replace(b"sunny,", b"sunny") + b"\n\n"


def _always_stream(request: PlatformRequest, message: Message) -> Iterable[Message]:
    if not json.loads(request.body)["stream"] and message["type"] == "http.response.start":
        message = {**message, "headers": [(b"content-type", b"text/event-stream")]}
    yield message


FLAWS = {
    **CHAT_FLAWS,
    "clause": FlawedGateway(change_events(_pause_in_clause)),
    "in-time": FlawedGateway(delay_head(20.0), frozenset({"first-words", "silence"})),
    "whole": FlawedGateway(_always_stream),
    "doubled-path": FlawedGateway(refuse_if(lambda request, body: request.url.count("chat") == 2, 404)),
}


def make_platform(metadata: MetadataPlacement = "variable", **tables: Any) -> SimulatedVapi:
    script = CallScript.model_validate({"turns": [{"say": "Hello?"}], **tables})
    return SimulatedVapi(
        script, URL, secret=KEY, call_id="8f0c1c1e-0000-4000-8000-000000000001", metadata=metadata
    )


def decode_body(request: PlatformRequest) -> dict[str, Any]:
    found = json.loads(request.body)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("item", [check.item for check in SimulatedVapi.checks])
async def test_flaw_breaks_its_check_and_no_other(item: str) -> None:
    flawed = FLAWS[item]
    assert broken_checks(SimulatedVapi, await flawed.run(SimulatedVapi)) == {item} | flawed.side_effects


def test_every_flaw_has_its_check() -> None:
    assert FLAWS.keys() == {check.item for check in SimulatedVapi.checks}


async def test_our_gateway_passes_all_checks() -> None:
    recording = await FlawedGateway().run(SimulatedVapi)
    assert recording.failure == ""
    assert set(check_states(SimulatedVapi, recording).values()) == {"held"}


async def test_acknowledgement_and_answer_have_exact_times() -> None:
    script = CallScript.model_validate({"turns": [{"say": "Hello?"}]})
    app = create_gateway(agent(2.0, "Good day."), agent_section={"dialect": "vapi"})
    recording = await HttpRunner(SimulatedVapi(script, URL), script, post_to_app(app)).run()
    assert recording.turns[0].texts == [(0.0, "One moment. "), (2.0, "Good day.")]
    assert check_states(SimulatedVapi, recording, script)["clause"] == "held"


@pytest.mark.parametrize(
    ("entered", "address"),
    [
        ("https://gw.example/v1", "https://gw.example/v1/chat/completions"),
        (
            "https://gw.example/v1/chat/completions",
            "https://gw.example/v1/chat/completions/chat/completions",
        ),
    ],
)
def test_path_is_always_appended(entered: str, address: str) -> None:
    platform = SimulatedVapi(make_platform().script, entered)
    assert platform.url == address
    assert platform.build_probes()[1].request.url == "https://gw.example/v1/chat/completions/chat/completions"


def test_request_has_the_fields_of_the_call() -> None:
    asked = decode_body(make_platform().ask("Hello?"))
    assert asked.keys() == {
        *("model", "messages", "stream", "temperature", "max_tokens"),
        *("call", "phoneNumber", "customer", "metadata"),
    }
    assert asked["call"]["id"] == "8f0c1c1e-0000-4000-8000-000000000001"
    assert asked["customer"] == {"number": "+15550100"}
    assert asked["phoneNumber"]["number"] == "+15550199"
    assert asked["metadata"] == EXAMPLE_METADATA
    assert (asked["temperature"], asked["max_tokens"]) == (0.5, 250)


def test_metadata_is_placed_as_configured() -> None:
    assert decode_body(make_platform("off").ask("Hello?")).keys() == {
        *("model", "messages", "stream", "temperature", "max_tokens")
    }
    spread = decode_body(make_platform("destructured").ask("Hello?"))
    assert EXAMPLE_METADATA.items() <= spread.items()
    assert "metadata" not in spread
    assert EXAMPLE_METADATA.items() <= decode_body(make_platform("off").ask("Hello?", unusual=True)).items()


@pytest.mark.parametrize("metadata", ["off", "variable", "destructured"])
async def test_our_gateway_accepts_every_metadata_placement(metadata: MetadataPlacement) -> None:
    script = CallScript.model_validate({"turns": [{"say": "Hello?"}, {"say": "Odd", "nonsense": True}]})
    app = create_gateway(agent("Good day."))
    recording = await HttpRunner(
        SimulatedVapi(script, URL, metadata=metadata), script, post_to_app(app)
    ).run()
    assert "broken" not in check_states(SimulatedVapi, recording, script).values()


def test_system_tools_in_the_script_are_offered_with_the_platform_s_schemas() -> None:
    offered = decode_body(make_platform(tools=[{"name": "transferCall"}, {"name": "endCall"}]).ask("Hello?"))[
        "tools"
    ]
    assert offered[0]["function"]["parameters"]["required"] == ["destination"]
    assert offered[1]["function"]["description"] == "End the call."


def test_only_a_request_after_a_lost_connection_is_marked_as_a_retry() -> None:
    platform = make_platform()
    first = platform.ask("Hello?")
    assert platform.repeat(after_loss=False) == first
    assert platform.repeat(after_loss=True).headers == {**first.headers, "x-stainless-retry-count": "1"}
