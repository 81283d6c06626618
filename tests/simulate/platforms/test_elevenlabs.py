"""ElevenLabs' requests are those of its documentation, and its checklist finds every flaw."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulate.desk import CHAT_FLAWS, EVERYTHING, KEY, URL, Broken, broken, headless, replaced, states
from tests.simulate.poststage import poststage
from tests.support.gateway import gateway
from tests.support.script import script as agent
from voicegw.simulate.http_platform import PlatformRequest
from voicegw.simulate.http_runner import HttpRunner
from voicegw.simulate.platforms.elevenlabs import SYSTEM_TOOLS, SimulatedElevenLabs
from voicegw.simulate.script import CallScript

FLAWS = {
    **CHAT_FLAWS,
    "joins": Broken(replaced(b'" in Rome', b'"in Rome')),
    "before-cascade": Broken(headless(1.6), frozenset({"first-words"})),
}


def caller(**tables: Any) -> SimulatedElevenLabs:
    script = CallScript.model_validate({"turns": [{"say": "Hello?"}], **tables})
    return SimulatedElevenLabs(script, URL, secret=KEY, call_id="conv_1")


def body(request: PlatformRequest) -> dict[str, Any]:
    found = json.loads(request.body)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("item", [check.item for check in SimulatedElevenLabs.checks])
async def test_a_flaw_breaks_its_entry_of_the_checklist_and_no_other(item: str) -> None:
    flawed = FLAWS[item]
    assert broken(SimulatedElevenLabs, await flawed.play(SimulatedElevenLabs)) == {item} | flawed.also


def test_there_is_no_flaw_without_an_entry() -> None:
    assert FLAWS.keys() == {check.item for check in SimulatedElevenLabs.checks}


async def test_our_gateway_holds_the_whole_checklist() -> None:
    tape = await Broken().play(SimulatedElevenLabs)
    assert tape.failure == ""
    assert set(states(SimulatedElevenLabs, tape).values()) == {"held"}
    assert tape.forged_status == 401
    assert [turn.outcome for turn in tape.turns] == [
        *("answered", "answered", "answered", "stopped", "stopped"),
        *("answered", "answered", "answered", "hung up"),
    ]
    assert len(tape.turns) == len(EVERYTHING.turns) - 1  # there are no keys to press


async def test_the_times_of_an_acknowledged_answer_are_exact() -> None:
    script = CallScript.model_validate({"turns": [{"say": "Hello?"}, {"say": "And?", "wait": 1.0}]})
    app = gateway(agent(2.0, "Good day."), desk={"dialect": "elevenlabs"})
    tape = await HttpRunner(SimulatedElevenLabs(script, URL), script, poststage(app)).run()
    first, second = tape.turns
    assert first.texts == [(0.0, "One moment... "), (2.0, "Good day.")]
    assert (first.ack_delay, first.answer_delay, first.longest_silence, first.end_times) == (0.0, 2.0, 2.0, [2.0])
    assert second.texts == [(3.0, "Let me see... "), (5.0, "Good day.")]
    assert states(SimulatedElevenLabs, tape, script)["joins"] == "held"
    assert tape.connected_at == 0.0


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
def test_the_path_is_added_unless_it_is_there(entered: str, address: str) -> None:
    assert caller().build_url(entered) == address


def test_a_question_is_what_the_documentation_shows() -> None:
    request = caller(greeting="Good morning.").ask("Hello?")
    assert request.url == f"{URL}/chat/completions"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["X-Voicegw-Call"] == "conv_1"
    assert request.headers["x-stainless-retry-count"] == "0"
    assert body(request) == {
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


def test_its_own_tools_are_offered_with_their_own_schemas_where_the_script_lists_them() -> None:
    names = [*SYSTEM_TOOLS, "weather"]
    offered = body(caller(tools=[{"name": name} for name in names]).ask("Hello?"))["tools"]
    assert [tool["function"]["name"] for tool in offered] == names
    assert offered[0]["function"]["parameters"]["required"] == ["reason"]
    assert offered[-1]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_a_repeated_request_is_the_same_but_for_its_retry_count() -> None:
    platform = caller()
    first = platform.ask("Hello?")
    for again in (platform.repeat(after_loss=False), platform.repeat(after_loss=True)):
        assert again.body == first.body
        assert again.headers == {**first.headers, "x-stainless-retry-count": "1"}


def test_without_a_mapped_header_no_call_is_named() -> None:
    platform = SimulatedElevenLabs(caller().script, URL, call_header="")
    assert not [name for name in platform.ask("Hello?").headers if "call" in name.lower()]


async def test_dots_without_a_space_glue_what_follows_though_that_begins_with_one() -> None:
    tape = await Broken(replaced(b"sunny,", b"sunny...")).play(SimulatedElevenLabs)
    assert broken(SimulatedElevenLabs, tape) == {"joins"}
    tape = await Broken(replaced(b"sunny,", b"sunny... ")).play(SimulatedElevenLabs)
    assert broken(SimulatedElevenLabs, tape) == set()
