"""The Responses API over HTTP on the virtual clock: the same turns as chat completions in another format."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp

from tests.support.asgi import RecordedResponse, send_request
from tests.support.fake_agent import Step, fake_agent
from tests.support.gateway import create_gateway
from tests.support.responses_lint import lint, parse_events, spoken_text
from voicegw.errors import AgentBusy, AgentTimeout, AgentUnavailable
from voicegw.events import Activity, Finish, Message, ToolCall, Usage
from voicegw.security.keys import hash_secret
from voicegw.turns.phrases import PHRASES

SORRY = PHRASES["en"].failure
WEATHER = [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]
END_CALL = [{"type": "function", "name": "end_call"}]
CALL = ToolCall("call_1", "weather", '{"city":"Paris"}')
KEYS = {name: {"hash": f"sha256:{hash_secret(name).hex()}"} for name in ("one", "other")}
CLIENT_TASK = "### Task: make a title"


def ack_after(seconds: float | str) -> dict[str, Any]:
    return {"ack": {"after": seconds}}


async def ask(app: ASGIApp, body: dict[str, Any] | None = None, **options: Any) -> RecordedResponse:
    options = {"path": "/v1/responses", **options}
    return await send_request(app, {"stream": True, "input": "Hello?", **(body or {})}, **options)


def heard(answer: RecordedResponse) -> list[tuple[float, str]]:
    said = [(round(when, 9), spoken_text(data)) for when, data in answer.sends]
    return [(when, text) for when, text in said if text]


@pytest.mark.parametrize(
    ("desk", "body", "steps", "words"),
    [
        (ack_after(0), {}, (0.3, "Hi"), [(0.0, "One moment. "), (0.3, "Hi")]),
        (ack_after(0.5), {}, (0.8, "Hi"), [(0.5, "One moment. "), (0.8, "Hi")]),
        (ack_after("off"), {}, (9.0, "Hi"), [(9.0, "Hi")]),
        (ack_after(0), {"tools": WEATHER}, (0.8, "Hi"), [(0.7, "One moment. "), (0.8, "Hi")]),
        (ack_after(0), {"tools": END_CALL}, (0.3, "Hi"), [(0.0, "One moment. "), (0.3, "Hi")]),
        (ack_after(0), {"text": {"format": {"type": "json_object"}}}, (0.3, "{}"), [(0.3, "{}")]),
        (ack_after(0), {"input": CLIENT_TASK}, (0.3, "Hi"), [(0.3, "Hi")]),
        ({**ack_after(0), "dialect": "elevenlabs"}, {}, (0.3, "Hi"), [(0.0, "One moment... "), (0.3, "Hi")]),
        (ack_after(0), {"metadata": {"language": "de"}}, (0.3, "Ja"), [(0.0, "Einen Moment. "), (0.3, "Ja")]),
        (ack_after(0.5), {}, (0.2, Activity("bash"), 0.6, "Hi"), [(0.5, "One moment. "), (0.8, "Hi")]),
        (ack_after(0), {}, (0.3, "k", 0.1, "l", "m"), [(0.0, "One moment. "), (0.3, "k"), (0.4, "lm")]),
        (ack_after(0), {}, (0.3, AgentTimeout("late")), [(0.0, "One moment. "), (0.3, SORRY)]),
        (ack_after(0), {}, (0.3, "Well", 0.1, ValueError("x")),
         [(0.0, "One moment. "), (0.3, "Well"), (0.4, "... " + SORRY)]),
        (ack_after(0), {}, (1.0, AgentBusy("full")), [(0.0, "One moment. "), (1.0, PHRASES["en"].busy)]),
    ],
)  # fmt: skip
async def test_a_caller_hears(
    desk: dict[str, Any], body: dict[str, Any], steps: tuple[Step, ...], words: list[tuple[float, str]]
) -> None:
    answer = await ask(create_gateway(fake_agent(*steps), agent_section=desk), body)
    assert heard(answer) == words
    [message] = lint(answer.body)[-1]["response"]["output"]
    assert message["content"][0]["text"] == "".join(text for _, text in words)
    assert (answer.status, lint(answer.body)[-1]["type"]) == (200, "response.completed")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_the_response_is_created_at_once_and_ends_with_the_body_in_one_write() -> None:
    agent = fake_agent(1.0, "Hi", 0.5, Finish("length"))
    answer = await ask(create_gateway(agent, agent_section=ack_after("off")))
    when, first = answer.sends[0]
    assert (when, [event["type"] for event in parse_events(first)]) == (
        0.0, ["response.created", "response.in_progress"],
    )  # fmt: skip
    when, last = answer.sends[-1]
    assert (when, parse_events(last)[-1]["type"], answer.ended) == (1.5, "response.incomplete", True)
    assert parse_events(first)[0]["response"]["id"] == f"resp_{agent.turns[0].id}"
    lint(answer.body)


async def test_a_silent_stream_gets_keepalive_comments() -> None:
    answer = await ask(create_gateway(fake_agent(9.0, "Hi")))
    assert [when for when, data in answer.sends if data == b": keep-alive\n\n"] == [4.0, 8.0]
    lint(answer.body)


async def test_the_turn_s_timing_can_end_the_stream_as_a_comment() -> None:
    answer = await ask(create_gateway(fake_agent(0.3, "Hi"), trace={"comment": True}))
    assert answer.body.split(b"\n\n")[-3] == b": ack=0.0ms answer=300.0ms gap=300.0ms"
    lint(answer.body)


async def test_tool_calls_and_their_outputs_get_no_acknowledgement() -> None:
    app = create_gateway(fake_agent(0.6, CALL), agent_section=ack_after(0))
    answer = await ask(app, {"tools": WEATHER})
    [call] = lint(answer.body)[-1]["response"]["output"]
    assert (call["call_id"], call["arguments"], heard(answer)) == ("call_1", '{"city":"Paris"}', [])
    output = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
    agent = fake_agent(2.0, "Rain.")
    answer = await ask(create_gateway(agent), {"tools": WEATHER, "input": [call, output]})
    assert heard(answer) == [(2.0, "Rain.")]
    assert agent.turns[0].messages == (
        Message("assistant", tool_calls=(CALL,)), Message("tool", "rain", tool_call_id="call_1"),
    )  # fmt: skip


async def test_the_agent_gets_the_same_turn_as_from_chat_completions() -> None:
    agent = fake_agent("Hi")
    app = create_gateway(agent)
    await ask(app, {"model": "gpt", "instructions": "Be brief.", "tools": WEATHER, "max_output_tokens": 9})
    chat = {
        "model": "gpt",
        "stream": True,
        "max_tokens": 9,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
    }
    await send_request(app, chat)
    one, other = agent.turns
    for name in ("messages", "model", "tools", "tool_choice", "options", "extra", "language", "kind"):
        assert getattr(one, name) == getattr(other, name), name


async def test_a_response_without_stream_has_no_own_words() -> None:
    agent = fake_agent(0.3, "Hi", " there", Activity("x"), CALL, Usage(5, 2))
    answer = await ask(create_gateway(agent), {"stream": False, "tools": WEATHER, "store": False})
    message, call = answer.json["output"]
    assert (message["content"][0]["text"], call["name"]) == ("Hi there", "weather")
    assert (answer.json["status"], answer.json["store"]) == ("completed", False)
    assert answer.json["usage"]["total_tokens"] == 7
    assert (answer.headers["content-type"], answer.json["model"]) == ("application/json", "desk")


@pytest.mark.parametrize(
    ("steps", "status"), [((AgentUnavailable("x"),), 502), ((AgentBusy("full"),), 503), ((), 502)]
)
@pytest.mark.parametrize("options", [{"stream": False}, {"stream": True}])
async def test_a_failure_before_the_first_byte_is_a_status(
    steps: tuple[Step, ...], status: int, options: dict[str, Any]
) -> None:
    app = create_gateway(fake_agent(0.3, *steps), turns={"on_failure": "status"})
    answer = await ask(app, options)
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
async def test_an_invalid_request_is_refused_before_any_work(
    body: dict[str, Any], status: int, param: str | None
) -> None:
    agent = fake_agent("Hi")
    app = create_gateway(agent, limits={"max_body_bytes": 1000}, turns={"unknown_model": "reject"})
    answer = await ask(app, body)
    assert (answer.status, answer.error["param"], agent.start_times) == (status, param, [])


@pytest.mark.parametrize(
    "path",
    ["/v1/responses", "/responses", "/v1/responses/responses", "/v1/responses/v1/responses", "/responses/"],
)
async def test_every_path_that_users_paste_is_served(path: str) -> None:
    assert spoken_text((await ask(create_gateway(fake_agent("Hi")), path=path)).body) == "One moment. Hi"
    assert (await send_request(create_gateway(fake_agent("Hi")), path=path, method="GET")).status == 405


async def test_a_client_that_disconnects_stops_the_agent_at_once() -> None:
    agent = fake_agent(0.2, "Hi", 60.0, closing=0.2)
    await ask(create_gateway(agent), hang_up=0.5)
    await asyncio.sleep(1)
    assert agent.close_times == [0.7]


async def test_a_busy_gateway_can_answer_with_a_sentence() -> None:
    app = create_gateway(fake_agent(5.0, "Hi"), limits={"concurrent_turns": 1, "busy": "speak"})
    first = asyncio.create_task(ask(app))
    await asyncio.sleep(1)
    answer = await ask(app)
    assert (answer.status, spoken_text(answer.body)) == (200, PHRASES["en"].busy)
    lint(answer.body)
    whole = await ask(app, {"stream": False})
    assert whole.json["output"][0]["content"][0]["text"] == PHRASES["en"].busy
    await first


async def test_the_same_turn_in_both_api_formats_is_one_run() -> None:
    agent = fake_agent(0.5, "Hi")
    app = create_gateway(agent)
    call = {"x-voicegw-call": "c1"}
    chat = {"stream": True, "messages": [{"role": "user", "content": "Hello?"}]}
    one, two, other = await asyncio.gather(
        ask(app, headers=call), ask(app, headers=call), send_request(app, chat, headers=call)
    )
    assert (len(agent.start_times), other.text) == (1, "One moment. Hi")
    for answer in (one, two):
        assert spoken_text(answer.body) == "One moment. Hi"
        lint(answer.body)


async def test_requests_without_a_call_have_separate_runs_even_with_a_previous_response() -> None:
    agent = fake_agent(0.5, "Hi")
    app = create_gateway(agent)
    first = await ask(app)
    more = {"input": "And?", "previous_response_id": response_id(first)}
    await asyncio.gather(ask(app, more), ask(app, more))
    assert [turn.call for turn in agent.turns] == [None, None, None]
    assert len(agent.close_times) == 3


@pytest.mark.parametrize("stream", [True, False])
async def test_items_of_earlier_responses_may_be_named_instead_of_sent(stream: bool) -> None:
    agent = fake_agent(0.3, "Let me see. ", CALL, 2.0, "Rain.")
    app = create_gateway(agent, agent_section={"ack": {"after": 0, "every": 1.0}})
    first = await ask(app, {"stream": stream, "tools": WEATHER})
    items = lint(first.body)[-1]["response"]["output"] if stream else first.json["output"]
    named = [{"type": "item_reference", "id": item["id"]} for item in items]
    output = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
    question = {"role": "user", "content": "Hello?"}
    second = await ask(app, {"stream": stream, "tools": WEATHER, "input": [question, *named[:2], output]})
    assert agent.turns[1].messages == (
        Message("user", "Hello?"),
        Message("assistant", "Let me see. ", tool_calls=(CALL,)),
        Message("tool", "rain", tool_call_id="call_1"),
    ), "no own words"
    assert second.status == 200


@pytest.mark.parametrize("stream", [True, False])
async def test_only_messages_that_were_sent_may_be_named(stream: bool) -> None:
    agent = fake_agent(5.0, CALL)
    app = create_gateway(agent, agent_section={"ack": {"after": 0.5}})
    first = await ask(app, {"stream": stream, "tools": WEATHER})
    output = lint(first.body)[-1]["response"]["output"] if stream else first.json["output"]
    call = output[-1]
    assert len(output) == (2 if stream else 1), "the acknowledgement is a message of a stream"
    own, invented = call["id"].replace("fc_", "msg_"), call["id"].replace("fc_", "msg_")[:-1] + "1"
    question, result = {"role": "user", "content": "Hi"}, {"type": "function_call_output", "output": "rain"}
    for id, found in ((own, stream), (invented, False)):
        named = [{"type": "item_reference", "id": name} for name in (id, call["id"])]
        items = [question, *named, {**result, "call_id": call["call_id"]}]
        answer = await ask(app, {"input": items, "tools": WEATHER})
        assert answer.status == (200 if found else 404)
        if not found:
            assert (answer.error["param"], id in answer.error["message"]) == ("input[1].id", True)
    if stream:
        assert agent.turns[1].messages[1] == Message("assistant", tool_calls=(CALL,))


async def test_an_item_is_found_only_by_its_key_and_only_if_stored() -> None:
    agent = fake_agent("Hi")
    app = create_gateway(agent, keys=KEYS)
    one, other = ({"authorization": f"Bearer {name}"} for name in KEYS)
    stored = await ask(app, {"stream": False}, headers=one)
    not_stored = await ask(app, {"stream": False, "store": False}, headers=one)
    for answer, headers in ((stored, other), (not_stored, one)):
        named = [{"type": "item_reference", "id": answer.json["output"][0]["id"]}]
        refusal = await ask(app, {"input": named}, headers=headers)
        assert (refusal.status, refusal.error["param"]) == (404, "input[0].id")
        assert refusal.error["type"] == "invalid_request_error"
    assert len(agent.turns) == 2


@pytest.mark.parametrize("field", [{"conversation": "conv_1"}, {"prompt": {"id": "pmpt_1"}}])
async def test_a_conversation_that_only_openai_keeps_is_refused(field: dict[str, Any]) -> None:
    agent = fake_agent("Hi")
    refusal = await ask(create_gateway(agent), field)
    assert (refusal.status, refusal.error["param"], agent.turns) == (400, next(iter(field)), [])


def response_id(answer: RecordedResponse) -> str:
    whole = answer.headers["content-type"] == "application/json"
    return str(answer.json["id"] if whole else parse_events(answer.body)[0]["response"]["id"])


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_continues_its_previous_response(stream: bool) -> None:
    agent = fake_agent(0.5, "Hi there.")
    app = create_gateway(agent, agent_section=ack_after(0))
    first = await ask(app, {"stream": stream, "instructions": "Be brief."})
    second = await ask(app, {"stream": stream, "input": "And?", "previous_response_id": response_id(first)})
    third = {"input": "So?", "previous_response_id": response_id(second), "instructions": "Be long."}
    await ask(app, third)
    assert agent.turns[2].messages == (
        Message("system", "Be long."),
        Message("user", "Hello?"),
        Message("assistant", "Hi there."),
        Message("user", "And?"),
        Message("assistant", "Hi there."),
        Message("user", "So?"),
    ), "no own words, and only the latest instructions"


async def test_acknowledgements_differ_in_turns_that_follow_each_other() -> None:
    app = create_gateway(fake_agent(0.5, "Hi."), agent_section=ack_after(0))
    first = await ask(app)
    second = await ask(app, {"previous_response_id": response_id(first)})
    assert heard(first)[0] != heard(second)[0]


async def test_words_of_the_agent_are_kept_even_if_they_equal_an_acknowledgement() -> None:
    agent = fake_agent("One moment. Yes.")
    app = create_gateway(agent)
    await ask(app, {"input": "And?", "previous_response_id": response_id(await ask(app))})
    assert agent.turns[1].messages[1] == Message("assistant", "One moment. Yes.")


async def test_tool_calls_are_stored_with_the_response() -> None:
    agent = fake_agent("Let me see.", CALL)
    app = create_gateway(agent)
    first = await ask(app, {"tools": WEATHER})
    output = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
    await ask(app, {"input": [output], "previous_response_id": response_id(first)})
    assert agent.turns[1].messages[1:] == (
        Message("assistant", "Let me see.", tool_calls=(CALL,)),
        Message("tool", "rain", tool_call_id="call_1"),
    )


async def test_after_an_interruption_the_stored_response_ends_there() -> None:
    agent = fake_agent(0.5, "We are", 0.5, " open", 60.0)
    app = create_gateway(agent)
    first = await ask(app, hang_up=0.7)
    await ask(app, {"input": "Wait.", "previous_response_id": response_id(first)}, hang_up=0.1)
    await asyncio.sleep(1)
    assert [message.text for message in agent.turns[1].messages] == ["Hello?", "We are", "Wait."]


async def test_a_response_is_continued_only_by_its_key_and_only_if_stored() -> None:
    agent = fake_agent("Hi")
    app = create_gateway(agent, keys=KEYS)
    one, other = ({"authorization": f"Bearer {name}"} for name in KEYS)
    stored = {"previous_response_id": response_id(await ask(app, headers=one))}
    not_stored = {"previous_response_id": response_id(await ask(app, {"store": False}, headers=one))}
    for more, headers in ((stored, other), (not_stored, one)):
        refusal = await ask(app, more, headers=headers)
        assert (refusal.status, refusal.error["code"]) == (404, "previous_response_not_found")
    assert (len(agent.turns), (await ask(app, stored, headers=one)).status) == (2, 200)


async def test_a_response_is_forgotten_like_a_call() -> None:
    app = create_gateway(fake_agent("Hi"), calls={"idle": 60, "max_calls": 1})
    first = {"previous_response_id": response_id(await ask(app))}
    await asyncio.sleep(50)
    assert (await ask(app, {**first, "store": False})).status == 200
    await asyncio.sleep(60)
    assert (await ask(app, first)).status == 404
    second = {"previous_response_id": response_id(await ask(app))}
    await ask(app)
    assert (await ask(app, second)).status == 404


async def test_the_message_limit_counts_stored_messages() -> None:
    agent = fake_agent("Hi")
    app = create_gateway(agent, limits={"max_messages": 3})
    second = await ask(app, {"previous_response_id": response_id(await ask(app))})
    assert second.status == 200
    refusal = await ask(app, {"previous_response_id": response_id(second)})
    assert (refusal.status, refusal.error["param"], len(agent.turns)) == (400, "previous_response_id", 2)
