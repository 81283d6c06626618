"""Requests for structured output: a program reads the answer, so it never gets the gateway's own words."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.support.asgi import RecordedResponse, send_request
from tests.support.chat_lint import lint_failed
from tests.support.fake_agent import Step, fake_agent
from tests.support.gateway import create_gateway
from tests.support.responses_lint import lint, spoken_text
from voicegw.errors import AgentBusy, AgentProtocolError, AgentTimeout, AgentUnavailable
from voicegw.events import Activity, ToolCall
from voicegw.turns.phrases import PHRASES

SCHEMA = {"name": "place", "schema": {"type": "object"}}
CHAT: dict[str, Any] = {
    "path": "/v1/chat/completions",
    "body": {"messages": [{"role": "user", "content": "Where?"}], "response_format": {"type": "json_object"}},
}
CHAT_SCHEMA: dict[str, Any] = {
    **CHAT,
    "body": {**CHAT["body"], "response_format": {"type": "json_schema", "json_schema": SCHEMA}},
}
TASK: dict[str, Any] = {
    **CHAT,
    "body": {"messages": [{"role": "user", "content": "### Task: make a title"}]},
}
RESPONSES: dict[str, Any] = {
    "path": "/v1/responses",
    "body": {"input": "Where?", "text": {"format": {"type": "json_object"}}},
}
RESPONSES_SCHEMA: dict[str, Any] = {
    **RESPONSES,
    "body": {"input": "Where?", "text": {"format": {"type": "json_schema", **SCHEMA}}},
}
REQUESTS = [CHAT, CHAT_SCHEMA, TASK, RESPONSES, RESPONSES_SCHEMA]
CHATTY = {"ack": {"after": 0, "every": 1.0}}
"""An agent with an acknowledgement at once and a progress phrase each second."""
TOOLS = [{"type": "function", "name": "find", "function": {"name": "find", "parameters": {"type": "object"}}}]
PHRASE_WORDS = [
    *PHRASES["en"].ack,
    *PHRASES["en"].progress,
    PHRASES["en"].failure,
    PHRASES["en"].busy,
    PHRASES["en"].shutdown,
]


async def send(
    request: dict[str, Any],
    *steps: Step,
    stream: bool = True,
    more: dict[str, Any] | None = None,
    **sections: Any,
) -> RecordedResponse:
    app = create_gateway(fake_agent(*steps), **{"agent_section": CHATTY, **sections})
    body = {**request["body"], "stream": stream, **(more or {})}
    answer = await send_request(app, body, path=request["path"])
    assert not any(words in answer.body.decode() for words in PHRASE_WORDS)
    return answer


def parse_text(answer: RecordedResponse) -> str:
    return answer.text if b"chat.completion" in answer.body else spoken_text(answer.body)


def parse_error(answer: RecordedResponse) -> str:
    """Assert that the stream ends with an error; return its message."""
    if b"event: response" in answer.body:
        failed = lint(answer.body)[-1]
        assert failed["type"] == "response.failed"
        assert failed["response"]["error"]["code"] == "server_error"
        return str(failed["response"]["error"]["message"])
    return str(lint_failed(answer.body)["message"])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ((AgentUnavailable("refused"),), 502),
        ((0.3, AgentTimeout("late")), 504),
        ((0.3, AgentBusy("full")), 503),
        ((0.3, ValueError("bug")), 502),
        ((0.3,), 502),
        (('{"city":', AgentProtocolError("cut")), 502),
    ],
)
async def test_a_failure_before_the_first_byte_is_a_status(
    request_: dict[str, Any], stream: bool, steps: tuple[Step, ...], status: int
) -> None:
    answer = await send(request_, *steps, stream=stream)
    assert (answer.status, answer.error["type"]) == (status, "server_error")


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (AgentProtocolError("cut"), AgentProtocolError.public),
        (AgentBusy("full"), AgentBusy.public),
        (ValueError("secret"), "The agent failed."),
    ],
)
async def test_a_failure_after_the_first_byte_is_an_error_event(
    request_: dict[str, Any], failure: Exception, message: str
) -> None:
    answer = await send(request_, '{"city": "Par', 0.3, failure)
    assert (answer.status, parse_text(answer), answer.ended) == (200, '{"city": "Par', True)
    assert parse_error(answer) == message
    assert b"secret" not in answer.body


@pytest.mark.parametrize("request_", [CHAT, RESPONSES])
async def test_a_failure_after_a_tool_call_is_an_error_event(request_: dict[str, Any]) -> None:
    steps = (ToolCall("c", "find"), 0.3, AgentTimeout("late"))
    answer = await send(request_, *steps, more={"tools": TOOLS})
    assert parse_error(answer) == AgentTimeout.public


@pytest.mark.parametrize("request_", REQUESTS)
async def test_a_long_silence_gets_keepalives_and_then_an_error_event(request_: dict[str, Any]) -> None:
    answer = await send(request_, 9.0, AgentTimeout("late"))
    assert [when for when, data in answer.sends if data == b": keep-alive\n\n"] == [8.0]
    assert answer.sends[0][0] == 4.0, "a failure before would have been a status"
    assert (parse_text(answer), parse_error(answer)) == ("", AgentTimeout.public)


@pytest.mark.parametrize("request_", REQUESTS)
async def test_long_work_gets_no_progress_phrases(request_: dict[str, Any]) -> None:
    answer = await send(request_, 3.0, Activity("search"), 3.0, '{"city": ', 3.0, '"Paris"}')
    assert json.loads(parse_text(answer)) == {"city": "Paris"}


@pytest.mark.parametrize("request_", REQUESTS)
async def test_a_failure_as_status_waits_for_the_agent_without_limit(request_: dict[str, Any]) -> None:
    answer = await send(
        request_,
        9.0,
        AgentTimeout("late"),
        turns={"on_failure": "status"},
        agent_section={"ack": {"after": 0.5}},
    )
    assert (answer.status, answer.sends[0][0]) == (504, 9.0)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("request_", REQUESTS)
async def test_a_busy_gateway_answers_with_a_status_and_no_sentence(
    request_: dict[str, Any], stream: bool
) -> None:
    app = create_gateway(fake_agent(5.0, "{}"), limits={"concurrent_turns": 1, "busy": "speak"})
    body = {**request_["body"], "stream": stream}
    first = asyncio.create_task(send_request(app, body, path=request_["path"]))
    await asyncio.sleep(1)
    answer = await send_request(app, body, path=request_["path"])
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    await first


@pytest.mark.parametrize("when", [0.0, 2.0, 4.0, 7.0])
@pytest.mark.parametrize("request_", [CHAT, RESPONSES])
async def test_a_client_that_disconnects_stops_the_agent_at_once(
    request_: dict[str, Any], when: float
) -> None:
    agent = fake_agent(60.0)
    body = {**request_["body"], "stream": True}
    await send_request(create_gateway(agent), body, path=request_["path"], hang_up=when)
    await asyncio.sleep(0.001)
    assert agent.close_times == agent.start_times if when == 0 else agent.close_times == [when]
