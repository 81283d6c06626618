"""The whole app: start and end of agents, graceful shutdown, and the response to an internal error."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest

from tests.support.asgi import run_lifespan, send_request
from tests.support.chat_lint import lint
from tests.support.fake_agent import FakeAgent, Step, fake_agent
from tests.support.gateway import create_gateway, loop_time, make_config, send_turn
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.agents.python.agent import PythonAgent
from voicegw.agents.scripted.agent import ScriptedAgent
from voicegw.app.create import create_app, make_agent
from voicegw.app.lifespan import CLOSE_TIMEOUT
from voicegw.config.load import Config
from voicegw.errors import AgentUnavailable, ConfigError
from voicegw.turns.phrases import PHRASES

SHUTDOWN_PHRASE = PHRASES["en"].shutdown


class FailingAgent(FakeAgent):
    """An agent whose `warm` and `aclose` raise."""

    def __init__(self, error: BaseException, *steps: Step) -> None:
        super().__init__(*steps)
        self.error = error

    async def warm(self, call: str | None = None) -> None:
        await super().warm(call)
        raise self.error

    async def aclose(self) -> None:
        await super().aclose()
        raise self.error


async def test_agents_are_warmed_at_the_start_and_closed_at_the_end() -> None:
    agent = fake_agent("Hi")
    app = create_gateway(agent)
    assert agent.warm_count == 0
    async with run_lifespan(app):
        assert (agent.warm_count, agent.aclose_count) == (1, 0)
        assert (await send_turn(app)).text == "One moment. Hi"
    assert (agent.warm_count, agent.aclose_count) == (1, 1)


class NeverWarmAgent(FakeAgent):
    """An agent whose `warm` never returns."""

    async def warm(self, call: str | None = None) -> None:
        await asyncio.Event().wait()


async def test_warm_that_never_returns_is_cancelled_at_the_end_without_a_log_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with run_lifespan(create_gateway(NeverWarmAgent("Hi"))):
        await asyncio.sleep(1)
    gc.collect()
    await asyncio.sleep(0)
    assert [record for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize(
    "error", [AgentUnavailable("no server"), RuntimeError("no"), SystemExit(3), KeyboardInterrupt()]
)
async def test_agent_that_fails_to_warm_or_close_does_not_stop_the_app(
    error: BaseException,
) -> None:
    agents = {"failing": FailingAgent(error, "Hello."), "healthy": fake_agent("Hi")}
    config = Config.model_validate(
        {"agents": {name: {"kind": "scripted", "script": name} for name in agents}}
    )
    app = create_app(config, now=loop_time, agents=lambda section, config: agents[section.script])
    async with run_lifespan(app):
        assert (await send_turn(app, {"model": "failing"})).text == "One moment. Hello."
    assert [(agent.warm_count, agent.aclose_count) for agent in agents.values()] == [(1, 1), (1, 1)]


async def test_lifespan_state_holds_the_limits_of_connections() -> None:
    limits = {"max_header_bytes": 4096, "send_timeout": 2.5}
    async with run_lifespan(create_gateway(fake_agent("Hi"), limits=limits)) as state:
        assert {name: state[name] for name in limits} == limits


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"script": "recepsionist"}, 'did you mean "receptionist"?'),
        ({"script": "echo", "options": {"frist": 1.0}}, 'did you mean "first"?'),
        ({"script": "echo", "options": {"first": "soon"}}, "first must be a number of seconds"),
    ],
)
def test_invalid_script_or_option_is_a_config_error(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match="script") as raised:
        create_app(make_config(agent_section=section))
    assert message in str(raised.value)


async def test_default_factory_makes_the_agent_of_each_section() -> None:
    sections = {
        "desk": {"kind": "scripted"},
        "model": {"kind": "openai", "url": "http://127.0.0.1:9/v1"},
        "own": {"kind": "python", "target": "tests.app.test_create:reply"},
    }
    config = Config.model_validate({"agents": sections})
    agents = [make_agent(section, config) for section in config.agents.values()]
    assert [type(agent) for agent in agents] == [ScriptedAgent, OpenAIAgent, PythonAgent]
    for agent in agents:
        await agent.aclose()


async def reply(turn: Any) -> Any:
    yield "Hi"


async def test_running_turn_gets_the_shutdown_grace_then_a_phrase_and_a_finish_reason() -> None:
    agent = fake_agent(1.0, "Well", 600.0, closing=0.1)
    app = create_gateway(agent, server={"shutdown_grace": 5.0}, agent_section={"ack": {"after": "off"}})
    async with run_lifespan(app) as state:
        pending = asyncio.ensure_future(send_turn(app))
        await asyncio.sleep(2)
        state["drain"]()
        await asyncio.sleep(3)
        state["drain"]()  # each connection calls drain; only the first call counts
        answer = await pending
        assert answer.texts == [(1.0, "Well"), (7.0, f"... {SHUTDOWN_PHRASE}")]
        assert answer.finish_reason == "stop"
        lint(answer.body)
    assert agent.close_times == [7.1]


async def test_drain_lets_a_running_turn_finish_and_refuses_new_ones() -> None:
    app = create_gateway(
        fake_agent(3.0, "Hi"), server={"shutdown_grace": 5.0}, agent_section={"ack": {"after": "off"}}
    )
    async with run_lifespan(app) as state:
        pending = asyncio.ensure_future(send_turn(app))
        await asyncio.sleep(1)
        state["drain"]()
        refused = await send_turn(app)
        assert (refused.status, refused.error["code"]) == (503, "overloaded")
        assert (await pending).texts == [(3.0, "Hi")]


async def test_running_turns_end_before_the_agents_are_closed() -> None:
    agent = fake_agent(600.0, closing=0.2)
    app = create_gateway(agent)
    async with run_lifespan(app):
        pending = asyncio.ensure_future(send_turn(app))
        await asyncio.sleep(1)
    assert (agent.close_times, agent.aclose_count) == ([1.2], 1)
    assert (await pending).text == f"One moment. {SHUTDOWN_PHRASE}"


async def test_reply_that_does_not_close_within_the_stop_timeout_is_logged_and_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent = fake_agent(600.0, closing=3.0)
    app = create_gateway(agent, turns={"stop_timeout": 0.5})
    async with run_lifespan(app):
        pending = asyncio.ensure_future(send_turn(app))
        await asyncio.sleep(1)
    assert loop_time() == 1.5
    assert "the agent did not close in time" in caplog.text
    await pending
    await asyncio.sleep(3)


@pytest.mark.parametrize(
    ("path", "method", "status", "error_type"),
    [
        ("/nowhere", "GET", 404, "not_found_error"),
        ("/v1/nowhere", "POST", 404, "not_found_error"),
        ("/readyz", "DELETE", 405, "invalid_request_error"),
    ],
)
async def test_errors_of_routing_use_the_error_envelope(
    path: str, method: str, status: int, error_type: str
) -> None:
    answer = await send_request(
        create_gateway(fake_agent()), path=path, method=method, headers={"x-request-id": "mine"}
    )
    assert (answer.status, answer.error["type"], answer.headers["x-request-id"]) == (
        status,
        error_type,
        "mine",
    )


async def test_internal_error_in_a_turn_is_a_500_and_a_logged_traceback(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_gateway(fake_agent("Hi"))
    monkeypatch.setattr("voicegw.api.chat_request.parse", lambda *_, **__: {}["bug"])
    with caplog.at_level(logging.ERROR):
        answer = await send_turn(app)
    assert (answer.status, answer.error["message"]) == (500, "The gateway failed.")
    assert (answer.error["type"], answer.headers["x-should-retry"]) == ("server_error", "false")
    assert "KeyError: 'bug'" in caplog.text
    assert answer.headers["x-request-id"] in caplog.text


async def test_internal_error_outside_a_turn_is_a_500(monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_gateway(fake_agent("Hi"))
    monkeypatch.setattr("voicegw.api.routes.models_json", lambda names: {}["bug"])

    async def app_that_raises(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(KeyError):  # the server logs it
            await app(scope, receive, send)

    answer = await send_request(app_that_raises, path="/v1/models", method="GET")
    assert (answer.status, answer.error["message"]) == (500, "The gateway failed.")


async def test_listed_origins_may_read_answers_and_request_ids() -> None:
    app = create_gateway(fake_agent("Hi"), server={"origins": ["https://app.example.com"]})
    origin = {"origin": "https://app.example.com"}
    answer = await send_turn(app, headers=origin)
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    assert answer.headers["access-control-expose-headers"] == "x-request-id, x-voicegw-call"
    preflight = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "x-any"}
    allowed = await send_request(app, method="OPTIONS", headers=preflight)
    assert (allowed.status, allowed.headers["access-control-allow-headers"]) == (200, "x-any")
    assert (await send_turn(app, headers={"origin": "https://evil.example"})).status == 403


async def test_end_closes_the_runs_before_the_agents() -> None:
    agent = fake_agent(600.0, closing=0.2)
    app = create_app(make_config(), now=loop_time, agents=lambda section, config: agent)
    async with run_lifespan(app):
        pending = asyncio.ensure_future(send_turn(app))
        await asyncio.sleep(1)
    assert (agent.close_times, agent.aclose_count) == ([1.2], 1)
    await pending


async def test_end_does_not_wait_longer_than_the_close_timeout_for_an_agent() -> None:
    class SlowToClose(FakeAgent):
        async def aclose(self) -> None:
            try:
                await asyncio.sleep(600)
            finally:
                await super().aclose()

    agent = SlowToClose("Hi")
    app = create_app(make_config(), now=loop_time, agents=lambda section, config: agent)
    async with run_lifespan(app):
        assert (await send_turn(app)).text == "One moment. Hi"
    assert (loop_time(), agent.aclose_count) == (CLOSE_TIMEOUT, 0)
    await asyncio.sleep(600)
    assert agent.aclose_count == 1
