"""The dispatcher joins, supersedes and cancels runs, and owns them until they are closed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_agent import FakeAgent, fake_agent
from voicegw.conversations.agent_registry import AgentRegistry
from voicegw.conversations.call_store import MAX_EVICTION_CHECKS, CallStore
from voicegw.conversations.dispatcher import Dispatcher
from voicegw.conversations.idempotency import IdempotencyKey
from voicegw.conversations.turn_relation import Client
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentUnavailable,
    ServiceUnavailable,
    ShuttingDown,
)
from voicegw.events import Message, Tool, ToolCall, Turn
from voicegw.security.keys import ApiKey
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.run import Run
from voicegw.turns.served_agent import ServedAgent

TURN = Turn("t1", (Message("user", "Hello?"),))


def serve(agent: FakeAgent | None = None, name: str = "desk", **fields: Any) -> ServedAgent:
    return ServedAgent(name, agent or fake_agent("Hi"), DIALECTS["voice"], **fields)


def create_registry(*served_agents: ServedAgent, **options: Any) -> AgentRegistry:
    return AgentRegistry({served.name: served for served in served_agents}, **options)


def create_dispatcher(*served_agents: ServedAgent, **options: Any) -> Dispatcher:
    return Dispatcher(create_registry(*served_agents), now=asyncio.get_event_loop().time, **options)


def create_key(*models: str) -> ApiKey:
    return ApiKey("k", b"", frozenset(models))


DESK, SHOP = serve(), serve(name="shop")


async def test_every_agent_learns_that_a_call_ended_and_failures_are_ignored() -> None:
    class FailingAgent(FakeAgent):
        async def call_ended(self, call: str) -> None:
            raise AgentUnavailable("gone")

    agent = fake_agent("Hi")
    dispatcher = create_dispatcher(serve(agent), serve(FailingAgent(), "shop"))
    dispatcher.calls.get("a", 0.0)
    dispatcher.calls.end("a")
    assert agent.ended_calls == []
    await asyncio.sleep(0)
    assert agent.ended_calls == ["a"]
    await dispatcher.aclose()


async def test_turn_ids_are_unique_even_among_workers() -> None:
    one, two = create_dispatcher(DESK), create_dispatcher(DESK)
    assert len({one.new_turn_id(), one.new_turn_id(), two.new_turn_id(), two.new_turn_id()}) == 4


class FakeSubscriber:
    def wake(self) -> None: ...


async def test_a_run_is_cancelled_when_its_last_subscriber_leaves() -> None:
    agent = fake_agent(60.0)
    dispatcher = create_dispatcher(serve(agent))
    run = dispatcher.dispatch(dispatcher.agents.by_name["desk"], TURN)
    one, two = FakeSubscriber(), FakeSubscriber()
    run.subscribers += [one, two]
    run.start()
    await asyncio.sleep(1)
    dispatcher.unsubscribe(run, one)
    await asyncio.sleep(1)
    assert dispatcher.runs == {run}
    dispatcher.unsubscribe(run, two)
    await asyncio.sleep(1)
    assert agent.close_times == [2.0]
    assert dispatcher.runs == set()


async def test_the_grace_starts_anew_each_time_the_last_subscriber_leaves() -> None:
    agent = fake_agent(60.0)
    dispatcher = create_dispatcher(serve(agent), disconnect_grace=2.0)
    run = dispatcher.dispatch(dispatcher.agents.by_name["desk"], TURN)
    run.start()
    for _ in range(3):
        subscriber = FakeSubscriber()
        run.subscribers.append(subscriber)
        dispatcher.unsubscribe(run, subscriber)
        await asyncio.sleep(1.5)
    await asyncio.sleep(2)
    assert agent.close_times == [5.0]


async def test_an_empty_call_store_is_used() -> None:
    calls = CallStore(max_calls=1)
    dispatcher = create_dispatcher(serve(), calls=calls)
    run = dispatcher.dispatch(dispatcher.agents.by_name["desk"], replace(TURN, call="c1"))
    assert calls.get("c1", 0.0).run is run


async def test_an_ended_run_is_not_cancelled_when_its_subscriber_leaves() -> None:
    agent = fake_agent("Hi", closing=1.0)
    dispatcher = create_dispatcher(serve(agent))
    run = dispatcher.dispatch(dispatcher.agents.by_name["desk"], TURN)
    subscriber = FakeSubscriber()
    run.subscribers.append(subscriber)
    run.start()
    await asyncio.sleep(2)
    dispatcher.unsubscribe(run, subscriber)
    assert (run.cancelled_at, agent.close_times) == (None, [1.0])


async def test_a_run_that_does_not_close_in_time_stays_owned() -> None:
    agent = fake_agent(60.0, closing=5.0)
    dispatcher = create_dispatcher(serve(agent))
    run = dispatcher.dispatch(dispatcher.agents.by_name["desk"], TURN)
    run.start()
    await asyncio.sleep(1)
    run.cancel()
    await asyncio.sleep(4)
    assert dispatcher.runs == {run}
    await asyncio.sleep(2)
    assert dispatcher.runs == set()


@pytest.mark.parametrize(("retried", "delivered"), [(False, False), (True, True)])
async def test_an_identical_background_request_joins_the_run(retried: bool, delivered: bool) -> None:
    dispatcher = create_dispatcher(serve(fake_agent(1.0, "Hi", 1.0)))
    served_agent = dispatcher.agents.by_name["desk"]
    turn = replace(TURN, call="c1")
    newest = dispatcher.dispatch(served_agent, turn)
    background_run = dispatcher.dispatch(
        served_agent, replace(turn, messages=(Message("user", "Sum up."),)), client=Client.PROGRAM
    )
    for run in (newest, background_run):
        run.start()
    for wait in (0, 1.5, 5):
        await asyncio.sleep(wait)
        assert (
            dispatcher.dispatch(served_agent, background_run.turn, is_retry=retried, client=Client.PROGRAM)
            is background_run
        )
        assert dispatcher.dispatch(served_agent, turn, is_retry=retried, client=Client.PROGRAM) is newest
        for run in (newest, background_run):
            run.was_delivered = delivered
    assert (newest.cancelled_at, background_run.cancelled_at) == (None, None)


@pytest.mark.parametrize(
    ("failure", "is_new"),
    [(AgentBusy("busy"), True), (AgentUnavailable("away"), True), (AgentProtocolError("?"), False)],
)
@pytest.mark.parametrize("client", [Client.PROGRAM, Client.VOICE])
async def test_a_retry_after_a_retryable_failure_gets_a_new_run(
    failure: AgentError, is_new: bool, client: Client
) -> None:
    dispatcher = create_dispatcher(serve(fake_agent(failure)))
    served_agent = dispatcher.agents.by_name["desk"]
    turn = replace(TURN, call="c1")
    run = dispatcher.dispatch(served_agent, turn, client=client)
    run.start()
    await asyncio.sleep(0.5)
    assert (dispatcher.dispatch(served_agent, turn, is_retry=True, client=client) is run) is not is_new


async def test_a_run_beside_the_newest_one_is_found_again_and_never_superseded() -> None:
    agent = fake_agent(1.0, "Hi", 60.0)
    dispatcher = create_dispatcher(serve(agent))
    served_agent, turn = dispatcher.agents.by_name["desk"], replace(TURN, call="c1")
    newest = dispatcher.dispatch(served_agent, turn)
    beta = dispatcher.dispatch(served_agent, replace(turn, model="beta"))
    assert (newest.turn.background, beta.turn.background) == (False, True)
    assert dispatcher.dispatch(served_agent, replace(turn, model="beta")) is beta
    for run in (newest, beta):
        run.start()
    await asyncio.sleep(2)
    newer = dispatcher.dispatch(served_agent, replace(turn, messages=(Message("user", "Bye."),)))
    newer.start()
    await asyncio.sleep(1)
    assert (newest.is_closed, beta.event_log.has_ended, newer.turn.background) == (True, False, False)
    assert (newest.event_log.was_cancelled, beta.event_log.was_cancelled) == (True, False)
    await dispatcher.aclose()


async def test_a_whole_request_before_the_first_turn_makes_no_turn_old() -> None:
    dispatcher = create_dispatcher(serve(fake_agent(60.0)))
    served_agent = dispatcher.agents.by_name["desk"]
    longer = (*TURN.messages, Message("assistant", "Hi."), Message("user", "Bye."))
    dispatcher.dispatch(served_agent, replace(TURN, call="c1", messages=longer), client=Client.PROGRAM)
    assert not dispatcher.dispatch(served_agent, replace(TURN, call="c1")).is_closed


async def test_a_closed_run_keeps_no_tools_and_answers_the_same_request_until_its_window_is_over() -> None:
    dispatcher = create_dispatcher(serve(fake_agent("Hi", ToolCall("c", "f"))), replay_window=10.0)
    served_agent = dispatcher.agents.by_name["desk"]
    turn = replace(TURN, call="c1", tools=(Tool("f"),), options={"temperature": 1}, extra={"a": 1})
    run = dispatcher.dispatch(served_agent, turn)
    run.start()
    await asyncio.sleep(9.0)
    assert run.turn == replace(turn, tools=(), options={}, extra={})
    assert dispatcher.dispatch(served_agent, turn) is run
    other = replace(turn, tools=(Tool("g"),))
    assert dispatcher.dispatch(served_agent, other, client=Client.PROGRAM) is not run
    call = dispatcher.calls.get("c1", 9.0)
    await asyncio.sleep(2.0)
    assert call.run is None
    assert dispatcher.dispatch(served_agent, turn) is not run


async def test_idle_calls_are_forgotten_although_no_turn_comes() -> None:
    calls = CallStore(idle_timeout=60.0)
    dispatcher = create_dispatcher(serve(fake_agent("Hi")), calls=calls)
    for number in range(MAX_EVICTION_CHECKS + 50):
        dispatcher.dispatch(dispatcher.agents.by_name["desk"], replace(TURN, call=f"c{number}")).start()
    await asyncio.sleep(59.0)
    assert len(calls) == MAX_EVICTION_CHECKS + 50
    await asyncio.sleep(2.0)
    assert (len(calls), calls.total_bytes) == (0, 0)
    dispatcher.dispatch(dispatcher.agents.by_name["desk"], replace(TURN, call="new")).start()
    await asyncio.sleep(61.0)
    assert len(calls) == 0
    await dispatcher.aclose()


async def test_an_idempotency_key_finds_its_run_until_the_replay_window_is_over() -> None:
    dispatcher = create_dispatcher(serve(fake_agent(1.0, "Hi")), replay_window=10.0)
    served_agent, key = dispatcher.agents.by_name["desk"], IdempotencyKey(b"k", b"1", 10)
    run = dispatcher.dispatch(served_agent, TURN, idempotency_key=key)
    run.start()
    for seconds in (0.5, 1.0, 9.0):
        await asyncio.sleep(seconds)
        assert dispatcher.dispatch(served_agent, TURN, idempotency_key=key) is run
        run.was_delivered = True
    await asyncio.sleep(1)
    assert len(dispatcher.idempotent_runs) == 0
    assert dispatcher.dispatch(served_agent, TURN, idempotency_key=key) is not run


async def test_a_repeated_idempotency_key_gets_a_new_run_after_a_cancellation() -> None:
    dispatcher = create_dispatcher(serve(fake_agent(60.0)))
    served_agent, key = dispatcher.agents.by_name["desk"], IdempotencyKey(b"k", b"1", 10)
    run = dispatcher.dispatch(served_agent, TURN, idempotency_key=key)
    run.cancel()
    again = dispatcher.dispatch(served_agent, TURN, idempotency_key=key)
    await asyncio.sleep(11)
    assert again is not run
    assert dispatcher.dispatch(served_agent, TURN, idempotency_key=key) is again


async def test_drain_refuses_new_turns_and_lets_running_ones_finish() -> None:
    dispatcher = create_dispatcher(serve(fake_agent(1.0, "Hi")))
    run = dispatcher.dispatch(dispatcher.agents.by_name["desk"], TURN)
    run.start()
    await asyncio.sleep(0.5)
    dispatcher.drain()
    with pytest.raises(ServiceUnavailable):
        dispatcher.dispatch(dispatcher.agents.by_name["desk"], TURN)
    await asyncio.sleep(1)
    assert (run.event_log.events, run.event_log.failure) == (["Hi"], None)


async def test_stop_all_ends_every_run_with_shutting_down() -> None:
    dispatcher = create_dispatcher(serve(fake_agent(60.0)))
    runs = [dispatcher.dispatch(dispatcher.agents.by_name["desk"], TURN) for _ in range(3)]
    for run in runs[:2]:
        run.start()
    await asyncio.sleep(0.1)
    dispatcher.stop_all()
    assert [type(run.event_log.failure) for run in runs] == [ShuttingDown] * 3
    await asyncio.sleep(0.1)
    assert dispatcher.runs == set()


async def test_aclose_waits_for_agents_up_to_the_stop_timeout(caplog: pytest.LogCaptureFixture) -> None:
    quick, slow = fake_agent(60.0, closing=0.1), fake_agent(60.0, closing=0.5)
    dispatcher = create_dispatcher(serve(quick), serve(slow, "slow"), stop_timeout=0.25)
    runs: list[Run] = []
    for name in ("desk", "slow"):
        runs.append(dispatcher.dispatch(dispatcher.agents.by_name[name], TURN))
        runs[-1].start()
    await asyncio.sleep(1)
    await dispatcher.aclose()
    assert asyncio.get_running_loop().time() == 1.25
    assert dispatcher.runs == {runs[1]}
    assert [record.getMessage() for record in caplog.records] == ["turn t1: the agent did not close in time"]
    await asyncio.sleep(1)
    assert (quick.close_times, slow.close_times) == ([1.1], [1.5])


async def test_aclose_without_runs_takes_no_time() -> None:
    await create_dispatcher(DESK).aclose()
    assert asyncio.get_running_loop().time() == 0.0
