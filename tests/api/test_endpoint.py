"""Chat completions over HTTP on the virtual clock: the times of all chunks, and the refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.types import ASGIApp

from tests.support.asgi import RecordedResponse
from tests.support.chat_lint import lint
from tests.support.fake_agent import FakeAgent, Step, fake_agent
from tests.support.gateway import CHAT_REQUEST, create_gateway, send_request, send_turn
from voicegw.api.chat_response import ChunkEncoder
from voicegw.api.turn_request import TurnRequest
from voicegw.errors import AgentBusy, AgentProtocolError, AgentTimeout, AgentUnavailable
from voicegw.events import Activity, Event, Finish, ToolCall, Turn, Usage
from voicegw.security.keys import hash_secret
from voicegw.turns.phrases import PHRASES

SORRY = PHRASES["en"].failure
KEY = "vgw_secret"
KEYS = {"shop": {"hash": f"sha256:{hash_secret(KEY).hex()}"}}
BEARER = {"authorization": f"Bearer {KEY}"}
WEATHER = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
END_CALL = [{"type": "function", "function": {"name": "end_call"}}]


def ack_after(seconds: float | str) -> dict[str, Any]:
    return {"ack": {"after": seconds}}


async def test_the_first_chunk_is_sent_before_the_agent_is_asked() -> None:
    answer = RecordedResponse()
    seen: list[str] = []

    class Curious(FakeAgent):
        async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
            seen.append(answer.text)
            yield "Hi"

    await send_turn(create_gateway(Curious()), response=answer)
    assert seen == ["One moment. "]
    assert answer.text == "One moment. Hi"


@pytest.mark.parametrize(
    ("desk", "body", "steps", "heard"),
    [
        (ack_after(0), {}, (0.3, "Hi"), [(0.0, "One moment. "), (0.3, "Hi")]),
        (ack_after(0.5), {}, (0.3, "Hi"), [(0.3, "Hi")]),
        (ack_after(0.5), {}, (0.8, "Hi"), [(0.5, "One moment. "), (0.8, "Hi")]),
        (ack_after("off"), {}, (9.0, "Hi"), [(9.0, "Hi")]),
        (ack_after(0), {"tools": WEATHER}, (0.3, "Hi"), [(0.3, "Hi")]),
        (ack_after(0), {"tools": WEATHER}, (0.8, "Hi"), [(0.7, "One moment. "), (0.8, "Hi")]),
        (ack_after(0), {"tools": END_CALL}, (0.3, "Hi"), [(0.0, "One moment. "), (0.3, "Hi")]),
        (ack_after(0), {"response_format": {"type": "json_object"}}, (0.3, "{}"), [(0.3, "{}")]),
        ({**ack_after(0), "dialect": "chat"}, {}, (0.3, "Hi"), [(0.3, "Hi")]),
        ({**ack_after(0), "dialect": "elevenlabs"}, {}, (0.3, "Hi"), [(0.0, "One moment... "), (0.3, "Hi")]),
        ({**ack_after(0), "language": "de"}, {}, (0.3, "Ja"), [(0.0, "Einen Moment. "), (0.3, "Ja")]),
        (ack_after(0), {"elevenlabs_extra_body": {"language": "fr"}}, (0.3, "Oui"),
         [(0.0, "Un instant. "), (0.3, "Oui")]),
        (ack_after(0.5), {}, (0.2, Activity("bash"), 0.6, "Hi"), [(0.5, "One moment. "), (0.8, "Hi")]),
        (ack_after(0), {}, (0.3, "k", 0.1, "l", "m", 0.1, "n"),
         [(0.0, "One moment. "), (0.3, "k"), (0.4, "lm"), (0.5, "n")]),
        (ack_after(0), {}, (0.3, AgentTimeout("late")), [(0.0, "One moment. "), (0.3, SORRY)]),
        (ack_after(0), {}, (0.3, "Well", 0.1, ValueError("x")),
         [(0.0, "One moment. "), (0.3, "Well"), (0.4, "... " + SORRY)]),
        (ack_after(0), {}, (1.0,), [(0.0, "One moment. "), (1.0, SORRY)]),
        (ack_after(0), {}, (1.0, AgentBusy("full")), [(0.0, "One moment. "), (1.0, PHRASES["en"].busy)]),
    ],
)  # fmt: skip
async def test_a_caller_hears(
    desk: dict[str, Any], body: dict[str, Any], steps: tuple[Step, ...], heard: list[tuple[float, str]]
) -> None:
    answer = await send_turn(create_gateway(fake_agent(*steps), agent_section=desk), body)
    assert [(round(when, 9), text) for when, text in answer.texts] == heard
    assert (answer.status, answer.finish_reason) == (200, "stop")
    lint(answer.body)


async def test_the_role_chunk_is_always_sent_at_once() -> None:
    answer = await send_turn(create_gateway(fake_agent(1.0, "Hi"), agent_section=ack_after("off")))
    when, [first] = answer.timeline[0]
    assert when == 0.0
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}


async def test_finish_and_done_and_the_end_of_the_body_leave_in_one_write() -> None:
    answer = await send_turn(create_gateway(fake_agent("Hi", 0.5, " there", 0.5, Finish("length"))))
    when, last = answer.sends[-1]
    assert when == 1.0
    assert last.endswith(b"data: [DONE]\n\n")
    assert b'"finish_reason":"length"' in last
    assert answer.ended


async def test_a_silent_stream_gets_keepalive_comments() -> None:
    answer = await send_turn(create_gateway(fake_agent(13.0, "Hi")))
    assert [when for when, data in answer.sends if data == b": keep-alive\n\n"] == [4.0, 8.0, 12.0]
    lint(answer.body)


async def test_usage_is_sent_on_request() -> None:
    agent = fake_agent("Hi", Usage(5, 2, 1, 0))
    with_usage = await send_turn(create_gateway(agent), {"stream_options": {"include_usage": True}})
    assert lint(with_usage.body, usage=True)[-1]["usage"]["total_tokens"] == 7
    lint((await send_turn(create_gateway(agent))).body)


async def test_a_tool_call_is_streamed_whole_without_acknowledgement() -> None:
    call = ToolCall("call_1", "weather", '{"city":"Paris"}')
    answer = await send_turn(
        create_gateway(fake_agent(0.6, call), agent_section=ack_after(0)), {"tools": WEATHER}
    )
    [delta] = [d for c in answer.chunks if (d := c["choices"][0]["delta"]).get("tool_calls")]
    assert delta["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Paris"}'}
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")
    lint(answer.body)


async def test_a_tool_result_gets_no_acknowledgement() -> None:
    history = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "rain"},
    ]  # fmt: skip
    answer = await send_turn(
        create_gateway(fake_agent(2.0, "Rain.")), {"messages": history, "tools": WEATHER}
    )
    assert answer.texts == [(2.0, "Rain.")]


async def test_the_agent_gets_the_whole_turn() -> None:
    agent = fake_agent("Hi")
    app = create_gateway(agent, keys=KEYS)
    body = {"model": "gpt-4o", "temperature": 0.1, "user_id": "u", "tools": WEATHER, "tool_choice": "auto"}
    answer = await send_turn(app, body, headers=BEARER)
    [turn] = agent.turns
    assert (turn.model, turn.tenant, turn.said, turn.tool_choice) == ("gpt-4o", "shop", "Hello?", "auto")
    assert (dict(turn.options), dict(turn.extra)) == ({"temperature": 0.1}, {"user_id": "u"})
    assert [tool.name for tool in turn.tools] == ["weather"]
    assert {chunk["model"] for chunk in answer.chunks} == {"gpt-4o"}, "the requested name is echoed"
    assert {chunk["id"] for chunk in answer.chunks} == {f"chatcmpl-{turn.id}"}


async def test_a_response_without_stream_has_no_own_words() -> None:
    agent = fake_agent(0.3, "Hi", " there", Activity("x"), ToolCall("c", "weather"), Usage(5, 2))
    answer = await send_turn(create_gateway(agent), {"stream": False, "tools": WEATHER})
    [choice] = answer.json["choices"]
    assert choice["message"]["content"] == "Hi there"
    assert [call["id"] for call in choice["message"]["tool_calls"]] == ["c"]
    assert (choice["finish_reason"], answer.json["usage"]["total_tokens"]) == ("tool_calls", 7)
    assert (answer.headers["content-type"], answer.json["model"]) == ("application/json", "desk")


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "*/*"])
async def test_the_body_and_not_the_accept_header_chooses_a_stream(accept: str) -> None:
    streamed = await send_turn(create_gateway(fake_agent("Hi")), headers={"accept": accept})
    whole = await send_turn(create_gateway(fake_agent("Hi")), {"stream": False}, headers={"accept": accept})
    assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert whole.headers["content-type"] == "application/json"


async def test_stream_headers_keep_proxies_from_buffering() -> None:
    headers = (await send_turn(create_gateway(fake_agent("Hi")))).headers
    assert (headers["x-accel-buffering"], headers["cache-control"]) == ("no", "no-cache")
    assert not headers.keys() & {"content-length", "content-encoding"}


@pytest.mark.parametrize(
    ("steps", "status", "code"),
    [
        ((AgentUnavailable("refused"),), 502, None),
        ((AgentTimeout("late"),), 504, None),
        ((AgentBusy("full"),), 503, "overloaded"),
        (("Well", AgentProtocolError("cut")), 502, None),
        ((ValueError("secret"),), 502, None),
        ((), 502, None),
    ],
)
async def test_without_stream_a_failing_agent_is_a_status(
    steps: tuple[Step, ...], status: int, code: str
) -> None:
    answer = await send_turn(create_gateway(fake_agent(*steps)), {"stream": False})
    assert (answer.status, answer.error["type"], answer.error["code"]) == (status, "server_error", code)
    assert "secret" not in answer.body.decode()


@pytest.mark.parametrize(
    ("steps", "status"),
    [((0.3, AgentUnavailable("refused")), 502), ((0.3, AgentTimeout("late")), 504), ((0.3,), 502)],
)
async def test_failure_as_status_sends_no_byte_before_the_agent_s_first_event(
    steps: tuple[Step, ...], status: int
) -> None:
    app = create_gateway(fake_agent(*steps), turns={"on_failure": "status"}, agent_section=ack_after(0.5))
    answer = await send_turn(app)
    assert (answer.status, answer.sends[0][0]) == (status, 0.3)
    assert answer.error["type"] == "server_error"


async def test_failure_as_status_streams_once_the_agent_speaks() -> None:
    app = create_gateway(
        fake_agent(0.8, "Hi", 0.2, AgentTimeout("late")),
        turns={"on_failure": "status"},
        agent_section=ack_after(0.5),
    )
    answer = await send_turn(app)
    assert answer.texts == [(0.8, "Hi"), (1.0, "... " + SORRY)]
    lint(answer.body)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("hold", ["speak", "status"])
@pytest.mark.parametrize(("steps", "when"), [((60.0,), 0.5), ((0.2, "Hi", 60.0), 0.5), ((60.0,), 0.0)])
async def test_a_client_that_disconnects_stops_the_agent_at_once_and_its_cleanup_completes(
    stream: bool, hold: str, steps: tuple[Step, ...], when: float
) -> None:
    agent = fake_agent(*steps, closing=0.2)
    app = create_gateway(agent, turns={"on_failure": hold}, agent_section=ack_after(0.5))
    answer = await send_turn(app, {"stream": stream}, hang_up=when)
    await asyncio.sleep(1)
    assert agent.close_times == ([when + 0.2] if agent.start_times else [])
    assert not answer.ended


async def test_a_client_that_disconnects_during_its_request_costs_no_agent_work() -> None:
    agent = fake_agent("Hi")
    app = create_gateway(agent)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "root_path": "",
        "scheme": "http",
    }
    await app({**scope, "query_string": b"", "headers": [(b"host", b"localhost")]}, receive, send)
    assert agent.start_times == []


PATHS = [
    "/v1/chat/completions",
    "/chat/completions",
    "/v1/chat/completions/chat/completions",
    "/chat/completions/chat/completions",
    "/v1/chat/completions/v1/chat/completions",
    "/v1/v1/chat/completions",
    "/v1/chat/completions/",
]


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_that_users_paste_is_served(path: str) -> None:
    assert (await send_turn(create_gateway(fake_agent("Hi")), path=path)).text == "One moment. Hi"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_head_and_options_cost_no_agent_work(method: str) -> None:
    agent = fake_agent("Hi")
    answer = await send_request(create_gateway(agent), method=method)
    assert (answer.status, answer.body, agent.start_times) == (204, b"", [])
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_other_methods_are_refused(method: str) -> None:
    answer = await send_request(create_gateway(fake_agent("Hi")), method=method)
    assert (answer.status, answer.error["type"]) == (405, "invalid_request_error")
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None),
        (b"", 400, None),
        ({**CHAT_REQUEST, "temperature": "hot"}, 400, "temperature"),
        ({"messages": []}, 400, "messages"),
        (b'{"messages": "' + b"x" * 2000 + b'"}', 413, None),
    ],
)
async def test_an_invalid_request_is_refused_before_any_work(
    body: Any, status: int, param: str | None
) -> None:
    agent = fake_agent("Hi")
    answer = await send_request(create_gateway(agent, limits={"max_body_bytes": 1000}), body)
    assert (answer.status, answer.error["param"]) == (status, param)
    assert answer.error.keys() == {"message", "type", "param", "code"}
    assert (answer.headers["x-should-retry"], answer.headers["content-type"]) == ("false", "application/json")
    assert agent.start_times == []


async def test_a_body_that_grows_too_large_is_refused_without_its_length() -> None:
    app = create_gateway(fake_agent("Hi"), limits={"max_body_bytes": 1000})
    large = json.dumps({**CHAT_REQUEST, "x": "y" * 2000}).encode()
    assert (await send_request(app, large, pieces=5)).status == 413
    declared = await send_request(app, b"", headers={"content-length": "1001"})
    assert (declared.status, declared.error["code"]) == (413, "request_too_large")


async def test_a_body_may_come_in_pieces() -> None:
    assert (
        await send_request(create_gateway(fake_agent("Hi")), json.dumps(CHAT_REQUEST).encode(), pieces=7)
    ).text == "One moment. Hi"


async def test_an_unknown_model_reaches_the_default_agent_or_is_refused() -> None:
    assert (await send_turn(create_gateway(fake_agent("Hi")), {"model": "gpt-4o"})).status == 200
    agent = fake_agent("Hi")
    refused = await send_turn(create_gateway(agent, turns={"unknown_model": "reject"}), {"model": "gpt-4o"})
    assert (refused.status, refused.error["code"], agent.start_times) == (404, "model_not_found", [])


async def test_a_wrong_key_is_refused_with_no_agent_work() -> None:
    agent = fake_agent("Hi")
    app = create_gateway(agent, keys=KEYS)
    for headers in ({}, {"authorization": "Bearer wrong"}):
        refused = await send_turn(app, headers=headers)
        assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
        assert refused.headers["www-authenticate"] == "Bearer"
    assert agent.start_times == []
    assert (await send_turn(app, headers={"x-session-api-key": KEY})).status == 200


async def test_a_key_may_have_its_own_dialect() -> None:
    keys = {"eleven": {**KEYS["shop"], "dialect": "elevenlabs"}}
    assert (
        await send_turn(create_gateway(fake_agent("Hi"), keys=keys), headers=BEARER)
    ).text == "One moment... Hi"


async def test_too_many_turns_are_refused_with_retry_after() -> None:
    agent = fake_agent(5.0, "Hi")
    app = create_gateway(agent, limits={"concurrent_turns": 1})
    first = asyncio.create_task(send_turn(app))
    await asyncio.sleep(1)
    refused = await send_turn(app)
    assert (refused.status, refused.error["type"]) == (429, "rate_limit_error")
    assert (refused.headers["retry-after"], refused.headers["retry-after-ms"]) == ("1", "1000")
    assert "x-should-retry" not in refused.headers
    assert (await first).text == "One moment. Hi"
    assert (await send_turn(app)).status == 200, "the limit is released"
    assert len(agent.start_times) == 2


@pytest.mark.parametrize("options", [{"hang_up": 0.1}, {"body": {"stream": False}, "hang_up": 0.1}, {}])
async def test_every_end_of_a_turn_releases_the_rate_limit(options: dict[str, Any]) -> None:
    app = create_gateway(fake_agent(0.5, AgentTimeout("late")), limits={"concurrent_turns": 1})
    for _ in range(3):
        assert (await send_turn(app, **options)).status in (0, 200, 504)


async def test_requests_per_minute_are_counted_for_each_key() -> None:
    app = create_gateway(fake_agent("Hi"), keys=KEYS, limits={"requests_per_minute": 2})
    statuses = [(await send_turn(app, headers=BEARER)).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    await asyncio.sleep(30)
    assert (await send_turn(app, headers=BEARER)).status == 200


async def test_a_busy_gateway_can_answer_with_a_sentence() -> None:
    agent = fake_agent(5.0, "Hi")
    app = create_gateway(agent, limits={"concurrent_turns": 1, "busy": "speak"})
    first = asyncio.create_task(send_turn(app))
    await asyncio.sleep(1)
    spoken = await send_turn(app, {"stream_options": {"include_usage": True}})
    assert (spoken.status, spoken.text, spoken.finish_reason) == (200, PHRASES["en"].busy, "stop")
    lint(spoken.body, usage=True)
    whole = await send_turn(app, {"stream": False})
    assert (whole.status, whole.json["choices"][0]["message"]["content"]) == (200, PHRASES["en"].busy)
    await first
    assert len(agent.start_times) == 1


async def test_the_turn_s_timing_can_end_the_stream_as_a_comment() -> None:
    app = create_gateway(fake_agent(0.3, "Hi"), trace={"comment": True})
    lines = (await send_turn(app)).body.split(b"\n\n")
    assert lines[-3:] == [b": ack=0.0ms answer=300.0ms gap=300.0ms", b"data: [DONE]", b""]


@pytest.mark.parametrize("model", ["\x00", "gpt\n4", "\x1b[2J", "\x7f", "\x85", "a" * 257])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_invalid_model_name_is_refused(model: str, stream: bool) -> None:
    agent = fake_agent("Hi")
    app = create_gateway(agent, limits={"concurrent_turns": 1})
    for _ in range(2):
        refused = await send_turn(app, {"model": model, "stream": stream})
        assert (refused.status, refused.error["param"], agent.start_times) == (400, "model", [])
    assert (await send_turn(app, {"model": "a" * 256})).status == 200, "the limit is released"


def test_no_model_name_breaks_a_chunk() -> None:
    chunks = ChunkEncoder("c", "\x00", 0)
    assert json.loads(chunks.text_delta("Hi").removeprefix(b"data: "))["choices"][0]["delta"] == {
        "content": "Hi"
    }
    assert json.loads(chunks.start("").removeprefix(b"data: "))["model"] == "\x00"


async def running_turns(app: ASGIApp) -> str:
    text = (await send_request(app, path="/metrics", method="GET")).body.decode()
    return next(line for line in text.splitlines() if line.startswith("voicegw_turns_running "))


def raise_key_error(*_: Any, **__: Any) -> Any:
    raise KeyError("bug")


BROKEN_METHODS = [
    ("create_stream", {"stream": True}),
    ("completion_response", {"stream": False}),
    ("create_turn", {}),
]


@pytest.mark.parametrize("hold", ["speak", "status"])
@pytest.mark.parametrize(("method", "body"), BROKEN_METHODS)
async def test_a_bug_before_the_response_is_a_500_and_releases_the_rate_limit(
    hold: str, method: str, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = fake_agent("Hi")
    app = create_gateway(agent, limits={"concurrent_turns": 1}, turns={"on_failure": hold})
    with monkeypatch.context() as broken:
        broken.setattr(TurnRequest, method, raise_key_error)
        for _ in range(2):
            failed = await send_turn(app, body)
            assert (failed.status, failed.error["message"]) == (500, "The gateway failed.")
    assert await running_turns(app) == "voicegw_turns_running 0.0"
    assert (await send_turn(app, body)).status == 200
    assert len(agent.close_times) == len(agent.start_times)


async def test_a_bug_after_the_agent_spoke_stops_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = fake_agent(1.0, "Hi", 600.0)
    monkeypatch.setattr(TurnRequest, "create_stream", raise_key_error)
    assert (await send_turn(create_gateway(agent, turns={"on_failure": "status"}))).status == 500
    await asyncio.sleep(1)
    assert agent.close_times == [1.0]


BASE_EXCEPTIONS = [
    SystemExit(3),
    KeyboardInterrupt(),
    asyncio.CancelledError(),
    GeneratorExit(),
    BaseException(),
]


@pytest.mark.parametrize("error", BASE_EXCEPTIONS)
async def test_an_agent_that_raises_a_base_exception_ends_only_its_own_turn(error: BaseException) -> None:
    class Moody(FakeAgent):
        def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
            return (fine if turn.said == "Well?" else fake_agent(*self.steps)).reply(turn)

    fine, moody = fake_agent(1.0, "Fine."), Moody()
    app = create_gateway(moody, agent_section=ack_after("off"))
    other = asyncio.create_task(send_turn(app, {"messages": [{"role": "user", "content": "Well?"}]}))
    for steps, heard in (((0.3,), SORRY), ((0.1, "Well", 0.1), "Well... " + SORRY)):
        moody.steps = (*steps, error)
        spoken = await send_turn(app)
        assert (spoken.status, spoken.text, spoken.finish_reason) == (200, heard, "stop")
        lint(spoken.body)
        assert (await send_turn(app, {"stream": False})).status == 502
    assert (await other).texts == [(1.0, "Fine.")]
    assert await running_turns(app) == "voicegw_turns_running 0.0"


@pytest.mark.parametrize("error", BASE_EXCEPTIONS)
async def test_failure_as_status_covers_every_base_exception(error: BaseException) -> None:
    app = create_gateway(
        fake_agent(0.3, error), turns={"on_failure": "status"}, limits={"concurrent_turns": 1}
    )
    for _ in range(2):
        answer = await send_turn(app)
        assert (answer.status, answer.error["message"]) == (502, "The agent failed.")


async def test_a_tool_that_was_not_offered_is_never_called() -> None:
    agent = fake_agent(ToolCall("a", "bash"), 0.5, "Done.", ToolCall("b", "weather", '{"city":"Rome"}'))
    answer = await send_turn(create_gateway(agent), {"tools": WEATHER})
    names = [
        call["function"]["name"]
        for c in answer.chunks
        for call in c["choices"][0]["delta"].get("tool_calls", [])
    ]
    assert (names, answer.text) == (["weather"], "Done.")
    silent = await send_turn(create_gateway(fake_agent(ToolCall("a", "bash"))), {"tools": WEATHER})
    assert silent.text == SORRY, "tool activity alone is no answer"


async def test_agents_that_do_not_stop_count_against_a_limit() -> None:
    agent = fake_agent(60.0, closing=30.0)
    app = create_gateway(agent, limits={"concurrent_turns": 2})
    statuses = [(await send_turn(app, hang_up=0.1)).status for _ in range(6)]
    assert (statuses, len(agent.start_times)) == ([200] * 4 + [429] * 2, 4)
    await asyncio.sleep(40)
    assert (await send_turn(app, hang_up=0.1)).status == 200
    await asyncio.sleep(40)
