"""One turn, one run: joins, replays, and what supersedes what."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.asgi import Answer
from tests.support.chat_lint import lint
from tests.support.gateway import ask, gateway
from tests.support.script import script
from voicegw.security.keys import digest

ONE = [{"role": "user", "content": "Hello?"}]
TWO = [*ONE, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "A table, please."}]
OTHER = [{"role": "user", "content": "Hello? Are you there?"}]
CALL = {"x-voicegw-call": "c1"}
RETRY = {"x-stainless-retry-count": "1"}


def later(seconds: float, *what: Any, **how: Any) -> asyncio.Task[Answer]:
    async def wait() -> Answer:
        await asyncio.sleep(seconds)
        return await ask(*what, **how)

    return asyncio.ensure_future(wait())


async def test_the_same_turn_asked_twice_at_a_time_is_one_run_and_two_answers() -> None:
    agent = script(0.5, "Hi", 0.5, " there.")
    app = gateway(agent)
    first, second = await asyncio.gather(later(0, app, headers=CALL), later(0.7, app, headers=CALL))
    assert (len(agent.started), first.text, second.text) == (1, "One moment. Hi there.", "Hi there.")
    assert [round(when, 9) for when, _ in second.spoken] == [0.0, 0.3], "what was said comes at once"
    for answer in (first, second):
        lint(answer.body)


async def test_a_joiner_that_leaves_takes_nothing_with_it() -> None:
    agent = script(0.5, "Hi", 1.0, " there.")
    app = gateway(agent)
    first = later(0, app, headers=CALL)
    await later(0.2, app, headers=CALL, hang_up=0.5)
    assert (await first).text == "One moment. Hi there."
    assert len(agent.started) == 1


@pytest.mark.parametrize(
    ("wait", "hang_up", "headers", "runs"),
    [
        (0.5, None, {}, 2),  # heard to its end: the caller truly asks again
        (0.5, None, RETRY, 1),
        (0.5, None, {"idempotency-key": "k"}, 1),
        (20.0, None, RETRY, 2),
    ],
)
async def test_a_finished_turn_is_replayed_only_to_who_missed_it(
    wait: float, hang_up: float | None, headers: dict[str, str], runs: int
) -> None:
    agent = script("Hi.")
    app = gateway(agent)
    await ask(app, headers=CALL, hang_up=hang_up)
    again = await later(wait, app, headers={**CALL, **headers})
    assert (len(agent.started), again.text.removeprefix("One moment. ")) == (runs, "Hi.")
    lint(again.body)


async def test_within_the_grace_a_turn_goes_on_for_who_comes_back() -> None:
    agent = script(1.0, "Hi.", 1.0, " Bye.")
    app = gateway(agent, turns={"disconnect_grace": 2.0})
    await ask(app, headers=CALL, hang_up=0.5)
    again = await later(1.0, app, headers=CALL)
    assert (len(agent.started), again.text) == (1, "Hi. Bye.")
    assert agent.closed == [2.0]


async def test_after_the_grace_the_agent_is_told_to_stop() -> None:
    agent = script(60.0)
    app = gateway(agent, turns={"disconnect_grace": 2.0})
    await ask(app, headers=CALL, hang_up=0.5)
    await asyncio.sleep(5)
    assert agent.closed == [2.5]


async def test_a_newer_turn_supersedes_the_one_that_runs_and_never_waits_for_it() -> None:
    agent = script(1.0, "Hi.", 5.0, closing=0.1)
    app = gateway(agent)
    old, new = await asyncio.gather(
        later(0, app, {"messages": ONE}, headers=CALL), later(0.5, app, {"messages": OTHER}, headers=CALL)
    )
    assert (old.reason, old.text, old.sends[-1][0]) == ("stop", "One moment. ", 0.5)
    assert new.spoken[0] == (0.0, "One moment. ")
    assert agent.started == [0.0, 0.6], "the agent is asked when the older turn is closed"
    for answer in (old, new):
        lint(answer.body)


async def test_an_older_turn_that_will_not_close_is_not_waited_for_longer_than_the_cap() -> None:
    agent = script(60.0, closing=3.0)
    app = gateway(agent)
    turns = [
        later(0, app, {"messages": ONE}, headers=CALL),
        later(0.5, app, {"messages": OTHER}, headers=CALL, hang_up=1.0),
    ]
    await asyncio.gather(*turns)
    assert agent.started == [0.0, 0.65]
    await asyncio.sleep(9)
    assert len(agent.closed) == 2


async def test_a_late_retry_of_an_old_turn_ends_without_any_work() -> None:
    agent = script("Hi.", 1.0)
    app = gateway(agent)
    newest = later(0, app, {"messages": TWO}, headers=CALL)
    late = await later(0.5, app, {"messages": ONE}, headers=CALL)
    assert (late.text, late.reason, len(agent.started)) == ("", "stop", 1)
    lint(late.body)
    assert (await newest).text == "Let me see. Hi."


async def test_long_after_going_back_to_an_earlier_turn_is_a_turn() -> None:
    agent = script("Hi.")
    app = gateway(agent)
    await ask(app, {"messages": TWO}, headers=CALL)
    again = await later(20.0, app, {"messages": ONE}, headers=CALL)
    assert (again.text, len(agent.started)) == ("One moment. Hi.", 2)


async def test_a_whole_answer_that_nobody_heard_is_found_again_within_the_grace() -> None:
    agent = script(1.0, "Hi.")
    app = gateway(agent, turns={"disconnect_grace": 5.0})
    await ask(app, {"stream": False}, headers=CALL, hang_up=0.5)
    again = await later(1.0, app, {"stream": False}, headers=CALL)
    assert again.json["choices"][0]["message"]["content"] == "Hi."
    assert len(agent.started) == 1


async def test_a_storm_of_turns_on_one_call_ends_with_one_live_run() -> None:
    agent = script(0.2, "Hi.", 60.0, closing=0.01)
    app = gateway(agent)
    storm = [
        later(
            n / 100, app, {"messages": [{"role": "user", "content": f"word {n}"}]}, headers=CALL, hang_up=3.0
        )
        for n in range(100)
    ]
    answers = await asyncio.gather(*storm)
    for answer in answers[:-1]:
        lint(answer.body)
    assert answers[-1].text == "One moment. Hi."
    await asyncio.sleep(1)
    assert len(agent.started) == len(agent.closed)
    overlaps = [start for start, end in zip(agent.started[1:], agent.closed, strict=False) if start < end]
    assert overlaps == []


async def test_whole_answers_join_their_like_and_supersede_nothing() -> None:
    agent = script(1.0, "Hi.")
    app = gateway(agent)
    streamed = later(0, app, {"messages": ONE}, headers=CALL)
    side = later(0.1, app, {"messages": OTHER, "stream": False}, headers=CALL)
    joined = later(0.2, app, {"messages": ONE, "stream": False}, headers=CALL)
    assert (await streamed).text == "One moment. Hi."
    assert (await side).json["choices"][0]["message"]["content"] == "Hi."
    assert (await joined).json["choices"][0]["message"]["content"] == "Hi."
    assert len(agent.started) == 2


async def test_two_callers_of_identical_words_never_meet() -> None:
    agent = script(0.5, "Hi.")
    app = gateway(agent)
    answers = await asyncio.gather(*(later(n / 10, app) for n in range(3)))
    assert len(agent.started) == 3
    assert len({answer.headers["x-voicegw-call"] for answer in answers}) == 3
    assert {turn.call for turn in agent.turns} == {None}


async def test_two_tenants_of_the_same_call_id_never_meet() -> None:
    agent = script(0.5, "Hi.")
    keys = {name: {"hash": f"sha256:{digest(name).hex()}"} for name in ("a", "b")}
    app = gateway(agent, keys=keys)
    await asyncio.gather(
        *(later(0.1, app, headers={**CALL, "authorization": f"Bearer {name}"}) for name in ("a", "b"))
    )
    assert len({turn.call for turn in agent.turns}) == 2


async def test_without_a_call_only_a_retry_joins_and_only_its_own_request() -> None:
    agent = script(1.0, "Hi.")
    app = gateway(agent)
    answers = await asyncio.gather(
        later(0, app),
        later(0.5, app, headers=RETRY),
        later(0.5, app, {"messages": OTHER}, headers=RETRY),
        later(1.5, app, headers=RETRY),
    )
    assert len(agent.started) == 3
    assert [answer.text[-3:] for answer in answers] == ["Hi."] * 4


async def test_the_name_that_is_answered_finds_the_same_call() -> None:
    agent = script("Hi.")
    app = gateway(agent)
    first = await ask(app, {"call": {"id": "vapi-1"}})
    await ask(app, {"messages": TWO}, headers={"x-voicegw-call": first.headers["x-voicegw-call"]})
    assert agent.turns[0].call == agent.turns[1].call is not None


async def test_a_client_s_own_header_is_answered_too() -> None:
    answer = await ask(gateway(script("Hi.")), headers={"x-hermes-session-id": "h1"})
    assert answer.headers["x-hermes-session-id"] == "h1"


async def test_configured_headers_and_keys_name_the_call() -> None:
    agent = script("Hi.")
    app = gateway(agent, calls={"headers": ["X-My-Call"], "keys": ["ref"]})
    await ask(app, headers={"x-my-call": "m1"})
    await ask(app, {"metadata": {"ref": "r1"}})
    await ask(app, {"metadata": {"call_id": "r1"}})
    assert [turn.call is not None for turn in agent.turns] == [True, True, False]


async def test_errands_of_chat_clients_are_no_turns() -> None:
    agent = script(0.5, "Hi.")
    app = gateway(agent)
    errand = [{"role": "user", "content": "### Task:\nGenerate a title."}]
    turn = later(0, app, headers=CALL)
    title = await later(0.1, app, {"messages": errand}, headers=CALL)
    assert (title.text, agent.turns[1].call) == ("Hi.", None)
    assert (await turn).text == "One moment. Hi."


@pytest.mark.parametrize("odd", ["x" * 10_000, "a\tb"])
async def test_a_call_id_that_nobody_means_is_refused(odd: str) -> None:
    agent = script("Hi.")
    answer = await ask(gateway(agent), {"metadata": {"call_id": odd}})
    assert (answer.status, answer.error["param"], agent.started) == (400, "metadata.call_id", [])
