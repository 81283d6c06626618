"""Which line answers, and who owns the runs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.script import Script, script
from voicegw.ack import AckPolicy
from voicegw.calls.memory import Calls
from voicegw.dialects import DIALECTS
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentGarbled,
    AgentUnavailable,
    Closing,
    Draining,
    UnknownModel,
)
from voicegw.events import Message, Tool, Turn
from voicegw.guard import ANONYMOUS, Key
from voicegw.run import Run
from voicegw.switchboard import Line, Switchboard

TURN = Turn("t1", (Message("user", "Hello?"),))


def line(agent: Script | None = None, name: str = "desk", **fields: Any) -> Line:
    return Line(name, agent or script("Hi"), DIALECTS["voice"], **fields)


def board(*lines: Line, **options: Any) -> Switchboard:
    return Switchboard({line.name: line for line in lines}, now=asyncio.get_event_loop().time, **options)


def key(*models: str) -> Key:
    return Key("k", b"", frozenset(models))


DESK, SHOP = line(), line(name="shop")


@pytest.mark.parametrize(
    ("model", "shown", "strict", "answers"),
    [
        ("shop", ANONYMOUS, False, "shop"),
        ("", ANONYMOUS, False, "desk"),
        ("", ANONYMOUS, True, "desk"),
        ("gpt-4o", ANONYMOUS, False, "desk"),
        ("gpt-4o", ANONYMOUS, True, None),
        ("gpt-4o", key("shop"), False, "shop"),
        ("desk", key("shop"), False, None),
        ("shop", key("shop"), True, "shop"),
        ("", key(), False, None),
        ("x", key("gone"), False, None),
    ],
)
async def test_a_name_finds_a_line_that_the_key_may_use(
    model: str, shown: Key, strict: bool, answers: str | None
) -> None:
    switchboard = board(DESK, SHOP, strict=strict)
    if answers is None:
        with pytest.raises(UnknownModel) as refused:
            switchboard.line(model, shown)
        assert (refused.value.param, refused.value.code) == ("model", "model_not_found")
    else:
        assert switchboard.line(model, shown).name == answers


async def test_a_key_sees_what_it_may_use_the_default_first() -> None:
    assert board(DESK, SHOP).visible(ANONYMOUS) == ["desk", "shop"]
    assert board(DESK, SHOP).visible(key("shop")) == ["shop"]


class Many(Script):
    """An agent that answers for more names than its own."""

    def __init__(self, *models: str) -> None:
        super().__init__("Hi")
        self.models = list(models)


async def test_an_agent_s_further_models_are_found_by_whoever_may_use_it() -> None:
    first, second = Many("red", "both", "shop"), Many("blue", "both")
    switchboard = board(line(first), line(second, "shop"), strict=True)
    assert switchboard.visible(ANONYMOUS) == ["desk", "shop", "red", "both", "blue"]
    assert switchboard.visible(key("shop")) == ["shop", "blue", "both"]
    names = {model: switchboard.line(model, ANONYMOUS).name for model in ("red", "blue", "both", "shop")}
    assert names == {"red": "desk", "blue": "shop", "both": "desk", "shop": "shop"}
    assert switchboard.line("both", key("shop")).name == "shop"
    with pytest.raises(UnknownModel):
        switchboard.line("red", key("shop"))
    first.models.append("green")
    assert switchboard.line("green", ANONYMOUS).name == "desk", "they may be found out later"


async def test_every_agent_is_told_of_a_call_that_is_over_and_nobody_waits_for_it() -> None:
    class Hurt(Script):
        async def leave(self, call: str) -> None:
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
    assert len({one.id(), one.id(), two.id(), two.id()}) == 4


class Silent:
    def wake(self) -> None: ...


async def test_the_last_listener_takes_the_run_with_it() -> None:
    agent = script(60.0)
    switchboard = board(line(agent))
    run = switchboard.begin(switchboard.lines["desk"], TURN)
    one, two = Silent(), Silent()
    run.followers += [one, two]
    run.start()
    await asyncio.sleep(1)
    switchboard.leave(run, one)
    await asyncio.sleep(1)
    assert switchboard.runs == {run}
    switchboard.leave(run, two)
    await asyncio.sleep(1)
    assert agent.closed == [2.0]
    assert switchboard.runs == set()


async def test_each_time_that_the_last_listener_leaves_the_grace_begins_anew() -> None:
    agent = script(60.0)
    switchboard = board(line(agent), grace=2.0)
    run = switchboard.begin(switchboard.lines["desk"], TURN)
    run.start()
    for _ in range(3):
        ear = Silent()
        run.followers.append(ear)
        switchboard.leave(run, ear)
        await asyncio.sleep(1.5)
    await asyncio.sleep(2)
    assert agent.closed == [5.0]


async def test_calls_that_are_still_empty_are_the_ones_to_be_used() -> None:
    calls = Calls(most=1)
    switchboard = board(line(), calls=calls)
    run = switchboard.begin(switchboard.lines["desk"], replace(TURN, call="c1"))
    assert calls.get("c1", 0.0).run is run


async def test_a_run_that_is_over_is_not_cancelled_by_its_listener_s_leaving() -> None:
    agent = script("Hi", closing=1.0)
    switchboard = board(line(agent))
    run = switchboard.begin(switchboard.lines["desk"], TURN)
    ear = Silent()
    run.followers.append(ear)
    run.start()
    await asyncio.sleep(2)
    switchboard.leave(run, ear)
    assert (run.cancelled, agent.closed) == (None, [1.0])


async def test_what_does_not_close_in_time_stays_owned() -> None:
    agent = script(60.0, closing=5.0)
    switchboard = board(line(agent))
    run = switchboard.begin(switchboard.lines["desk"], TURN)
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
    desk = switchboard.lines["desk"]
    turn = replace(TURN, call="c1")
    newest = switchboard.begin(desk, turn)
    side = switchboard.begin(desk, replace(turn, messages=(Message("user", "Sum up."),)), aside=True)
    for run in (newest, side):
        run.start()
    for wait in (0, 1.5, 5):
        await asyncio.sleep(wait)
        assert switchboard.begin(desk, side.turn, retried=retried, aside=True) is side
        assert switchboard.begin(desk, turn, retried=retried, aside=True) is newest
        for run in (newest, side):
            run.delivered = delivered
    assert (newest.cancelled, side.cancelled) == (None, None)


@pytest.mark.parametrize(
    ("failure", "again"),
    [(AgentBusy("busy"), True), (AgentUnavailable("away"), True), (AgentGarbled("?"), False)],
)
@pytest.mark.parametrize("aside", [True, False])
async def test_who_was_told_to_try_again_gets_another_run(
    failure: AgentError, again: bool, aside: bool
) -> None:
    switchboard = board(line(script(failure)))
    desk = switchboard.lines["desk"]
    turn = replace(TURN, call="c1")
    run = switchboard.begin(desk, turn, aside=aside)
    run.start()
    await asyncio.sleep(0.5)
    assert (switchboard.begin(desk, turn, retried=True, aside=aside) is run) is not again


async def test_draining_takes_no_new_turns_and_lets_running_ones_go_on() -> None:
    switchboard = board(line(script(1.0, "Hi")))
    run = switchboard.begin(switchboard.lines["desk"], TURN)
    run.start()
    await asyncio.sleep(0.5)
    switchboard.drain()
    with pytest.raises(Draining):
        switchboard.begin(switchboard.lines["desk"], TURN)
    await asyncio.sleep(1)
    assert (run.record.events, run.record.failure) == (["Hi"], None)


async def test_hanging_up_ends_every_turn_with_a_farewell() -> None:
    switchboard = board(line(script(60.0)))
    runs = [switchboard.begin(switchboard.lines["desk"], TURN) for _ in range(3)]
    for run in runs[:2]:
        run.start()
    await asyncio.sleep(0.1)
    switchboard.hang_up()
    assert [type(run.record.failure) for run in runs] == [Closing] * 3
    await asyncio.sleep(0.1)
    assert switchboard.runs == set()


async def test_closing_waits_for_agents_as_long_as_it_may(caplog: pytest.LogCaptureFixture) -> None:
    quick, slow = script(60.0, closing=0.1), script(60.0, closing=0.5)
    switchboard = board(line(quick), line(slow, "slow"), stop_within=0.25)
    runs: list[Run] = []
    for name in ("desk", "slow"):
        runs.append(switchboard.begin(switchboard.lines[name], TURN))
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


@pytest.mark.parametrize(
    ("fields", "turn", "dialect", "quiet", "words", "after"),
    [
        ({}, TURN, "voice", False, "One moment. ", 0.0),
        ({}, TURN, "elevenlabs", False, "One moment... ", 0.0),
        ({}, TURN, "chat", False, "", None),
        ({}, TURN, "voice", True, "", None),
        ({"ack": AckPolicy(None)}, TURN, "voice", False, "", None),
        ({"ack": AckPolicy(0.5)}, TURN, "voice", False, "One moment. ", 0.5),
        ({}, Turn("t", TURN.messages, language="ja"), "vapi", False, "少々お待ちください。 ", 0.0),
        ({"phrases": {"en": ("Right",)}}, TURN, "voice", False, "Right. ", 0.0),
        ({}, Turn("t", TURN.messages, tools=(Tool("f"),)), "voice", False, "One moment. ", 0.7),
    ],
)
async def test_the_acknowledgement_follows_line_dialect_language_and_request(
    fields: dict[str, Any], turn: Turn, dialect: str, quiet: bool, words: str, after: float | None
) -> None:
    ack = line(**fields).acknowledgement(turn, DIALECTS[dialect], turn.messages, quiet=quiet)
    assert (ack.words, ack.after) == (words, after)


async def test_words_that_are_never_said_are_the_agent_s_own() -> None:
    history = (Message("assistant", "One moment. We are open."), Message("assistant", "Let me"))
    loud, silent = line(ack=AckPolicy(0.5)), line(ack=AckPolicy(None))
    assert [message.text for message in loud.cleaned(history, "en", frozenset())] == ["We are open."]
    assert silent.cleaned(history, "en", frozenset()) == history
    assert [message.text for message in silent.cleaned(history, "en", frozenset({"One moment."}))] == [
        "We are open.",
        "Let me",
    ]
