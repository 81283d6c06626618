"""Requests of the Responses API become the same `ApiRequest` as chat completions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from voicegw.api import responses_request as responses_request
from voicegw.api.chat_request import ApiRequest
from voicegw.conversations.response_store import PreviousResponseNotFound, StoredResponse
from voicegw.errors import BadRequest
from voicegw.events import Message, Tool, ToolCall
from voicegw.turns.completion import Completion

WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
TOOLS = [WEATHER, {"type": "web_search"}, {"type": "function", "name": "end_call", "strict": True}]
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
PICTURE = {"type": "input_image", "image_url": "data:x", "detail": "low"}


def find_response(id: str) -> StoredResponse:
    """Find the responses to the turns "t_1" (text and two tool calls) and "e" (empty)."""
    if id == "resp_e":
        return StoredResponse()
    if id != "resp_t_1":
        raise PreviousResponseNotFound("None.", param="previous_response_id")
    parts = ("Well. ", ToolCall("c1", "f"), ToolCall("c2", "f"), "There.")
    return StoredResponse(completed=Completion(parts), own_message_counts={0, 1})


def parse(input: Any = "Hello?", *, messages: int = 100, depth: int = 30, **fields: Any) -> ApiRequest:
    return responses_request.parse(
        json.dumps({"input": input, **fields}).encode(),
        max_messages=messages,
        max_depth=depth,
        find_response=find_response,
    )


def message(role: str, *parts: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": list(parts), **more}


def text(words: str, kind: str = "input_text") -> dict[str, Any]:
    return {"type": kind, "text": words}


def test_the_smallest_request_is_a_text() -> None:
    api_request = parse()
    assert api_request.messages == (Message("user", "Hello?"),)
    assert (api_request.model, api_request.stream, api_request.tools, api_request.tool_choice) == (
        "",
        False,
        (),
        None,
    )
    assert (api_request.options, api_request.extra, api_request.echoed_fields) == ({}, {}, {})
    assert (api_request.instruction_count, api_request.previous_response_id, api_request.store) == (
        0,
        None,
        True,
    )


def test_null_fields_count_as_missing() -> None:
    keys = responses_request.KNOWN_KEYS - {"input"} | {"temperature", "top_p", "user", "parallel_tool_calls"}
    empty: dict[str, Any] = dict.fromkeys(keys)
    assert parse(**empty) == parse()
    nested = parse(text={"format": None, "verbosity": None}, reasoning={"effort": None})
    assert (nested.options, nested.is_structured) == ({}, False)


def test_instructions_become_the_first_system_message() -> None:
    api_request = parse(instructions="Be brief.")
    assert api_request.messages == (Message("system", "Be brief."), Message("user", "Hello?"))
    assert api_request.instruction_count == 1
    assert parse(instructions="").messages == parse().messages


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ([{"role": "user", "content": "Hi"}], [Message("user", "Hi")]),
        ([{"type": "message", "role": "developer", "content": ""}], [Message("developer", "")]),
        ([message("user", text("a"), text("b"))], [Message("user", "a\nb")]),
        ([message("assistant", text("Well", "output_text"), id="msg_1")], [Message("assistant", "Well")]),
        ([message("assistant", {"type": "refusal", "refusal": "No."})], [Message("assistant", "No.")]),
        ([{"type": "reasoning", "summary": []}, message("user", text("a"))], [Message("user", "a")]),
        ([message("user", text("a"), PICTURE)], [Message("user", "a", (
            {"type": "text", "text": "a"},
            {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}}))]),
        ([message("user", {"type": "input_image", "image_url": "u"})], [Message("user", "", (
            {"type": "image_url", "image_url": {"url": "u"}},))]),
        ([message("user", {"type": "input_file", "file_id": "f"})], [Message("user", "", (
            {"type": "file", "file": {"file_id": "f"}},))]),
        ([message("user", {"type": "input_image", "file_id": "f"})], [Message("user", "", (
            {"type": "input_image", "file_id": "f"},))]),
        ([OUTPUT], [Message("tool", "rain", tool_call_id="call_1")]),
        ([{**OUTPUT, "output": [text("a"), text("b")]}], [Message("tool", "a\nb", tool_call_id="call_1")]),
    ],
)  # fmt: skip
def test_items_become_messages(given: list[Any], messages: list[Message]) -> None:
    assert list(parse(given).messages) == messages


WELL = message("assistant", text("Well. ", "output_text"))
ONE = ToolCall("call_1", "weather")


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ([CALL, OUTPUT], [Message("assistant", tool_calls=(ONE,))]),
        ([CALL, CALL, OUTPUT], [Message("assistant", tool_calls=(ONE, ONE))]),
        ([WELL, CALL, OUTPUT], [Message("assistant", "Well. ", tool_calls=(ONE,))]),
        ([WELL, CALL, WELL, OUTPUT], [Message("assistant", "Well. Well. ", tool_calls=(ONE,))]),
        ([WELL, WELL], [Message("assistant", "Well. "), Message("assistant", "Well. ")]),
        ([{**CALL, "arguments": None}, OUTPUT], [Message("assistant", tool_calls=(ONE,))]),
    ],
)
def test_text_and_tool_calls_of_one_answer_become_one_message(
    given: list[Any], messages: list[Message]
) -> None:
    found = [message for message in parse(given).messages if message.role == "assistant"]
    assert found == messages


def test_function_tools_are_parsed_and_other_types_left_out() -> None:
    assert parse(tools=TOOLS).tools == (
        Tool("weather", parameters={"type": "object"}),
        Tool("end_call", strict=True),
    )


@pytest.mark.parametrize(
    ("choice", "names", "choice_sent"),
    [
        ("required", ["weather", "end_call"], "required"),
        (
            {"type": "function", "name": "weather"},
            ["weather", "end_call"],
            {"type": "function", "function": {"name": "weather"}},
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [TOOLS[2]]},
            ["end_call"],
            "required",
        ),
        ({"type": "web_search"}, ["weather", "end_call"], None),
    ],
)  # fmt: skip
def test_a_tool_choice_becomes_that_of_chat_completions(
    choice: Any, names: list[str], choice_sent: Any
) -> None:
    api_request = parse(tools=TOOLS, tool_choice=choice)
    assert ([tool.name for tool in api_request.tools], api_request.tool_choice) == (names, choice_sent)


def test_options_get_their_names_in_chat_completions() -> None:
    schema = {"name": "table", "schema": {"type": "object"}, "strict": True}
    api_request = parse(
        max_output_tokens=50,
        temperature=0,
        top_p=0.5,
        user="u",
        reasoning={"effort": "low"},
        text={"verbosity": "low", "format": {"type": "json_schema", **schema}},
    )
    assert api_request.options == {
        "max_tokens": 50,
        "temperature": 0,
        "top_p": 0.5,
        "user": "u",
        "reasoning_effort": "low",
        "verbosity": "low",
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    assert api_request.is_structured
    assert parse(text={"format": {"type": "json_object"}}).options == {
        "response_format": {"type": "json_object"}
    }
    assert parse(text={"format": {"type": "text"}}).options == {}


def test_extra_fields_and_metadata_are_kept() -> None:
    api_request = parse(
        model="desk", stream=True, store=False, previous_response_id="resp_1", instructions="x", tools=TOOLS,
        metadata={"call_id": "c"}, elevenlabs_extra_body={"language": "de"}, user_id="u", truncation="auto",
    )  # fmt: skip
    assert (api_request.model, api_request.stream, api_request.store, api_request.previous_response_id) == (
        "desk",
        True,
        False,
        "resp_1",
    )
    assert api_request.extra == {
        "metadata": {"call_id": "c"},
        "elevenlabs_extra_body": {"language": "de"},
        "user_id": "u",
        "truncation": "auto",
    }
    assert api_request.language == "de"
    assert api_request.echoed_fields == {
        "instructions": "x",
        "metadata": {"call_id": "c"},
        "previous_response_id": "resp_1",
        "store": False,
        "tools": TOOLS,
    }


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"type": "reasoning"}]}, "input"),
        ({"input": ["Hi"]}, "input[0]"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"content": "x"}]}, "input[0].role"),
        ({"input": [message("user", "x")]}, "input[0].content[0]"),
        ({"input": [message("user", {"text": "x"})]}, "input[0].content[0].type"),
        ({"input": [message("user", text(5))]}, "input[0].content[0].text"),  # type: ignore[arg-type]
        ({"input": [message("user", {**PICTURE, "image_url": 5})]}, "input[0].content[0].image_url"),
        ({"input": [{**CALL, "name": None}]}, "input[0].name"),
        ({"input": [{**OUTPUT, "call_id": 5}]}, "input[0].call_id"),
        ({"input": [{**OUTPUT, "output": None}]}, "input[0].output"),
        ({"input": [{"type": "item_reference"}]}, "input[0].id"),
        ({"input": [{"type": "item_reference", "id": 5}]}, "input[0].id"),
        ({"input": [{"id": "msg_t_1_0"}, {"id": "msg_t_1_0"}]}, "input[1].id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"input": [message("user", text("x"))] * 4}, "input"),
        ({"model": "\x00"}, "model"),
        ({"instructions": ["x"]}, "instructions"),
        ({"stream": "yes"}, "stream"),
        ({"store": 1}, "store"),
        ({"previous_response_id": 5}, "previous_response_id"),
        ({"previous_response_id": "x" * 257}, "previous_response_id"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"max_output_tokens": "5"}, "max_output_tokens"),
        ({"reasoning": "low"}, "reasoning"),
        ({"reasoning": {"effort": 5}}, "reasoning.effort"),
        ({"text": {"verbosity": 5}}, "text.verbosity"),
        ({"text": {"format": "json"}}, "text.format"),
        ({"text": {"format": {}}}, "text.format.type"),
        ({"tools": [{"name": "x"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "x"}}]}, "tools[0].name"),
        ({"tools": [WEATHER] * 513}, "tools"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"tool_choice": {"name": "x"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto"}}, "tool_choice.tools"),
        ({"tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.mode"),
    ],
)
def test_an_invalid_field_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        parse(**{"messages": 3, **fields})
    assert raised.value.param == param
    assert f"'{param}" in str(raised.value)


def test_with_a_previous_response_the_input_may_be_empty() -> None:
    for empty in ("null", "[]"):
        assert parse(json.loads(empty), previous_response_id="resp_1").messages == ()
    with pytest.raises(BadRequest):
        parse(None, previous_response_id="")


@pytest.mark.parametrize(("limit", "found"), [(-1, None), (0, None), (150.0, 150)])
def test_a_token_limit_may_be_a_float_and_below_one_means_none(limit: float, found: int | None) -> None:
    api_request = parse(max_output_tokens=limit)
    assert api_request.options == ({} if found is None else {"max_tokens": found})
    assert api_request.echoed_fields == {"max_output_tokens": found}


def test_null_conversation_and_prompt_count_as_missing() -> None:
    assert parse(conversation=None, prompt=None).messages == parse().messages
