"""Which line answers, and who owns the runs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.support.script import Script, script
from voicegw.conversations.agent_registry import AgentRegistry
from voicegw.conversations.call_store import CallStore
from voicegw.conversations.dispatcher import Dispatcher
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentUnavailable,
    ServiceUnavailable,
    ShuttingDown,
)
from voicegw.events import Message, Turn
from voicegw.security.keys import ApiKey
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.run import Run
from voicegw.turns.served_agent import ServedAgent

TURN = Turn("t1", (Message("user", "Hello?"),))


def line(agent: Script | None = None, name: str = "desk", **fields: Any) -> ServedAgent:
    return ServedAgent(name, agent or script("Hi"), DIALECTS["voice"], **fields)


def registry(*lines: ServedAgent, **options: Any) -> AgentRegistry:
    return AgentRegistry({line.name: line for line in lines}, **options)


def board(*lines: ServedAgent, **options: Any) -> Dispatcher:
    return Dispatcher(registry(*lines), now=asyncio.get_event_loop().time, **options)


def key(*models: str) -> ApiKey:
    return ApiKey("k", b"", frozenset(models))


DESK, SHOP = line(), line(name="shop")


async def test_every_agent_is_told_of_a_call_that_is_over_and_nobody_waits_for_it() -> None:
    class Hurt(Script):
        async def call_ended(self, call: str) -> None:
            raise AgentUnavailable("gone")

    agent = script("Hi")
    switchboard = board(line(agent), line(Hurt(), "shop"))
    switchboard.calls.get("a", 0.0)
    switchboard.calls.end("a")
    assert agent.left == []
    await asyncio.sleep(0)
    assert agent.left == ["a"]
    await switchboard.aclose()


async def test_ids_never_repeat_not_even_among_workers() -> None:
    one, two = board(DESK), board(DESK)
    assert len({one.new_turn_id(), one.new_turn_id(), two.new_turn_id(), two.new_turn_id()}) == 4


class Silent:
    def wake(self) -> None: ...


async def test_the_last_listener_takes_the_run_with_it() -> None:
    agent = script(60.0)
    switchboard = board(line(agent))
    run = switchboard.dispatch(switchboard.agents.agents["desk"], TURN)
    one, two = Silent(), Silent()
    run.subscribers += [one, two]
    run.start()
    await asyncio.sleep(1)
    switchboard.unsubscribe(run, one)
    await asyncio.sleep(1)
    assert switchboard.runs == {run}
    switchboard.unsubscribe(run, two)
    await asyncio.sleep(1)
    assert agent.closed == [2.0]
    assert switchboard.runs == set()


async def test_each_time_that_the_last_listener_leaves_the_grace_begins_anew() -> None:
    agent = script(60.0)
    switchboard = board(line(agent), disconnect_grace=2.0)
    run = switchboard.dispatch(switchboard.agents.agents["desk"], TURN)
    run.start()
    for _ in range(3):
        ear = Silent()
        run.subscribers.append(ear)
        switchboard.unsubscribe(run, ear)
        await asyncio.sleep(1.5)
    await asyncio.sleep(2)
    assert agent.closed == [5.0]


async def test_calls_that_are_still_empty_are_the_ones_to_be_used() -> None:
    calls = CallStore(max_calls=1)
    switchboard = board(line(), calls=calls)
    run = switchboard.dispatch(switchboard.agents.agents["desk"], replace(TURN, call="c1"))
    assert calls.get("c1", 0.0).run is run


async def test_a_run_that_is_over_is_not_cancelled_by_its_listener_s_leaving() -> None:
    agent = script("Hi", closing=1.0)
    switchboard = board(line(agent))
    run = switchboard.dispatch(switchboard.agents.agents["desk"], TURN)
    ear = Silent()
    run.subscribers.append(ear)
    run.start()
    await asyncio.sleep(2)
    switchboard.unsubscribe(run, ear)
    assert (run.cancelled_at, agent.closed) == (None, [1.0])


async def test_what_does_not_close_in_time_stays_owned() -> None:
    agent = script(60.0, closing=5.0)
    switchboard = board(line(agent))
    run = switchboard.dispatch(switchboard.agents.agents["desk"], TURN)
    run.start()
    await asyncio.sleep(1)
    run.cancel()
    await asyncio.sleep(4)
    assert switchboard.runs == {run}
    await asyncio.sleep(2)
    assert switchboard.runs == set()


@pytest.mark.parametrize(("retried", "delivered"), [(False, False), (True, True)])
async def test_a_side_request_of_a_call_is_found_again_by_its_like(retried: bool, delivered: bool) -> None:
    switchboard = board(line(script(1.0, "Hi", 1.0)))
    desk = switchboard.agents.agents["desk"]
    turn = replace(TURN, call="c1")
    newest = switchboard.dispatch(desk, turn)
    side = switchboard.dispatch(desk, replace(turn, messages=(Message("user", "Sum up."),)), background=True)
    for run in (newest, side):
        run.start()
    for wait in (0, 1.5, 5):
        await asyncio.sleep(wait)
        assert switchboard.dispatch(desk, side.turn, retried=retried, background=True) is side
        assert switchboard.dispatch(desk, turn, retried=retried, background=True) is newest
        for run in (newest, side):
            run.delivered = delivered
    assert (newest.cancelled_at, side.cancelled_at) == (None, None)


@pytest.mark.parametrize(
    ("failure", "again"),
    [(AgentBusy("busy"), True), (AgentUnavailable("away"), True), (AgentProtocolError("?"), False)],
)
@pytest.mark.parametrize("aside", [True, False])
async def test_who_was_told_to_try_again_gets_another_run(
    failure: AgentError, again: bool, aside: bool
) -> None:
    switchboard = board(line(script(failure)))
    desk = switchboard.agents.agents["desk"]
    turn = replace(TURN, call="c1")
    run = switchboard.dispatch(desk, turn, background=aside)
    run.start()
    await asyncio.sleep(0.5)
    assert (switchboard.dispatch(desk, turn, retried=True, background=aside) is run) is not again


async def test_draining_takes_no_new_turns_and_lets_running_ones_go_on() -> None:
    switchboard = board(line(script(1.0, "Hi")))
    run = switchboard.dispatch(switchboard.agents.agents["desk"], TURN)
    run.start()
    await asyncio.sleep(0.5)
    switchboard.drain()
    with pytest.raises(ServiceUnavailable):
        switchboard.dispatch(switchboard.agents.agents["desk"], TURN)
    await asyncio.sleep(1)
    assert (run.event_log.events, run.event_log.failure) == (["Hi"], None)


async def test_hanging_up_ends_every_turn_with_a_farewell() -> None:
    switchboard = board(line(script(60.0)))
    runs = [switchboard.dispatch(switchboard.agents.agents["desk"], TURN) for _ in range(3)]
    for run in runs[:2]:
        run.start()
    await asyncio.sleep(0.1)
    switchboard.stop_all()
    assert [type(run.event_log.failure) for run in runs] == [ShuttingDown] * 3
    await asyncio.sleep(0.1)
    assert switchboard.runs == set()


async def test_closing_waits_for_agents_as_long_as_it_may(caplog: pytest.LogCaptureFixture) -> None:
    quick, slow = script(60.0, closing=0.1), script(60.0, closing=0.5)
    switchboard = board(line(quick), line(slow, "slow"), stop_timeout=0.25)
    runs: list[Run] = []
    for name in ("desk", "slow"):
        runs.append(switchboard.dispatch(switchboard.agents.agents[name], TURN))
        runs[-1].start()
    await asyncio.sleep(1)
    await switchboard.aclose()
    assert asyncio.get_running_loop().time() == 1.25
    assert switchboard.runs == {runs[1]}
    assert [record.getMessage() for record in caplog.records] == ["turn t1: the agent did not close in time"]
    await asyncio.sleep(1)
    assert (quick.closed, slow.closed) == ([1.1], [1.5])


async def test_closing_a_quiet_house_takes_no_time() -> None:
    await board(DESK).aclose()
    assert asyncio.get_running_loop().time() == 0.0
