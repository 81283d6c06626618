"""Turns of calls over HTTP: which of them join, replay or supersede a run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.asgi import RecordedResponse
from tests.support.chat_lint import lint
from tests.support.fake_agent import fake_agent
from tests.support.gateway import create_gateway, send_turn
from tests.support.responses_lint import lint as lint_response
from voicegw.security.keys import hash_secret

ONE = [{"role": "user", "content": "Hello?"}]
TWO = [*ONE, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "A table, please."}]
OTHER = [{"role": "user", "content": "Hello? Are you there?"}]
CALL = {"x-voicegw-call": "c1"}
RETRY = {"x-stainless-retry-count": "1"}


def send_later(seconds: float, *args: Any, **options: Any) -> asyncio.Task[RecordedResponse]:
    async def wait() -> RecordedResponse:
        await asyncio.sleep(seconds)
        return await send_turn(*args, **options)

    return asyncio.ensure_future(wait())


async def test_the_same_turn_twice_at_once_is_one_run_with_two_responses() -> None:
    agent = fake_agent(0.5, "Hi", 0.5, " there.")
    app = create_gateway(agent)
    first, second = await asyncio.gather(send_later(0, app, headers=CALL), send_later(0.7, app, headers=CALL))
    assert (len(agent.start_times), first.text, second.text) == (1, "One moment. Hi there.", "Hi there.")
    assert [round(when, 9) for when, _ in second.texts] == [0.0, 0.3], "the text so far is sent at once"
    for answer in (first, second):
        lint(answer.body)


async def test_a_second_client_that_disconnects_does_not_cancel_the_run() -> None:
    agent = fake_agent(0.5, "Hi", 1.0, " there.")
    app = create_gateway(agent)
    first = send_later(0, app, headers=CALL)
    await send_later(0.2, app, headers=CALL, hang_up=0.5)
    assert (await first).text == "One moment. Hi there."
    assert len(agent.start_times) == 1


@pytest.mark.parametrize(
    ("wait", "hang_up", "headers", "runs"),
    [
        (0.5, None, {}, 2),  # delivered to its end: the caller really asks again
        (0.5, None, RETRY, 1),
        (0.5, None, {"idempotency-key": "k"}, 2),  # a new key is no retry
        (20.0, None, RETRY, 2),
    ],
)
async def test_an_ended_run_is_replayed_only_to_a_client_that_missed_it(
    wait: float, hang_up: float | None, headers: dict[str, str], runs: int
) -> None:
    agent = fake_agent("Hi.")
    app = create_gateway(agent)
    await send_turn(app, headers=CALL, hang_up=hang_up)
    again = await send_later(wait, app, headers={**CALL, **headers})
    assert (len(agent.start_times), again.text.removeprefix("One moment. ")) == (runs, "Hi.")
    lint(again.body)


async def test_within_the_grace_a_client_that_returns_joins_its_run() -> None:
    agent = fake_agent(1.0, "Hi.", 1.0, " Bye.")
    app = create_gateway(agent, turns={"disconnect_grace": 2.0})
    await send_turn(app, headers=CALL, hang_up=0.5)
    again = await send_later(1.0, app, headers=CALL)
    assert (len(agent.start_times), again.text) == (1, "Hi. Bye.")
    assert agent.close_times == [2.0]


async def test_after_the_grace_the_run_is_cancelled() -> None:
    agent = fake_agent(60.0)
    app = create_gateway(agent, turns={"disconnect_grace": 2.0})
    await send_turn(app, headers=CALL, hang_up=0.5)
    await asyncio.sleep(5)
    assert agent.close_times == [2.5]


async def test_a_newer_turn_supersedes_the_older_run_and_acknowledges_at_once() -> None:
    agent = fake_agent(1.0, "Hi.", 5.0, closing=0.1)
    app = create_gateway(agent)
    old, new = await asyncio.gather(
        send_later(0, app, {"messages": ONE}, headers=CALL),
        send_later(0.5, app, {"messages": OTHER}, headers=CALL),
    )
    assert (old.finish_reason, old.text, old.sends[-1][0]) == ("length", "One moment. ", 0.5)
    assert new.texts[0] == (0.0, "One moment. ")
    assert agent.start_times == [0.0, 0.6], "the agent is asked when the older turn is closed"
    for answer in (old, new):
        lint(answer.body)


async def test_a_newer_turn_waits_for_the_older_run_only_up_to_the_supersede_wait() -> None:
    agent = fake_agent(60.0, closing=3.0)
    app = create_gateway(agent)
    turns = [
        send_later(0, app, {"messages": ONE}, headers=CALL),
        send_later(0.5, app, {"messages": OTHER}, headers=CALL, hang_up=1.0),
    ]
    await asyncio.gather(*turns)
    assert agent.start_times == [0.0, 0.65]
    await asyncio.sleep(9)
    assert len(agent.close_times) == 2


async def test_a_late_retry_of_an_earlier_turn_ends_without_any_work() -> None:
    agent = fake_agent("Hi.", 1.0)
    app = create_gateway(agent)
    newest = send_later(0, app, {"messages": TWO}, headers=CALL)
    late = await send_later(0.5, app, {"messages": ONE}, headers=CALL)
    assert (late.text, late.finish_reason, len(agent.start_times)) == ("", "length", 1)
    lint(late.body)
    assert (await newest).text == "Let me see. Hi."


async def test_an_earlier_turn_after_the_replay_window_is_a_new_turn() -> None:
    agent = fake_agent("Hi.")
    app = create_gateway(agent)
    await send_turn(app, {"messages": TWO}, headers=CALL)
    again = await send_later(20.0, app, {"messages": ONE}, headers=CALL)
    assert (again.text, len(agent.start_times)) == ("One moment. Hi.", 2)


async def test_an_undelivered_whole_response_is_replayed_within_the_grace() -> None:
    agent = fake_agent(1.0, "Hi.")
    app = create_gateway(agent, turns={"disconnect_grace": 5.0})
    await send_turn(app, {"stream": False}, headers=CALL, hang_up=0.5)
    again = await send_later(1.0, app, {"stream": False}, headers=CALL)
    assert again.json["choices"][0]["message"]["content"] == "Hi."
    assert len(agent.start_times) == 1


async def test_a_storm_of_turns_on_one_call_ends_with_one_live_run() -> None:
    agent = fake_agent(0.2, "Hi.", 60.0, closing=0.01)
    app = create_gateway(agent)
    storm = [
        send_later(
            n / 100, app, {"messages": [{"role": "user", "content": f"word {n}"}]}, headers=CALL, hang_up=3.0
        )
        for n in range(100)
    ]
    answers = await asyncio.gather(*storm)
    for answer in answers[:-1]:
        lint(answer.body)
    assert answers[-1].text == "One moment. Hi."
    await asyncio.sleep(1)
    assert len(agent.start_times) == len(agent.close_times)
    overlaps = [
        start for start, end in zip(agent.start_times[1:], agent.close_times, strict=False) if start < end
    ]
    assert overlaps == []


async def test_requests_without_stream_join_identical_runs_and_supersede_none() -> None:
    agent = fake_agent(1.0, "Hi.")
    app = create_gateway(agent)
    streamed = send_later(0, app, {"messages": ONE}, headers=CALL)
    background = send_later(0.1, app, {"messages": OTHER, "stream": False}, headers=CALL)
    joined = send_later(0.2, app, {"messages": ONE, "stream": False}, headers=CALL)
    assert (await streamed).text == "One moment. Hi."
    assert (await background).json["choices"][0]["message"]["content"] == "Hi."
    assert (await joined).json["choices"][0]["message"]["content"] == "Hi."
    assert len(agent.start_times) == 2


STRUCTURED: list[dict[str, Any]] = [
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}},
    {"text": {"format": {"type": "json_object"}}},
]


@pytest.mark.parametrize("format_", STRUCTURED)
@pytest.mark.parametrize("messages", [ONE, TWO, OTHER], ids=["same", "longer", "other"])
@pytest.mark.parametrize("stream", [True, False])
async def test_structured_requests_run_beside_the_spoken_turns_of_a_call(
    format_: dict[str, Any], messages: list[dict[str, Any]], stream: bool
) -> None:
    agent = fake_agent(1.0, "Hi.")
    app = create_gateway(agent)
    is_chat = "response_format" in format_
    path = {} if is_chat else RESPONSES
    body = {("messages" if is_chat else "input"): messages, **format_, "stream": stream}
    spoken, structured, newer = await asyncio.gather(
        send_later(0, app, {"messages": ONE}, headers=CALL),
        send_later(0.5, app, body, headers=CALL, **path),
        send_later(1.2, app, {"messages": OTHER if messages == TWO else TWO}, headers=CALL),
    )
    assert (spoken.finish_reason, newer.finish_reason) == ("stop", "stop")
    assert (structured.status, structured.sends[-1][0]) == (200, 1.0)
    assert (len(agent.start_times), len(agent.close_times)) == (3, 3)
    assert [turn.background for turn in agent.turns] == [False, True, False]


async def test_identical_requests_without_a_call_have_separate_runs() -> None:
    agent = fake_agent(0.5, "Hi.")
    app = create_gateway(agent)
    answers = await asyncio.gather(*(send_later(n / 10, app) for n in range(3)))
    assert len(agent.start_times) == 3
    assert len({answer.headers["x-voicegw-call"] for answer in answers}) == 3
    assert {turn.call for turn in agent.turns} == {None}


async def test_the_same_call_id_of_two_tenants_is_two_calls() -> None:
    agent = fake_agent(0.5, "Hi.")
    keys = {name: {"hash": f"sha256:{hash_secret(name).hex()}"} for name in ("a", "b")}
    app = create_gateway(agent, keys=keys)
    await asyncio.gather(
        *(send_later(0.1, app, headers={**CALL, "authorization": f"Bearer {name}"}) for name in ("a", "b"))
    )
    assert len({turn.call for turn in agent.turns}) == 2


async def test_without_a_call_a_retry_count_alone_joins_no_run() -> None:
    agent = fake_agent(1.0, "Hi.")
    app = create_gateway(agent)
    first, retry = await asyncio.gather(send_later(0, app, hang_up=0.6), send_later(0.5, app, headers=RETRY))
    assert (first.text, retry.text) == ("One moment. ", "One moment. Hi.")
    assert sorted(agent.close_times) == [0.6, 1.5], "the first run ends when its client is gone"


RESPONSES = {"path": "/v1/responses"}
KEY = {"idempotency-key": "k"}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("headers", [KEY, {**KEY, **RETRY}, {**KEY, **CALL}])
@pytest.mark.parametrize("seconds", [0.5, 1.5])
async def test_the_same_idempotency_key_and_request_get_the_answer_of_one_run(
    seconds: float, headers: dict[str, str], stream: bool
) -> None:
    agent = fake_agent(1.0, "Hi.")
    app, body = create_gateway(agent), {"stream": stream}
    first, again = await asyncio.gather(
        send_later(0, app, body, headers=headers), send_later(seconds, app, body, headers=headers)
    )
    assert len(agent.start_times) == 1
    assert [b"Hi." in answer.body for answer in (first, again)] == [True, True]


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ({"messages": OTHER}, {}),
        ({"temperature": 0.5}, {}),
        ({"stream": False}, {}),
        ({"input": "Hello?"}, RESPONSES),
        ({}, {"headers": {**KEY, **CALL}}),
    ],
)
@pytest.mark.parametrize("seconds", [0.5, 1.5])
async def test_the_same_idempotency_key_with_another_request_is_refused(
    seconds: float, body: dict[str, Any], options: dict[str, Any]
) -> None:
    agent = fake_agent(1.0, "Hi.")
    app = create_gateway(agent)
    first = send_later(0, app, headers=KEY)
    other = await send_later(seconds, app, body, **{"headers": KEY, **options})
    assert (other.status, other.error["type"]) == (422, "invalid_request_error")
    assert other.error["code"] == "idempotency_key_reused"
    assert other.headers["x-should-retry"] == "false"
    assert ((await first).text, len(agent.start_times)) == ("One moment. Hi.", 1)


async def test_two_tenants_may_send_the_same_idempotency_key() -> None:
    agent = fake_agent("Hi.")
    keys = {name: {"hash": f"sha256:{hash_secret(name).hex()}"} for name in ("a", "b")}
    app = create_gateway(agent, keys=keys)
    for name, messages in (("a", ONE), ("b", OTHER)):
        headers = {**KEY, "authorization": f"Bearer {name}"}
        assert (await send_turn(app, {"messages": messages}, headers=headers)).status == 200
    assert len(agent.start_times) == 2


@pytest.mark.parametrize("other", [{"model": "beta"}, {"temperature": 1}, {"tool_choice": "none"}])
@pytest.mark.parametrize("dialect", ["chat", "voice"])
async def test_the_same_words_with_other_options_are_answered_side_by_side(
    dialect: str, other: dict[str, Any]
) -> None:
    agent = fake_agent(0.5, "Hi.", 1.0, " Bye.")
    app = create_gateway(agent, agent_section={"dialect": dialect})
    answers = await asyncio.gather(
        send_later(0, app, headers=CALL),
        send_later(0.2, app, other, headers=CALL),
        send_later(0.4, app, other, headers=CALL),
    )
    assert {answer.text.removeprefix("One moment. ") for answer in answers} == {"Hi. Bye."}
    assert {answer.finish_reason for answer in answers} == {"stop"}
    assert [turn.background for turn in agent.turns] == [False, True]


async def test_two_models_of_one_chat_go_on_side_by_side_after_different_answers() -> None:
    agent = fake_agent(0.5, "Hi.")
    app = create_gateway(agent, agent_section={"dialect": "chat"})
    histories = [[*ONE, {"role": "assistant", "content": text}, OTHER[0]] for text in ("Hi.", "Hey.")]
    answers = await asyncio.gather(
        *(send_later(n / 10, app, {"messages": said}, headers=CALL) for n, said in enumerate(histories))
    )
    assert [(answer.text, answer.finish_reason) for answer in answers] == [("Hi.", "stop")] * 2


async def test_a_chat_client_may_regenerate_an_earlier_answer() -> None:
    agent = fake_agent("Hi.")
    app = create_gateway(agent, agent_section={"dialect": "chat"})
    await send_turn(app, {"messages": TWO}, headers=CALL)
    again = await send_later(0.5, app, {"messages": ONE}, headers=CALL)
    assert (again.text, again.finish_reason, len(agent.start_times)) == ("Hi.", "stop", 2)


async def test_parallel_requests_with_the_session_id_of_a_tracing_library_are_all_answered() -> None:
    agent = fake_agent(0.5, "Hi.")
    app = create_gateway(agent, agent_section={"dialect": "chat"})
    answers = await asyncio.gather(
        *(
            send_later(
                n / 10,
                app,
                {"messages": [{"role": "user", "content": f"{n}"}], "metadata": {"session_id": "trace-1"}},
            )
            for n in range(3)
        )
    )
    assert [(answer.text, answer.finish_reason) for answer in answers] == [("Hi.", "stop")] * 3
    assert {turn.call for turn in agent.turns} == {None}


async def test_a_newer_turn_with_another_prompt_and_other_tools_supersedes() -> None:
    agent = fake_agent(0.5, "Hi.", 5.0)
    app = create_gateway(agent)
    tools = [{"type": "function", "function": {"name": "book"}}]
    bodies: list[dict[str, Any]] = [
        {"messages": [{"role": "system", "content": "It is 12:00."}, *ONE]},
        {"messages": [{"role": "system", "content": "It is 12:01."}, *TWO], "tools": tools},
    ]
    old, new = await asyncio.gather(
        send_later(0, app, bodies[0], headers=CALL), send_later(1, app, bodies[1], headers=CALL)
    )
    assert (old.finish_reason, new.finish_reason, old.sends[-1][0]) == ("length", "stop", 1.0)


async def test_a_superseded_response_is_incomplete() -> None:
    agent = fake_agent(0.5, "Hi.", 5.0)
    app = create_gateway(agent)
    old, _ = await asyncio.gather(
        send_later(0, app, {"input": "Hello?"}, headers=CALL, **RESPONSES),
        send_later(1, app, {"input": "Are you there?"}, headers=CALL, **RESPONSES),
    )
    last = lint_response(old.body)[-1]
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "incomplete")
    assert last["response"]["incomplete_details"] == {"reason": "cancelled"}


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_whole_answer_that_joined_a_superseded_run_is_not_called_complete(api: str) -> None:
    agent = fake_agent(0.5, "Hi.", 5.0)
    app = create_gateway(agent)
    options: dict[str, Any] = {"headers": CALL, **(RESPONSES if api == "responses" else {})}
    bodies: list[dict[str, Any]] = (
        [{"input": "Hello?"}, {"input": "Are you there?"}]
        if api == "responses"
        else [{"messages": ONE}, {"messages": OTHER}]
    )
    streamed = send_later(0, app, bodies[0], **options)
    whole = send_later(0.1, app, {**bodies[0], "stream": False}, **options)
    await send_later(1, app, bodies[1], **options)
    await streamed
    answer = (await whole).json
    if api == "chat":
        assert answer["choices"][0]["finish_reason"] == "length"
    else:
        assert answer["status"] == "incomplete"


async def test_the_returned_call_header_reaches_the_same_call() -> None:
    agent = fake_agent("Hi.")
    app = create_gateway(agent)
    first = await send_turn(app, {"call": {"id": "vapi-1"}})
    await send_turn(app, {"messages": TWO}, headers={"x-voicegw-call": first.headers["x-voicegw-call"]})
    assert agent.turns[0].call == agent.turns[1].call is not None


async def test_the_client_s_own_call_header_is_echoed() -> None:
    answer = await send_turn(create_gateway(fake_agent("Hi.")), headers={"x-hermes-session-id": "h1"})
    assert answer.headers["x-hermes-session-id"] == "h1"


async def test_configured_headers_and_keys_name_the_call() -> None:
    agent = fake_agent("Hi.")
    app = create_gateway(agent, calls={"headers": ["X-My-Call"], "keys": ["ref"]})
    await send_turn(app, headers={"x-my-call": "m1"})
    await send_turn(app, {"metadata": {"ref": "r1"}})
    await send_turn(app, {"metadata": {"call_id": "r1"}})
    assert [turn.call is not None for turn in agent.turns] == [True, True, False]


async def test_tasks_of_chat_clients_are_no_turns_of_the_call() -> None:
    agent = fake_agent(0.5, "Hi.")
    app = create_gateway(agent)
    task_messages = [{"role": "user", "content": "### Task:\nGenerate a title."}]
    turn = send_later(0, app, headers=CALL)
    title = await send_later(0.1, app, {"messages": task_messages}, headers=CALL)
    assert (title.text, agent.turns[1].call) == ("Hi.", None)
    assert (await turn).text == "One moment. Hi."


@pytest.mark.parametrize("invalid_id", ["x" * 10_000, "a\tb"])
async def test_an_invalid_call_id_is_refused(invalid_id: str) -> None:
    agent = fake_agent("Hi.")
    answer = await send_turn(create_gateway(agent), {"metadata": {"call_id": invalid_id}})
    assert (answer.status, answer.error["param"], agent.start_times) == (400, "metadata.call_id", [])
