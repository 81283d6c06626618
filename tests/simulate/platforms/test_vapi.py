"""Vapi's requests are those of its documentation, and its checklist finds every flaw."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.types import Message

from tests.simulate.desk import CHAT_FLAWS, KEY, URL, Broken, broken, headless, refusing, states
from tests.simulate.poststage import events, poststage
from tests.support.gateway import gateway
from tests.support.script import script as agent
from voicegw.simulate.http_platform import PlatformRequest
from voicegw.simulate.http_runner import HttpRunner
from voicegw.simulate.platforms.vapi import EXAMPLE_METADATA, MetadataPlacement, SimulatedVapi
from voicegw.simulate.script import CallScript


def _hesitating(event: bytes) -> Iterable[bytes | float]:
    if b" in Rome" in event:
        yield 0.4
    yield event.replace(b"sunny,", b"sunny") + b"\n\n"


def _always_streaming(request: PlatformRequest, message: Message) -> Iterable[Message]:
    if not json.loads(request.body)["stream"] and message["type"] == "http.response.start":
        message = {**message, "headers": [(b"content-type", b"text/event-stream")]}
    yield message


FLAWS = {
    **CHAT_FLAWS,
    "clause": Broken(events(_hesitating)),
    "in-time": Broken(headless(20.0), frozenset({"first-words", "silence"})),
    "whole": Broken(_always_streaming),
    "doubled-path": Broken(refusing(lambda request, body: request.url.count("chat") == 2, 404)),
}


def caller(metadata: MetadataPlacement = "variable", **tables: Any) -> SimulatedVapi:
    script = CallScript.model_validate({"turns": [{"say": "Hello?"}], **tables})
    return SimulatedVapi(script, URL, secret=KEY, call_id="8f0c1c1e-0000-4000-8000-000000000001", metadata=metadata)


def body(request: PlatformRequest) -> dict[str, Any]:
    found = json.loads(request.body)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("item", [check.item for check in SimulatedVapi.checks])
async def test_a_flaw_breaks_its_entry_of_the_checklist_and_no_other(item: str) -> None:
    flawed = FLAWS[item]
    assert broken(SimulatedVapi, await flawed.play(SimulatedVapi)) == {item} | flawed.also


def test_there_is_no_flaw_without_an_entry() -> None:
    assert FLAWS.keys() == {check.item for check in SimulatedVapi.checks}


async def test_our_gateway_holds_the_whole_checklist() -> None:
    tape = await Broken().play(SimulatedVapi)
    assert tape.failure == ""
    assert set(states(SimulatedVapi, tape).values()) == {"held"}


async def test_the_times_of_an_acknowledged_answer_are_exact() -> None:
    script = CallScript.model_validate({"turns": [{"say": "Hello?"}]})
    app = gateway(agent(2.0, "Good day."), desk={"dialect": "vapi"})
    tape = await HttpRunner(SimulatedVapi(script, URL), script, poststage(app)).run()
    assert tape.turns[0].texts == [(0.0, "One moment. "), (2.0, "Good day.")]
    assert states(SimulatedVapi, tape, script)["clause"] == "held"


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
def test_the_path_is_always_added(entered: str, address: str) -> None:
    platform = SimulatedVapi(caller().script, entered)
    assert platform.url == address
    assert platform.build_probes()[1].request.url == "https://gw.example/v1/chat/completions/chat/completions"


def test_a_question_tells_of_the_call() -> None:
    asked = body(caller().ask("Hello?"))
    assert asked.keys() == {
        *("model", "messages", "stream", "temperature", "max_tokens"),
        *("call", "phoneNumber", "customer", "metadata"),
    }
    assert asked["call"]["id"] == "8f0c1c1e-0000-4000-8000-000000000001"
    assert asked["customer"] == {"number": "+15550100"}
    assert asked["phoneNumber"]["number"] == "+15550199"
    assert asked["metadata"] == EXAMPLE_METADATA
    assert (asked["temperature"], asked["max_tokens"]) == (0.5, 250)


def test_metadata_goes_where_the_operator_wants_it() -> None:
    assert body(caller("off").ask("Hello?")).keys() == {
        *("model", "messages", "stream", "temperature", "max_tokens")
    }
    spread = body(caller("destructured").ask("Hello?"))
    assert EXAMPLE_METADATA.items() <= spread.items()
    assert "metadata" not in spread
    assert EXAMPLE_METADATA.items() <= body(caller("off").ask("Hello?", unusual=True)).items()


@pytest.mark.parametrize("metadata", ["off", "variable", "destructured"])
async def test_our_gateway_takes_every_kind_of_metadata(metadata: MetadataPlacement) -> None:
    script = CallScript.model_validate({"turns": [{"say": "Hello?"}, {"say": "Odd", "nonsense": True}]})
    app = gateway(agent("Good day."))
    tape = await HttpRunner(SimulatedVapi(script, URL, metadata=metadata), script, poststage(app)).run()
    assert "broken" not in states(SimulatedVapi, tape, script).values()


def test_its_own_tools_are_offered_with_their_own_schemas_where_the_script_lists_them() -> None:
    offered = body(caller(tools=[{"name": "transferCall"}, {"name": "endCall"}]).ask("Hello?"))["tools"]
    assert offered[0]["function"]["parameters"]["required"] == ["destination"]
    assert offered[1]["function"]["description"] == "End the call."


def test_only_a_request_whose_connection_died_counts_as_a_retry() -> None:
    platform = caller()
    first = platform.ask("Hello?")
    assert platform.repeat(after_loss=False) == first
    assert platform.repeat(after_loss=True).headers == {**first.headers, "x-stainless-retry-count": "1"}
