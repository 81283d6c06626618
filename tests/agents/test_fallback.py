"""Chains of agents: each step alone, and the change from one agent to the next."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from tests.support.chat_lint import lint
from tests.support.fake_agent import FakeAgent, fake_agent
from tests.support.fake_agent import Step as Line
from tests.support.gateway import create_gateway, send_turn
from voicegw.agents.fallback import FallbackAgent, FallbackStep
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentTimeout, AgentUnavailable
from voicegw.events import REASONING, Activity, Event, Message, Tool, ToolCall, Turn, Usage, extra_models
from voicegw.turns.bulkhead import Bulkhead
from voicegw.turns.run import Run
from voicegw.turns.timeouts import Timeouts

TURN = Turn("t1", (Message("user", "Hello?"),), tools=(Tool("f"),))
FINE = ("Fine.",)
DEADLINE = 2.0


async def play(
    *steps: FallbackStep, until: float = 60.0
) -> tuple[list[tuple[float, Event]], BaseException | None]:
    """Return the events of a chain with their times, and its failure."""
    now = asyncio.get_running_loop().time
    chain = FallbackAgent(steps, now=now)
    said: list[tuple[float, Event]] = []
    failure: BaseException | None = None
    try:
        async with aclosing(chain.reply(TURN)) as events:
            while (event := await anext(events, None)) is not None:
                said.append((now(), event))
    except AgentError as error:
        failure = error
    await asyncio.sleep(until)
    assert not chain.active_runs, "every attempt was closed"
    return said, failure


def step(
    agent: FakeAgent, *, idempotent: bool = True, max_attempts: int = 1, **timeouts: float
) -> FallbackStep:
    return FallbackStep(agent, Timeouts(**timeouts), idempotent, max_attempts)


@pytest.mark.parametrize(
    ("first", "patience", "said"),
    [
        (("Hi.",), {}, [(0.0, "Hi.")]),
        ((AgentUnavailable("refused"),), {}, [(0.0, "Fine.")]),
        ((0.5, AgentProtocolError("noise")), {}, [(0.5, "Fine.")]),
        ((), {}, [(0.0, "Fine.")]),
        ((" ", Usage(1, 0)), {}, [(0.0, "Fine.")]),
        ((9.0, "Hi."), {"first_token": DEADLINE}, [(2.0, "Fine.")]),
        ((1.9, "Hi."), {"first_token": DEADLINE}, [(1.9, "Hi.")]),
        ((1.0, " ", 3.0, "Hi."), {"first_token": DEADLINE}, [(2.0, "Fine.")]),
        (
            (1.0, Activity("bash"), 9.0, "Hi."),
            {"first_token": DEADLINE},
            [(1.0, Activity("bash")), (10.0, "Hi.")],
        ),
        ((1.0, ToolCall("c", "f"), 9.0), {"first_token": DEADLINE}, [(1.0, ToolCall("c", "f"))]),
        ((9.0, "Hi."), {"total": DEADLINE}, [(2.0, "Fine.")]),
        ((*[1.0, REASONING] * 3, "Hi."), {"first_token": DEADLINE}, [(1.0, REASONING), (3.0, "Hi.")]),
        ((1.0, REASONING, 1.0, AgentBusy("full")), {}, [(1.0, REASONING), (2.0, "Fine.")]),
        (("\n", REASONING, 1.0, AgentBusy("full")), {}, [(0.0, REASONING), (1.0, "Fine.")]),
        ((*[1.0, REASONING] * 9, "Hi."), {"reasoning": DEADLINE}, [(1.0, REASONING), (4.0, "Fine.")]),
    ],
)
async def test_next_agent_answers_if_the_first_gives_no_output(
    first: tuple[Line, ...], patience: dict[str, float], said: list[tuple[float, Event]]
) -> None:
    assert await play(step(fake_agent(*first), **patience), step(fake_agent(*FINE))) == (said, None)


@pytest.mark.parametrize(
    ("first", "patience", "kind"),
    [
        (("Hi.", 0.5, AgentProtocolError("cut")), {}, AgentProtocolError),
        (("Hi.", 9.0), {"idle": DEADLINE}, AgentTimeout),
        (("Hi.", *[1.0, " so"] * 9), {"idle": DEADLINE, "total": 5.5}, AgentTimeout),
        ((Activity("bash"), 9.0), {"idle": DEADLINE}, AgentTimeout),
    ],
)
async def test_failure_after_output_is_raised_without_a_fallback(
    first: tuple[Line, ...], patience: dict[str, float], kind: type[AgentError]
) -> None:
    other = fake_agent(*FINE)
    said, failure = await play(step(fake_agent(*first), **patience), step(other))
    assert said[0][1] in ("Hi.", Activity("bash"))
    assert type(failure) is kind
    assert other.start_times == []


@pytest.mark.parametrize(
    ("failed", "goes_on"),
    [(AgentUnavailable("refused"), True), (AgentBusy("full"), False), (AgentProtocolError("noise"), False)],
)
async def test_agent_that_is_not_idempotent_is_replaced_only_if_it_was_unavailable(
    failed: AgentError, goes_on: bool
) -> None:
    said, failure = await play(step(fake_agent(failed), idempotent=False), step(fake_agent(*FINE)))
    assert (said == [(0.0, "Fine.")], failure is failed) == (goes_on, not goes_on)


async def test_agent_that_has_not_stopped_earlier_attempts_is_not_asked() -> None:
    stubborn, other = fake_agent(9.0, closing=60.0), fake_agent(*FINE)
    now = asyncio.get_running_loop().time
    full = FallbackStep(stubborn, Timeouts(1.0), idempotent=True, bulkhead=Bulkhead(1))
    chain, alone = FallbackAgent((full, step(other)), now=now), FallbackAgent((full,), now=now)
    for _ in range(3):
        async with aclosing(chain.reply(TURN)) as events:
            assert await anext(events) == "Fine."
    assert (len(stubborn.turns), len(other.turns)) == (1, 3)
    with pytest.raises(AgentBusy, match=r"^1 turns of the agent have not ended, the most allowed$"):
        await anext(alone.reply(TURN))
    await asyncio.sleep(61.0)
    with pytest.raises(AgentTimeout):
        await anext(alone.reply(TURN))
    await asyncio.sleep(61.0)


async def test_idempotent_agent_gets_max_attempts() -> None:
    flaky, last = fake_agent(0.5, AgentProtocolError("noise")), fake_agent(*FINE)
    assert await play(step(flaky, max_attempts=3), step(last)) == ([(1.5, "Fine.")], None)
    assert flaky.start_times == [0.0, 0.5, 1.0]
    once = fake_agent(AgentProtocolError("noise"))
    await play(step(once, idempotent=False, max_attempts=3))
    assert len(once.start_times) == 1


async def test_last_failure_is_raised_when_all_agents_fail() -> None:
    last = AgentBusy("full")
    said, failure = await play(step(fake_agent(AgentProtocolError("noise"))), step(fake_agent(0.5, last)))
    assert (said, failure) == ([], last)


async def test_fallback_does_not_wait_for_an_agent_that_is_slow_to_stop() -> None:
    slow = fake_agent(60.0, closing=5.0)
    said, _ = await play(step(slow, first_token=DEADLINE), step(fake_agent(*FINE)))
    assert said == [(2.0, "Fine.")]
    assert slow.close_times == [7.0]


async def test_cancelled_chain_cancels_its_agent_and_waits_for_it() -> None:
    agent = fake_agent("Hi.", 60.0, closing=0.1)
    chain = FallbackAgent([step(agent)], now=asyncio.get_running_loop().time)
    run = Run(chain, TURN, lambda run: None, now=asyncio.get_running_loop().time)
    run.start()
    await asyncio.sleep(1)
    run.cancel()
    await asyncio.sleep(1)
    assert (agent.close_times, run.closed_at) == ([1.1], 1.1)
    assert not chain.active_runs


CHAIN_CONFIG: dict[str, Any] = {
    "agents": {
        "desk": {"kind": "scripted", "first_token": 2.0, "idempotent": True, "fallback": ["spare"]},
        "spare": {"kind": "scripted"},
    }
}


async def test_acknowledgement_covers_a_fallback() -> None:
    agent = fake_agent(60.0)
    calls: list[Turn] = []

    class Desk(FakeAgent):
        """Silent the first time, quick the second."""

        async def reply(self, turn: Turn) -> Any:
            calls.append(turn)
            if len(calls) == 1:
                await asyncio.sleep(60)
            yield "Fine."

    answer = await send_turn(create_gateway(Desk(), **CHAIN_CONFIG))
    assert answer.texts == [(0.0, "One moment. "), (2.0, "Fine.")]
    assert agent.start_times == []
    lint(answer.body)


@pytest.mark.parametrize(
    ("patience", "steps", "ended"),
    [
        ({"first_token": 2.0}, (60.0,), 2.0),
        ({"idle": 2.0}, ("Well", 60.0), 2.0),
        ({"total": 3.0, "idle": "off"}, ("Well", 60.0), 3.0),
        ({"first_token": "off", "total": 4.0}, (60.0,), 4.0),
    ],
)
async def test_failure_of_all_agents_ends_with_an_apology(
    patience: dict[str, Any], steps: tuple[Line, ...], ended: float
) -> None:
    agent = fake_agent(*steps)
    answer = await send_turn(create_gateway(agent, agent_section=patience))
    assert answer.texts[-1][0] == ended
    assert answer.text.endswith("Sorry, something went wrong. Could you say that again?")
    await asyncio.sleep(0.1)
    assert agent.close_times == [ended]
    lint(answer.body)


async def test_progress_of_long_work_is_spoken_in_the_language_of_the_caller() -> None:
    agent = fake_agent(1.0, Activity("bash"), 25.0, "Done.")
    answer = await send_turn(
        create_gateway(agent, agent_section={"ack": {"every": 8.0, "after": 0}, "language": "de"})
    )
    assert answer.texts == [
        (0.0, "Einen Moment. "),
        (9.0, "Ich bin noch dabei. "),
        (17.0, "Nur noch einen Augenblick. "),
        (25.0, "Gleich habe ich es. "),
        (26.0, "Done."),
    ]
    lint(answer.body)


async def test_progress_phrase_continues_the_text_before_it() -> None:
    agent = fake_agent("Let me look", Activity("bash"), 9.0, " Found it.")
    answer = await send_turn(create_gateway(agent, agent_section={"ack": {"every": 8.0, "after": "off"}}))
    assert answer.text == "Let me look... Still working on it. Found it."


async def test_chain_warms_its_first_agent_and_has_its_models() -> None:
    first, second = fake_agent("Hi"), fake_agent("Ho")
    first.models = ["red"]  # type: ignore[attr-defined]
    chain = FallbackAgent([FallbackStep(first), FallbackStep(second)])
    await chain.warm()
    assert (first.warm_count, second.warm_count) == (0, 0)
    await chain.warm("call")
    assert (first.warm_count, second.warm_count) == (1, 0)
    assert (extra_models(chain), extra_models(FallbackAgent([FallbackStep(second)]))) == (["red"], ())
    await chain.call_ended("call")
    assert first.ended_calls == []
