"""Turns of one call share a run, replay it or supersede it; the client is the official OpenAI SDK."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from openai import APITimeoutError, AsyncOpenAI, OpenAI, UnprocessableEntityError

from tests.e2e.server import TIMEOUT, Server, wait_until
from voicegw.calls.codec import ACTIONS
from voicegw.turns.acknowledgement import SYSTEM_TOOLS

pytestmark = pytest.mark.wire

DISCONNECT_GRACE = 5.0
CONFIG = f"""
turns.disconnect_grace = {DISCONNECT_GRACE}

[agents.gated]
kind = "python"
target = "agents:gated"
options = {{ folder = "FOLDER" }}
ack.after = "off"

[agents.slow]
kind = "python"
target = "agents:slow"
options = {{ folder = "FOLDER" }}
ack.after = "off"

[agents.unreachable]
kind = "openai"
url = "http://127.0.0.1:1/v1"
fallback = ["echo"]
ack.after = 0

[agents.no_first_token]
kind = "scripted"
script = "role_only"
first_token = 0.3
idempotent = true
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


def record_run(turn, folder):
    """Add a line for this run to the file that the user's text names; return the number of lines."""
    with Path(folder, turn.said).open("a+") as runs:
        print(turn.id, file=runs)
        runs.seek(0)
        return len(runs.readlines())


async def gated(turn, folder):
    try:
        yield f"Run {record_run(turn, folder)}"
        while not Path(folder, f"{turn.said}.go").exists():
            await asyncio.sleep(0.01)
        yield " is over."
    finally:
        Path(folder, f"{turn.said}.closed").touch()


async def slow(turn, folder):
    record_run(turn, folder)
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
    with OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0, timeout=TIMEOUT) as sdk:
        yield sdk


@pytest.fixture
def call_headers(request: pytest.FixtureRequest) -> dict[str, str]:
    """Headers with a call ID that only this test uses."""
    return {"x-voicegw-call": request.node.name}


def user_messages(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def finish_reasons(chunks: list[Any]) -> list[str]:
    return [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason]


def next_text(stream: Iterator[Any]) -> str:
    """Return the next text of a stream; chunks without text are skipped."""
    return str(next(filter(None, (chunk.choices[0].delta.content for chunk in stream))))


def count_runs(server: Server, name: str) -> int:
    """Return how many runs the agent recorded in the file `name`."""
    path = Path(server.folder, name)
    return len(path.read_text().splitlines()) if path.exists() else 0


async def collect_stream(sdk: AsyncOpenAI, delay: float, **options: Any) -> list[Any]:
    """Wait `delay` seconds, request a stream, and return all its chunks."""
    await asyncio.sleep(delay)
    stream: AsyncIterator[Any] = await sdk.chat.completions.create(stream=True, **options)
    async with aclosing(stream) as chunks:  # type: ignore[type-var]
        return [chunk async for chunk in chunks]


async def test_identical_requests_share_one_run_and_each_gets_the_whole_answer(
    server: Server, call_headers: dict[str, str]
) -> None:
    options = {"model": "gated", "messages": user_messages("twice"), "extra_headers": call_headers}
    go = Path(server.folder, "twice.go")
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", timeout=TIMEOUT) as sdk:
        streams = asyncio.gather(collect_stream(sdk, 0, **options), collect_stream(sdk, 0.1, **options))
        await asyncio.to_thread(wait_until, lambda: server.metric("voicegw_turns_running") == 2)
        await asyncio.to_thread(go.touch)
        answers = await streams
    assert [text_of(answer) for answer in answers] == ["Run 1 is over."] * 2
    assert [finish_reasons(answer) for answer in answers] == [["stop"]] * 2
    assert count_runs(server, "twice") == 1


def test_reconnect_within_the_disconnect_grace_replays_the_answer_so_far(
    server: Server, sdk: OpenAI, call_headers: dict[str, str]
) -> None:
    def request_stream() -> Any:
        return sdk.chat.completions.create(
            model="gated", messages=user_messages("back"), stream=True, extra_headers=call_headers
        )

    with request_stream() as stream:
        assert next_text(stream) == "Run 1"
    wait_until(lambda: server.metric("voicegw_turns_running") == 0)
    with request_stream() as stream:
        assert next_text(stream) == "Run 1", (
            "the first request started the run, and the agent waits for the file"
        )
        Path(server.folder, "back.go").touch()
        assert text_of(list(stream)) == " is over."
    assert count_runs(server, "back") == 1


@pytest.mark.parametrize("header", ["X-Voicegw-Call", "Idempotency-Key"])
def test_retry_after_a_client_timeout_gets_the_answer_of_the_first_request(
    server: Server, sdk: OpenAI, header: str
) -> None:
    answer = sdk.with_options(timeout=1.0, max_retries=2).chat.completions.create(
        model="slow", messages=user_messages(f"slow-{header}"), extra_headers={header: "slow-1"}
    )
    assert answer.choices[0].message.content == "Here."
    assert count_runs(server, f"slow-{header}") == 1


def test_retry_of_a_request_that_names_no_call_is_a_run_of_its_own(server: Server, sdk: OpenAI) -> None:
    with pytest.raises(APITimeoutError):
        sdk.with_options(timeout=1.0, max_retries=1).chat.completions.create(
            model="slow", messages=user_messages("anonymous")
        )
    assert count_runs(server, "anonymous") == 2


def test_another_request_with_the_same_idempotency_key_is_refused(sdk: OpenAI) -> None:
    options: dict[str, Any] = {"model": "echo", "extra_headers": {"Idempotency-Key": "same"}}
    sdk.chat.completions.create(messages=user_messages("One"), **options)
    with pytest.raises(UnprocessableEntityError, match="repeat that request unchanged"):
        sdk.chat.completions.create(messages=user_messages("Two"), **options)


@pytest.mark.parametrize("model", ["unreachable", "no_first_token"])
def test_fallback_answers_without_an_apology_when_the_agent_fails(sdk: OpenAI, model: str) -> None:
    answer = list(sdk.chat.completions.create(model=model, messages=user_messages("Hello?"), stream=True))
    assert (text_of(answer), finish_reasons(answer)) == ("One moment. Hello?", ["stop"])
    completion = sdk.chat.completions.create(model=model, messages=user_messages("Hello?"))
    assert completion.choices[0].message.content == "Hello?"


def test_newer_turn_ends_the_older_stream_with_a_finish_reason(
    server: Server, sdk: OpenAI, call_headers: dict[str, str]
) -> None:
    older, newer = (
        sdk.chat.completions.create(
            model="gated", messages=user_messages(name), stream=True, extra_headers=call_headers
        )
        for name in ("older", "newer")
    )
    Path(server.folder, "newer.go").touch()
    with older, newer:
        assert text_of(list(newer)) == "Run 1 is over."
        superseded = list(older)
    assert ("Run 1".startswith(text_of(superseded)), finish_reasons(superseded)) == (True, ["length"])
    wait_until(Path(server.folder, "older.closed").exists)
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
"""ElevenLabs' system tools as its requests offer them: properties, required keys; and the user's text."""
JSON_TYPES = {"string": str, "integer": int}


def matches_schema(arguments: Mapping[str, Any], properties: Mapping[str, Any], required: list[str]) -> bool:
    """Do these arguments match the schema of the request?"""
    if not set(required) <= arguments.keys() <= properties.keys():
        return False
    return all(
        type(value) is JSON_TYPES[schema["type"]]
        and value in schema.get("enum", [value])
        and schema.get("minimum", value) <= value <= schema.get("maximum", value)
        and re.search(schema.get("pattern", ""), str(value)) is not None
        for value, schema in ((value, properties[name]) for name, value in arguments.items())
    )


def test_all_system_tools_of_elevenlabs_are_tried() -> None:
    assert TOOLS.keys() | {*ACTIONS} == SYSTEM_TOOLS | {"skip_turn"}


@pytest.mark.parametrize("name", TOOLS)
def test_system_tool_call_and_its_result_make_the_round_trip(
    sdk: OpenAI, call_headers: dict[str, str], name: str
) -> None:
    properties, required, user_text = TOOLS[name]
    parameters = {"type": "object", "properties": properties, "required": required}
    tools: Any = [{"type": "function", "function": {"name": name, "parameters": parameters}}]
    messages = [{"role": "system", "content": "You are on the phone."}, *user_messages(user_text)]
    with sdk.chat.completions.stream(
        model="tool", messages=messages, tools=tools, extra_headers=call_headers
    ) as stream:
        [choice] = stream.get_final_completion().choices
    [tool_call] = choice.message.tool_calls or []
    assert (choice.finish_reason, tool_call.function.name) == ("tool_calls", name)
    assert matches_schema(json.loads(tool_call.function.arguments), properties, required)
    text = "" if name == "skip_turn" else "One moment... "
    assert (choice.message.content or "") == text, (
        "the acknowledgement precedes every tool call except skip_turn"
    )
    result: Any = {
        "role": "tool",
        "tool_call_id": tool_call.id,
        "content": '{"status":"success","reason":"Done"}',
    }
    history = [*messages, choice.message.model_dump(exclude_none=True), result]
    final = list(
        sdk.chat.completions.create(
            model="tool", messages=history, tools=tools, stream=True, extra_headers=call_headers
        )
    )
    assert (text_of(final), finish_reasons(final)) == ("Here is what I found: reason Done.", ["stop"])
