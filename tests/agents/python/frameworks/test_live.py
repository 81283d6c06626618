"""Agents of every framework on a running gateway: tools, interruptions, and histories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.agents.python.frameworks.framework_agents import FRAMEWORKS, TOOL_CALL, FrameworkAgent
from tests.agents.python.frameworks.gateway import served_gateway
from tests.agents.upstream import wait_until

pytestmark = pytest.mark.wire

TARGET = f"{__name__}:target"
HELLO = ("user", "I am Ann.")
target: Any = None
"""The agent that the gateway loads; a fixture sets it."""
MakeAgent = Callable[..., FrameworkAgent]


@pytest.fixture(params=FRAMEWORKS)
def make_agent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MakeAgent:
    """Return a function that makes the agent of one framework, whose model gives these answers."""
    pytest.importorskip(request.param)

    def make(*answers: Any) -> FrameworkAgent:
        record = FrameworkAgent([*answers])
        FRAMEWORKS[request.param](record)
        monkeypatch.setattr(f"{__name__}.target", record.agent)
        return record

    return make


async def test_a_tool_is_not_spoken(make_agent: MakeAgent) -> None:
    record = make_agent(TOOL_CALL, ["It is ", "open."])
    record.tool_may_return.set()
    async with served_gateway(TARGET, record.options) as gateway:
        assert await gateway.say(HELLO) == "It is open."
    assert record.histories == [[HELLO], [HELLO]]


async def test_a_line_of_progress_is_spoken_while_a_tool_runs(make_agent: MakeAgent) -> None:
    record = make_agent(TOOL_CALL, ["It is ", "open."])
    progress = {"en": ["Still looking"]}
    async with (
        served_gateway(TARGET, record.options, every=0.05, progress=progress) as gateway,
        gateway.ask(HELLO) as answer,
    ):
        await answer.until("Still looking")
        record.tool_may_return.set()
        assert (await answer.end()).replace("Still looking. ", "") == "It is open."


async def test_a_caller_who_hangs_up_stops_the_model(make_agent: MakeAgent) -> None:
    record = make_agent(["One. ", None])
    async with served_gateway(TARGET, record.options) as gateway:
        async with gateway.ask(HELLO) as answer:
            await answer.until("One.")
            await record.waiting.wait()
        await wait_until(lambda: record.log == ["stopped"])


async def test_a_caller_who_hangs_up_stops_the_tool(make_agent: MakeAgent) -> None:
    record = make_agent(TOOL_CALL, ["It is open."], ["Yes?"])
    async with served_gateway(
        TARGET, record.options, every=0.05, progress={"en": ["Still looking"]}
    ) as gateway:
        async with gateway.ask(HELLO) as answer:
            await answer.until("Still looking")
        assert await gateway.say(HELLO, ("user", "Are you there?")) == "It is open."
    [history] = record.histories[1:]
    # A LangGraph thread keeps both messages; the others get a repaired history.
    assert history in ([HELLO, ("user", "Are you there?")], [("user", f"{HELLO[1]}\n\nAre you there?")])


async def test_a_newer_turn_stops_the_model_and_has_the_heard_part(make_agent: MakeAgent) -> None:
    record = make_agent(["One. ", "Two. ", None], ["Three."])
    async with served_gateway(TARGET, record.options) as gateway, gateway.ask(HELLO) as answer:
        await answer.until("Two.")
        await record.waiting.wait()
        history = [HELLO, ("assistant", "One."), ("user", "Wait!")]
        assert await gateway.say(*history) == "Three."
        assert record.log == ["stopped"]
        assert await answer.end() == "One. Two. "
    assert record.histories == [[HELLO], history]


async def test_the_second_turn_has_the_first_answer_without_acknowledgements(make_agent: MakeAgent) -> None:
    record = make_agent(["Hello ", "Ann."], ["Ann."], ["Hello Bo."])
    async with served_gateway(TARGET, record.options, after=0, phrases={"en": ["One moment"]}) as gateway:
        first = await gateway.say(HELLO)
        assert first == "One moment. Hello Ann."
        later = [("assistant", first), ("user", "Who am I?")]
        assert (await gateway.say(HELLO, *later)).endswith("Ann.")
        assert (await gateway.say(("user", "I am Bo."), call="other")).endswith("Hello Bo.")
    history = [HELLO, ("assistant", "Hello Ann."), ("user", "Who am I?")]
    assert record.histories == [[HELLO], history, [("user", "I am Bo.")]]
