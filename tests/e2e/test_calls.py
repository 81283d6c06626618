"""Turns of one call join, replay and supersede each other, as the official SDK sees it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.server import PATIENCE, Server, eventually
from voicegw.calls.codec import ACTIONS
from voicegw.turns.acknowledgement import SYSTEM_TOOLS

pytestmark = pytest.mark.wire

GRACE = 5.0
CONFIG = f"""
turns.disconnect_grace = {GRACE}

[agents.clerk]
kind = "python"
target = "agents:clerk"
options = {{ folder = "FOLDER" }}
ack.after = "off"

[agents.slow]
kind = "python"
target = "agents:slow"
options = {{ folder = "FOLDER" }}
ack.after = "off"

[agents.away]
kind = "openai"
url = "http://127.0.0.1:1/v1"
fallback = ["echo"]
ack.after = 0

[agents.late]
kind = "scripted"
script = "role_only"
first_token = 0.3
repeatable = true
fallback = ["echo"]

[agents.echo]
kind = "scripted"
script = "echo"

[agents.tool]
kind = "scripted"
script = "tool"
dialect = "elevenlabs"
"""
AGENTS = '''
import asyncio
from pathlib import Path


def begun(turn, folder):
    """Write a line for this run into the file that the caller names; how many there are now."""
    with Path(folder, turn.said).open("a+") as runs:
        print(turn.id, file=runs)
        runs.seek(0)
        return len(runs.readlines())


async def clerk(turn, folder):
    try:
        yield f"Run {begun(turn, folder)}"
        while not Path(folder, f"{turn.said}.go").exists():
            await asyncio.sleep(0.01)
        yield " is over."
    finally:
        Path(folder, f"{turn.said}.closed").touch()


async def slow(turn, folder):
    begun(turn, folder)
    await asyncio.sleep(1.7)
    yield "Here."
'''


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("calls")
    with Server(folder, CONFIG.replace("FOLDER", str(folder)), agents=AGENTS) as server:
        yield server


@pytest.fixture
def sdk(server: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0, timeout=PATIENCE) as sdk:
        yield sdk


@pytest.fixture
def call(request: pytest.FixtureRequest) -> dict[str, str]:
    """Headers that name a call of this test's own."""
    return {"x-voicegw-call": request.node.name}


def say(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def words(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def reasons(chunks: list[Any]) -> list[str]:
    return [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason]


def spoken(stream: Iterator[Any]) -> str:
    """The next words of a stream, however many chunks without any come before."""
    return str(next(filter(None, (chunk.choices[0].delta.content for chunk in stream))))


def runs(server: Server, name: str) -> int:
    """How often the agent was asked in this test."""
    path = Path(server.folder, name)
    return len(path.read_text().splitlines()) if path.exists() else 0


async def heard(sdk: AsyncOpenAI, after: float, **options: Any) -> list[Any]:
    """All chunks of a stream that is asked for a little later."""
    await asyncio.sleep(after)
    stream: AsyncIterator[Any] = await sdk.chat.completions.create(stream=True, **options)
    async with aclosing(stream) as chunks:  # type: ignore[type-var]
        return [chunk async for chunk in chunks]


async def test_two_identical_requests_are_one_run_and_two_full_answers(
    server: Server, call: dict[str, str]
) -> None:
    asked = {"model": "clerk", "messages": say("twice"), "extra_headers": call}
    go = Path(server.folder, "twice.go")
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", timeout=PATIENCE) as sdk:
        both = asyncio.gather(heard(sdk, 0, **asked), heard(sdk, 0.1, **asked))
        await asyncio.to_thread(eventually, lambda: server.count("voicegw_turns_running") == 2)
        await asyncio.to_thread(go.touch)
        answers = await both
    assert [words(answer) for answer in answers] == ["Run 1 is over."] * 2
    assert [reasons(answer) for answer in answers] == [["stop"]] * 2
    assert runs(server, "twice") == 1


def test_who_comes_back_within_the_grace_hears_at_once_what_was_said(
    server: Server, sdk: OpenAI, call: dict[str, str]
) -> None:
    def ask() -> Any:
        return sdk.chat.completions.create(
            model="clerk", messages=say("back"), stream=True, extra_headers=call
        )

    with ask() as stream:
        assert spoken(stream) == "Run 1"
    eventually(lambda: server.count("voicegw_turns_running") == 0)
    with ask() as stream:
        assert spoken(stream) == "Run 1", "the agent said it to the first one, and waits"
        Path(server.folder, "back.go").touch()
        assert words(list(stream)) == " is over."
    assert runs(server, "back") == 1


@pytest.mark.parametrize("named", [True, False])
def test_the_retry_of_an_impatient_client_gets_the_answer_to_its_first_try(
    server: Server, sdk: OpenAI, call: dict[str, str], named: bool
) -> None:
    answer = sdk.with_options(timeout=1.0, max_retries=2).chat.completions.create(
        model="slow", messages=say(f"slow-{named}"), extra_headers=call if named else {}
    )
    assert answer.choices[0].message.content == "Here."
    assert runs(server, f"slow-{named}") == 1


@pytest.mark.parametrize("model", ["away", "late"])
def test_an_agent_that_fails_is_replaced_and_nobody_hears_it(sdk: OpenAI, model: str) -> None:
    answer = list(sdk.chat.completions.create(model=model, messages=say("Hello?"), stream=True))
    assert (words(answer), reasons(answer)) == ("One moment. Hello?", ["stop"])
    whole = sdk.chat.completions.create(model=model, messages=say("Hello?"))
    assert whole.choices[0].message.content == "Hello?"


def test_a_newer_turn_ends_the_older_stream_well_formed(
    server: Server, sdk: OpenAI, call: dict[str, str]
) -> None:
    older, newer = (
        sdk.chat.completions.create(model="clerk", messages=say(name), stream=True, extra_headers=call)
        for name in ("older", "newer")
    )
    Path(server.folder, "newer.go").touch()
    with older, newer:
        assert words(list(newer)) == "Run 1 is over."
        cut = list(older)
    assert ("Run 1".startswith(words(cut)), reasons(cut)) == (True, ["stop"])
    eventually(Path(server.folder, "older.closed").exists)
    assert not Path(server.folder, "older.go").exists()


REASON = {"reason": {"type": "string"}}
TOOLS: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "end_call": ({**REASON, "message": {"type": "string"}}, ["reason"], "Goodbye!"),
    "language_detection": (
        {**REASON, "language": {"type": "string", "enum": ["es", "de"]}},
        ["reason", "language"],
        "Hablo español.",
    ),
    "transfer_to_agent": (
        {**REASON, "agent_number": {"type": "integer", "minimum": 0, "maximum": 1}},
        ["agent_number"],
        "Agent 1, please.",
    ),
    "transfer_to_number": (
        {
            **REASON,
            "transfer_number": {"type": "string", "enum": ["+15550100"]},
            "client_message": {"type": "string"},
            "agent_message": {"type": "string"},
        },
        ["transfer_number", "client_message", "agent_message"],
        "A human, please.",
    ),
    "skip_turn": (REASON, [], "Give me a second."),
    "play_keypad_touch_tone": (
        {**REASON, "dtmf_tones": {"type": "string", "pattern": "^[0-9*#wW]+$"}},
        ["dtmf_tones"],
        "1w2#",
    ),
    "voicemail_detection": (REASON, [], "Please leave a message after the tone."),
}
"""ElevenLabs' system tools as its requests offer them: properties, what is required; and what is said."""
KINDS = {"string": str, "integer": int}


def fits(arguments: Mapping[str, Any], properties: Mapping[str, Any], required: list[str]) -> bool:
    """Are these arguments what the request's schema asks for?"""
    if not set(required) <= arguments.keys() <= properties.keys():
        return False
    return all(
        type(value) is KINDS[schema["type"]]
        and value in schema.get("enum", [value])
        and schema.get("minimum", value) <= value <= schema.get("maximum", value)
        and re.search(schema.get("pattern", ""), str(value)) is not None
        for value, schema in ((value, properties[name]) for name, value in arguments.items())
    )


def test_the_tools_are_those_that_we_know() -> None:
    assert TOOLS.keys() | {*ACTIONS} == SYSTEM_TOOLS | {"skip_turn"}


@pytest.mark.parametrize("name", TOOLS)
def test_a_system_tool_makes_the_round_trip(sdk: OpenAI, call: dict[str, str], name: str) -> None:
    properties, required, said = TOOLS[name]
    parameters = {"type": "object", "properties": properties, "required": required}
    tools: Any = [{"type": "function", "function": {"name": name, "parameters": parameters}}]
    asked = [{"role": "system", "content": "You are on the phone."}, *say(said)]
    with sdk.chat.completions.stream(model="tool", messages=asked, tools=tools, extra_headers=call) as stream:
        [choice] = stream.get_final_completion().choices
    [made] = choice.message.tool_calls or []
    assert (choice.finish_reason, made.function.name) == ("tool_calls", name)
    assert fits(json.loads(made.function.arguments), properties, required)
    before = "" if name == "skip_turn" else "One moment... "
    assert (choice.message.content or "") == before, "speech goes before a tool, and never before skip_turn"
    result: Any = {"role": "tool", "tool_call_id": made.id, "content": '{"status":"success","reason":"Done"}'}
    history = [*asked, choice.message.model_dump(exclude_none=True), result]
    final = list(
        sdk.chat.completions.create(
            model="tool", messages=history, tools=tools, stream=True, extra_headers=call
        )
    )
    assert (words(final), reasons(final)) == ("Here is what I found: reason Done.", ["stop"])
