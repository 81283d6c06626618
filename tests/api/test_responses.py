"""The Responses API over HTTP, on the virtual clock: the same turns as chat completions, in another form."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp

from tests.support.asgi import Answer, drive
from tests.support.gateway import gateway
from tests.support.responses_lint import events, lint, spoken
from tests.support.script import Step, script
from voicegw.errors import AgentBusy, AgentTimeout, AgentUnavailable
from voicegw.events import Activity, Finish, Message, ToolCall, Usage
from voicegw.security.keys import digest
from voicegw.turns.phrases import PHRASES

SORRY = PHRASES["en"].failed
WEATHER = [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]
END_CALL = [{"type": "function", "name": "end_call"}]
CALL = ToolCall("call_1", "weather", '{"city":"Paris"}')
KEYS = {name: {"hash": f"sha256:{digest(name).hex()}"} for name in ("one", "other")}
CHORE = "### Task: make a title"


def after(seconds: float | str) -> dict[str, Any]:
    return {"ack": {"after": seconds}}


async def ask(app: ASGIApp, body: dict[str, Any] | None = None, **how: Any) -> Answer:
    how = {"path": "/v1/responses", **how}
    return await drive(app, {"stream": True, "input": "Hello?", **(body or {})}, **how)


def heard(answer: Answer) -> list[tuple[float, str]]:
    said = [(round(when, 9), spoken(data)) for when, data in answer.sends]
    return [(when, text) for when, text in said if text]


@pytest.mark.parametrize(
    ("desk", "body", "steps", "words"),
    [
        (after(0), {}, (0.3, "Hi"), [(0.0, "One moment. "), (0.3, "Hi")]),
        (after(0.5), {}, (0.8, "Hi"), [(0.5, "One moment. "), (0.8, "Hi")]),
        (after("off"), {}, (9.0, "Hi"), [(9.0, "Hi")]),
        (after(0), {"tools": WEATHER}, (0.8, "Hi"), [(0.7, "One moment. "), (0.8, "Hi")]),
        (after(0), {"tools": END_CALL}, (0.3, "Hi"), [(0.0, "One moment. "), (0.3, "Hi")]),
        (after(0), {"text": {"format": {"type": "json_object"}}}, (0.3, "{}"), [(0.3, "{}")]),
        (after(0), {"input": CHORE}, (0.3, "Hi"), [(0.3, "Hi")]),
        ({**after(0), "dialect": "elevenlabs"}, {}, (0.3, "Hi"), [(0.0, "One moment... "), (0.3, "Hi")]),
        (after(0), {"metadata": {"language": "de"}}, (0.3, "Ja"), [(0.0, "Einen Moment. "), (0.3, "Ja")]),
        (after(0.5), {}, (0.2, Activity("bash"), 0.6, "Hi"), [(0.5, "One moment. "), (0.8, "Hi")]),
        (after(0), {}, (0.3, "a", 0.1, "b", "c"), [(0.0, "One moment. "), (0.3, "a"), (0.4, "bc")]),
        (after(0), {}, (0.3, AgentTimeout("late")), [(0.0, "One moment. "), (0.3, SORRY)]),
        (after(0), {}, (0.3, "Well", 0.1, ValueError("x")),
         [(0.0, "One moment. "), (0.3, "Well"), (0.4, "... " + SORRY)]),
        (after(0), {}, (1.0, AgentBusy("full")), [(0.0, "One moment. "), (1.0, PHRASES["en"].busy)]),
    ],
)  # fmt: skip
async def test_a_caller_hears(
    desk: dict[str, Any], body: dict[str, Any], steps: tuple[Step, ...], words: list[tuple[float, str]]
) -> None:
    answer = await ask(gateway(script(*steps), desk=desk), body)
    assert heard(answer) == words
    [message] = lint(answer.body)[-1]["response"]["output"]
    assert message["content"][0]["text"] == "".join(text for _, text in words)
    assert (answer.status, lint(answer.body)[-1]["type"]) == (200, "response.completed")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_the_response_is_named_at_once_and_ends_in_one_breath_with_the_body() -> None:
    agent = script(1.0, "Hi", 0.5, Finish("length"))
    answer = await ask(gateway(agent, desk=after("off")))
    when, first = answer.sends[0]
    assert (when, [event["type"] for event in events(first)]) == (
        0.0, ["response.created", "response.in_progress"],
    )  # fmt: skip
    when, last = answer.sends[-1]
    assert (when, events(last)[-1]["type"], answer.ended) == (1.5, "response.incomplete", True)
    assert events(first)[0]["response"]["id"] == f"resp_{agent.turns[0].id}"
    lint(answer.body)


async def test_silence_on_the_wire_is_kept_alive_with_comments() -> None:
    answer = await ask(gateway(script(9.0, "Hi")))
    assert [when for when, data in answer.sends if data == b": keep-alive\n\n"] == [4.0, 8.0]
    lint(answer.body)


async def test_the_turn_s_timing_can_end_the_stream_as_a_comment() -> None:
    answer = await ask(gateway(script(0.3, "Hi"), trace={"comment": True}))
    assert answer.body.split(b"\n\n")[-3] == b": ack=0.0ms answer=300.0ms gap=300.0ms"
    lint(answer.body)


async def test_a_tool_call_is_not_spoken_over_and_its_output_needs_no_words() -> None:
    app = gateway(script(0.6, CALL), desk=after(0))
    answer = await ask(app, {"tools": WEATHER})
    [call] = lint(answer.body)[-1]["response"]["output"]
    assert (call["call_id"], call["arguments"], heard(answer)) == ("call_1", '{"city":"Paris"}', [])
    output = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
    agent = script(2.0, "Rain.")
    answer = await ask(gateway(agent), {"tools": WEATHER, "input": [call, output]})
    assert heard(answer) == [(2.0, "Rain.")]
    assert agent.turns[0].messages == (
        Message("assistant", tool_calls=(CALL,)), Message("tool", "rain", tool_call_id="call_1"),
    )  # fmt: skip


async def test_the_agent_gets_the_same_turn_as_from_chat_completions() -> None:
    agent = script("Hi")
    app = gateway(agent)
    await ask(app, {"model": "gpt", "instructions": "Be brief.", "tools": WEATHER, "max_output_tokens": 9})
    chat = {
        "model": "gpt",
        "stream": True,
        "max_tokens": 9,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
    }
    await drive(app, chat)
    one, other = agent.turns
    for name in ("messages", "model", "tools", "tool_choice", "options", "extra", "language", "kind"):
        assert getattr(one, name) == getattr(other, name), name


async def test_an_answer_without_stream_is_whole_and_has_no_words_of_ours() -> None:
    agent = script(0.3, "Hi", " there", Activity("x"), CALL, Usage(5, 2))
    answer = await ask(gateway(agent), {"stream": False, "tools": WEATHER, "store": False})
    message, call = answer.json["output"]
    assert (message["content"][0]["text"], call["name"]) == ("Hi there", "weather")
    assert (answer.json["status"], answer.json["store"]) == ("completed", False)
    assert answer.json["usage"]["total_tokens"] == 7
    assert (answer.headers["content-type"], answer.json["model"]) == ("application/json", "desk")


@pytest.mark.parametrize(
    ("steps", "status"), [((AgentUnavailable("x"),), 502), ((AgentBusy("full"),), 503), ((), 502)]
)
@pytest.mark.parametrize("how", [{"stream": False}, {"stream": True}])
async def test_a_failure_before_the_first_byte_is_a_status(
    steps: tuple[Step, ...], status: int, how: dict[str, Any]
) -> None:
    app = gateway(script(0.3, *steps), turns={"on_failure": "status"})
    answer = await ask(app, how)
    assert (answer.status, answer.error["type"]) == (status, "server_error")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"input": None}, 400, "input"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"model": "nobody"}, 404, "model"),
        ({"previous_response_id": "resp_none"}, 404, "previous_response_id"),
        ({"input": "x" * 2000}, 413, None),
    ],
)
async def test_what_cannot_be_answered_is_refused_before_any_work(
    body: dict[str, Any], status: int, param: str | None
) -> None:
    agent = script("Hi")
    app = gateway(agent, limits={"max_body_bytes": 1000}, turns={"unknown_model": "reject"})
    answer = await ask(app, body)
    assert (answer.status, answer.error["param"], agent.started) == (status, param, [])


@pytest.mark.parametrize(
    "path",
    ["/v1/responses", "/responses", "/v1/responses/responses", "/v1/responses/v1/responses", "/responses/"],
)
async def test_every_path_that_users_paste_answers(path: str) -> None:
    assert spoken((await ask(gateway(script("Hi")), path=path)).body) == "One moment. Hi"
    assert (await drive(gateway(script("Hi")), path=path, method="GET")).status == 405


async def test_a_client_that_hangs_up_stops_the_agent_at_once() -> None:
    agent = script(0.2, "Hi", 60.0, closing=0.2)
    await ask(gateway(agent), hang_up=0.5)
    await asyncio.sleep(1)
    assert agent.closed == [0.7]


async def test_a_busy_gateway_can_say_so_aloud() -> None:
    app = gateway(script(5.0, "Hi"), limits={"concurrent_turns": 1, "busy": "speak"})
    first = asyncio.create_task(ask(app))
    await asyncio.sleep(1)
    answer = await ask(app)
    assert (answer.status, spoken(answer.body)) == (200, PHRASES["en"].busy)
    lint(answer.body)
    whole = await ask(app, {"stream": False})
    assert whole.json["output"][0]["content"][0]["text"] == PHRASES["en"].busy
    await first


async def test_the_same_turn_of_a_call_asked_twice_is_one_run_in_either_form() -> None:
    agent = script(0.5, "Hi")
    app = gateway(agent)
    call = {"x-voicegw-call": "c1"}
    chat = {"stream": True, "messages": [{"role": "user", "content": "Hello?"}]}
    one, two, other = await asyncio.gather(
        ask(app, headers=call), ask(app, headers=call), drive(app, chat, headers=call)
    )
    assert (len(agent.started), other.text) == (1, "One moment. Hi")
    for answer in (one, two):
        assert spoken(answer.body) == "One moment. Hi"
        lint(answer.body)


async def test_requests_without_a_call_stay_apart_also_when_they_go_on() -> None:
    agent = script(0.5, "Hi")
    app = gateway(agent)
    first = await ask(app)
    more = {"input": "And?", "previous_response_id": name(first)}
    await asyncio.gather(ask(app, more), ask(app, more))
    assert [turn.call for turn in agent.turns] == [None, None, None]
    assert len(agent.closed) == 3


def name(answer: Answer) -> str:
    whole = answer.headers["content-type"] == "application/json"
    return str(answer.json["id"] if whole else events(answer.body)[0]["response"]["id"])


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_goes_on_from_an_answer_that_it_names(stream: bool) -> None:
    agent = script(0.5, "Hi there.")
    app = gateway(agent, desk=after(0))
    first = await ask(app, {"stream": stream, "instructions": "Be brief."})
    second = await ask(app, {"stream": stream, "input": "And?", "previous_response_id": name(first)})
    third = {"input": "So?", "previous_response_id": name(second), "instructions": "Be long."}
    await ask(app, third)
    assert agent.turns[2].messages == (
        Message("system", "Be long."),
        Message("user", "Hello?"),
        Message("assistant", "Hi there."),
        Message("user", "And?"),
        Message("assistant", "Hi there."),
        Message("user", "So?"),
    ), "none of our own words, and the latest instructions alone"


async def test_words_of_ours_are_not_the_same_twice_running_when_a_conversation_goes_on() -> None:
    app = gateway(script(0.5, "Hi."), desk=after(0))
    first = await ask(app)
    second = await ask(app, {"previous_response_id": name(first)})
    assert heard(first)[0] != heard(second)[0]


async def test_the_agent_s_own_words_are_remembered_even_if_they_are_like_ours() -> None:
    agent = script("One moment. Yes.")
    app = gateway(agent)
    await ask(app, {"input": "And?", "previous_response_id": name(await ask(app))})
    assert agent.turns[1].messages[1] == Message("assistant", "One moment. Yes.")


async def test_tool_calls_are_remembered_with_the_answer() -> None:
    agent = script("Let me see.", CALL)
    app = gateway(agent)
    first = await ask(app, {"tools": WEATHER})
    output = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
    await ask(app, {"input": [output], "previous_response_id": name(first)})
    assert agent.turns[1].messages[1:] == (
        Message("assistant", "Let me see.", tool_calls=(CALL,)),
        Message("tool", "rain", tool_call_id="call_1"),
    )


async def test_who_interrupts_goes_on_from_what_was_said() -> None:
    agent = script(0.5, "We are", 0.5, " open", 60.0)
    app = gateway(agent)
    first = await ask(app, hang_up=0.7)
    await ask(app, {"input": "Wait.", "previous_response_id": name(first)}, hang_up=0.1)
    await asyncio.sleep(1)
    assert [message.text for message in agent.turns[1].messages] == ["Hello?", "We are", "Wait."]


async def test_an_answer_is_gone_on_from_by_its_own_key_only_and_not_if_it_was_not_to_be_stored() -> None:
    agent = script("Hi")
    app = gateway(agent, keys=KEYS)
    one, other = ({"authorization": f"Bearer {name}"} for name in KEYS)
    kept = {"previous_response_id": name(await ask(app, headers=one))}
    unkept = {"previous_response_id": name(await ask(app, {"store": False}, headers=one))}
    for more, headers in ((kept, other), (unkept, one)):
        refused = await ask(app, more, headers=headers)
        assert (refused.status, refused.error["code"]) == (404, "previous_response_not_found")
    assert (len(agent.turns), (await ask(app, kept, headers=one)).status) == (2, 200)


async def test_an_answer_is_forgotten_like_a_call() -> None:
    app = gateway(script("Hi"), calls={"idle": 60, "max_calls": 1})
    first = {"previous_response_id": name(await ask(app))}
    await asyncio.sleep(50)
    assert (await ask(app, {**first, "store": False})).status == 200
    await asyncio.sleep(60)
    assert (await ask(app, first)).status == 404
    second = {"previous_response_id": name(await ask(app))}
    await ask(app)
    assert (await ask(app, second)).status == 404


async def test_a_conversation_has_a_limit_however_it_is_sent() -> None:
    agent = script("Hi")
    app = gateway(agent, limits={"max_messages": 3})
    second = await ask(app, {"previous_response_id": name(await ask(app))})
    assert second.status == 200
    refused = await ask(app, {"previous_response_id": name(second)})
    assert (refused.status, refused.error["param"], len(agent.turns)) == (400, "previous_response_id", 2)
