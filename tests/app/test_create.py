"""The gateway put together: its agents' life, its farewell, and what becomes of a bug."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.asgi import run_lifespan, send_request
from tests.support.chat_lint import lint
from tests.support.clock import VirtualLoop
from tests.support.fake_agent import FakeAgent, Step, fake_agent
from tests.support.gateway import create_gateway, loop_time, make_config, send_turn
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.agents.python.agent import PythonAgent
from voicegw.agents.scripted.agent import ScriptedAgent
from voicegw.app.create import create_app, make_agent
from voicegw.app.lifespan import CLOSE_TIMEOUT, GC_THRESHOLDS
from voicegw.config.load import Config
from voicegw.errors import AgentUnavailable, ConfigError
from voicegw.turns.phrases import PHRASES

CLOSING = PHRASES["en"].shutdown


class Shy(FakeAgent):
    """An agent that can neither be warmed nor closed."""

    def __init__(self, refusal: BaseException, *steps: Step) -> None:
        super().__init__(*steps)
        self.refusal = refusal

    async def warm(self, call: str | None = None) -> None:
        await super().warm(call)
        raise self.refusal

    async def aclose(self) -> None:
        await super().aclose()
        raise self.refusal


async def test_agents_are_warmed_at_the_start_and_closed_at_the_end() -> None:
    agent = fake_agent("Hi")
    app = create_gateway(agent)
    assert agent.warm_count == 0
    async with run_lifespan(app):
        assert (agent.warm_count, agent.aclose_count) == (1, 0)
        assert (await send_turn(app)).text == "One moment. Hi"
    assert (agent.warm_count, agent.aclose_count) == (1, 1)


class Slow(FakeAgent):
    """An agent that is never ready."""

    async def warm(self, call: str | None = None) -> None:
        await asyncio.Event().wait()


async def test_an_agent_that_is_never_ready_is_left_at_the_end_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with run_lifespan(create_gateway(Slow("Hi"))):
        await asyncio.sleep(1)
    gc.collect()
    await asyncio.sleep(0)
    assert [record for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize(
    "refusal", [AgentUnavailable("nobody is there"), RuntimeError("no"), SystemExit(3), KeyboardInterrupt()]
)
async def test_an_agent_that_fails_to_warm_or_to_close_stands_in_nobody_s_way(
    refusal: BaseException,
) -> None:
    agents = {"shy": Shy(refusal, "Hello."), "bold": fake_agent("Hi")}
    config = Config.model_validate(
        {"agents": {name: {"kind": "scripted", "script": name} for name in agents}}
    )
    app = create_app(config, now=loop_time, agents=lambda table, config: agents[table.script])
    async with run_lifespan(app):
        assert (await send_turn(app, {"model": "shy"})).text == "One moment. Hello."
    assert [(agent.warm_count, agent.aclose_count) for agent in agents.values()] == [(1, 1), (1, 1)]


async def test_connections_are_told_their_limits() -> None:
    limits = {"max_header_bytes": 4096, "send_timeout": 2.5}
    async with run_lifespan(create_gateway(fake_agent("Hi"), limits=limits)) as state:
        assert {name: state[name] for name in limits} == limits


@pytest.fixture
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize("tune", [True, False])
async def test_the_garbage_collector_is_set_up_only_where_the_process_is_ours(tune: bool) -> None:
    gc.set_threshold(700, 10, 10)
    frozen = gc.get_freeze_count()
    app = create_app(make_config(), tune=tune, now=loop_time, agents=lambda table, config: fake_agent())
    async with run_lifespan(app):
        assert gc.get_threshold() == (GC_THRESHOLDS if tune else (700, 10, 10))
        assert (gc.get_freeze_count() > frozen) == tune


@pytest.mark.parametrize(
    ("desk", "words"),
    [
        ({"script": "recepsionist"}, 'did you mean "receptionist"?'),
        ({"script": "echo", "options": {"frist": 1.0}}, 'did you mean "first"?'),
        ({"script": "echo", "options": {"first": "soon"}}, "first must be a number of seconds"),
    ],
)
def test_a_script_that_cannot_be_played_is_refused_at_the_start(desk: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match="script") as refused:
        create_app(make_config(agent_section=desk))
    assert words in str(refused.value)


async def test_each_kind_of_table_makes_its_kind_of_agent() -> None:
    tables = {
        "desk": {"kind": "scripted"},
        "model": {"kind": "openai", "url": "http://127.0.0.1:9/v1"},
        "own": {"kind": "python", "target": "tests.app.test_create:own"},
    }
    config = Config.model_validate({"agents": tables})
    made = [make_agent(table, config) for table in config.agents.values()]
    assert [type(agent) for agent in made] == [ScriptedAgent, OpenAIAgent, PythonAgent]
    for agent in made:
        await agent.aclose()


async def own(turn: Any) -> Any:
    yield "Hi"


async def test_running_turns_get_their_time_then_a_sentence_and_a_proper_end() -> None:
    agent = fake_agent(1.0, "Well", 600.0, closing=0.1)
    app = create_gateway(agent, server={"shutdown_grace": 5.0}, agent_section={"ack": {"after": "off"}})
    async with run_lifespan(app) as state:
        asked = asyncio.ensure_future(send_turn(app))
        await asyncio.sleep(2)
        state["drain"]()
        await asyncio.sleep(3)
        state["drain"]()  # every connection says so; the first one counts
        answer = await asked
        assert answer.texts == [(1.0, "Well"), (7.0, f"... {CLOSING}")]
        assert answer.finish_reason == "stop"
        lint(answer.body)
    assert agent.close_times == [7.1]


async def test_a_turn_that_ends_in_time_is_not_disturbed_and_new_ones_are_refused() -> None:
    app = create_gateway(fake_agent(3.0, "Hi"), server={"shutdown_grace": 5.0}, agent_section={"ack": {"after": "off"}})
    async with run_lifespan(app) as state:
        asked = asyncio.ensure_future(send_turn(app))
        await asyncio.sleep(1)
        state["drain"]()
        refused = await send_turn(app)
        assert (refused.status, refused.error["code"]) == (503, "overloaded")
        assert (await asked).texts == [(3.0, "Hi")]


async def test_what_still_runs_at_the_end_is_closed_before_the_agents_are() -> None:
    agent = fake_agent(600.0, closing=0.2)
    app = create_gateway(agent)
    async with run_lifespan(app):
        asked = asyncio.ensure_future(send_turn(app))
        await asyncio.sleep(1)
    assert (agent.close_times, agent.aclose_count) == ([1.2], 1)
    assert (await asked).text == f"One moment. {CLOSING}"


async def test_an_agent_that_does_not_close_in_time_is_told_of_and_not_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent = fake_agent(600.0, closing=3.0)
    app = create_gateway(agent, turns={"stop_timeout": 0.5})
    async with run_lifespan(app):
        asked = asyncio.ensure_future(send_turn(app))
        await asyncio.sleep(1)
    assert loop_time() == 1.5
    assert "the agent did not close in time" in caplog.text
    await asked
    await asyncio.sleep(3)


@pytest.mark.parametrize(
    ("path", "method", "status", "kind"),
    [
        ("/nowhere", "GET", 404, "not_found_error"),
        ("/v1/nowhere", "POST", 404, "not_found_error"),
        ("/readyz", "DELETE", 405, "invalid_request_error"),
    ],
)
async def test_whatever_is_refused_is_in_the_one_envelope(
    path: str, method: str, status: int, kind: str
) -> None:
    answer = await send_request(create_gateway(fake_agent()), path=path, method=method, headers={"x-request-id": "mine"})
    assert (answer.status, answer.error["type"], answer.headers["x-request-id"]) == (status, kind, "mine")


async def test_a_bug_in_a_turn_is_a_500_in_the_one_envelope_and_a_traceback_in_the_log(
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


async def test_a_bug_elsewhere_is_a_500_in_the_one_envelope_too(monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_gateway(fake_agent("Hi"))
    monkeypatch.setattr("voicegw.api.routes.models_json", lambda names: {}["bug"])
    sent: list[Any] = []

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        async def watching(message: Any) -> None:
            sent.append(message)
            await send(message)

        with pytest.raises(KeyError):  # the server logs it
            await app(scope, receive, watching)

    answer = await send_request(watched, path="/v1/models", method="GET")
    assert (answer.status, answer.error["message"]) == (500, "The gateway failed.")


async def test_pages_of_listed_origins_may_read_answers_and_request_ids() -> None:
    app = create_gateway(fake_agent("Hi"), server={"origins": ["https://app.example.com"]})
    origin = {"origin": "https://app.example.com"}
    answer = await send_turn(app, headers=origin)
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    assert answer.headers["access-control-expose-headers"] == "x-request-id, x-voicegw-call"
    asking = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "x-any"}
    before = await send_request(app, method="OPTIONS", headers=asking)
    assert (before.status, before.headers["access-control-allow-headers"]) == (200, "x-any")
    assert (await send_turn(app, headers={"origin": "https://evil.example"})).status == 403


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize("tune", [True, False])
async def test_whoever_blocks_the_loop_is_told_of_only_where_the_process_is_ours(
    tune: bool, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    app = create_app(make_config(), tune=tune, now=loop_time, agents=lambda table, config: fake_agent())
    for _ in range(2):
        async with run_lifespan(app):
            loop.clock.now += 2.0
            await asyncio.sleep(1)
        loop.clock.now += 2.0
        await asyncio.sleep(1)
    told = [record for record in caplog.records if '"event":"blocked"' in record.getMessage()]
    assert len(told) == 2 * tune


async def test_the_end_is_told_when_everything_is_closed() -> None:
    seen: list[tuple[list[float], int]] = []
    agent = fake_agent(600.0, closing=0.2)

    def at_end() -> None:
        seen.append((agent.close_times, agent.aclose_count))

    app = create_app(make_config(), now=loop_time, agents=lambda table, config: agent, at_end=at_end)
    async with run_lifespan(app):
        asked = asyncio.ensure_future(send_turn(app))
        await asyncio.sleep(1)
        assert seen == []
    assert seen == [([1.2], 1)]
    await asked


async def test_an_agent_that_takes_for_ever_to_close_is_not_waited_for() -> None:
    class Slow(FakeAgent):
        async def aclose(self) -> None:
            try:
                await asyncio.sleep(600)
            finally:
                await super().aclose()

    agent, ends = Slow("Hi"), list[float]()
    app = create_app(
        make_config(), now=loop_time, agents=lambda table, config: agent, at_end=lambda: ends.append(loop_time())
    )
    async with run_lifespan(app):
        assert (await send_turn(app)).text == "One moment. Hi"
    assert (ends, agent.aclose_count) == ([CLOSE_TIMEOUT], 0)
    await asyncio.sleep(600)
    assert agent.aclose_count == 1
