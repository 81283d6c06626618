"""Requests as platforms send them, and as they should not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.api import chat_request as ask
from voicegw.api.chat_request import ApiRequest
from voicegw.errors import BadRequest
from voicegw.events import Message, Tool, ToolCall
from voicegw.wire import openai

USER = {"role": "user", "content": "Hello?"}


def parse(body: Any, *, max_messages: int = 100, max_depth: int = 30) -> ApiRequest:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask.parse(data, max_messages=max_messages, max_depth=max_depth)


def read(*messages: Any, **fields: Any) -> ApiRequest:
    return parse({"messages": list(messages) or [USER], **fields})


def test_the_least_request_is_a_message() -> None:
    asked = read()
    assert asked.messages == (Message("user", "Hello?"),)
    assert (asked.model, asked.stream, asked.wants_usage, asked.tools, asked.tool_choice) == (
        "", False, False, (), None,
    )  # fmt: skip
    assert (asked.options, asked.extra, asked.is_structured, asked.language) == ({}, {}, False, None)


def test_nulls_are_as_good_as_nothing() -> None:
    keys = ("model", "stream", "stream_options", "tools", "tool_choice", "n", *openai.SAMPLING)
    assert read(**dict.fromkeys(keys)) == read()


def test_what_openai_s_clients_send_is_kept_apart_from_what_platforms_add() -> None:
    asked = read(
        model="desk",
        stream=True,
        stream_options={"include_usage": True},
        temperature=0,
        max_completion_tokens=50,
        stop=["x"],
        user_id="u1",
        elevenlabs_extra_body={"language": "de", "deep": [1]},
        call={"id": "c1"},
        n=1,
    )
    assert (asked.model, asked.stream, asked.wants_usage) == ("desk", True, True)
    assert asked.options == {"temperature": 0, "max_completion_tokens": 50, "stop": ["x"]}
    assert asked.extra == {
        "user_id": "u1",
        "elevenlabs_extra_body": {"language": "de", "deep": [1]},
        "call": {"id": "c1"},
    }
    assert asked.language == "de"


@pytest.mark.parametrize(
    ("fields", "language"),
    [
        ({"language": "fr"}, "fr"),
        ({"metadata": {"language": "es"}}, "es"),
        ({"language": 7, "metadata": {"language": "es"}}, "es"),
        ({"language": "x" * 36}, None),
        ({"elevenlabs_extra_body": "de"}, None),
    ],
)
def test_the_language_is_where_the_platform_puts_it(fields: dict[str, Any], language: str | None) -> None:
    assert read(**fields).language == language


@pytest.mark.parametrize(
    ("message", "parsed"),
    [
        ({"role": "system", "content": "Be brief."}, Message("system", "Be brief.")),
        ({"role": "developer", "content": "Be brief."}, Message("developer", "Be brief.")),
        ({"role": "user", "content": None}, Message("user")),
        ({"role": "user"}, Message("user")),
        ({"role": "user", "content": "", "name": "ann"}, Message("user", name="ann")),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]},
         Message("user", "a\nb")),
        ({"role": "user", "content": ["a", "b"]}, Message("user", "a\nb")),
        ({"role": "user", "content": []}, Message("user")),
        ({"role": "tool", "content": "42", "tool_call_id": "c"}, Message("tool", "42", tool_call_id="c")),
        ({"role": "function", "content": "42", "name": "f"}, Message("function", "42", name="f")),
        ({"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
         Message("assistant", tool_calls=(ToolCall("c", "f", '{"a":1}'),))),
        ({"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}]},
         Message("assistant", tool_calls=(ToolCall("c", "f", '{"a":1}'),))),
        ({"role": "assistant", "tool_calls": [{}]},
         Message("assistant", tool_calls=(ToolCall("", "", "{}"),))),
        ({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
         Message("assistant", tool_calls=(ToolCall("", "f", "{}"),))),
    ],
)  # fmt: skip
def test_messages_of_every_form_that_platforms_send(message: dict[str, Any], parsed: Message) -> None:
    assert read(message).messages == (parsed,)


def test_parts_that_are_more_than_text_stay_as_they_came() -> None:
    parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    [message] = read({"role": "user", "content": parts}).messages
    assert (message.text, message.parts) == ("Look", tuple(parts))


def test_tools_are_functions_and_other_kinds_are_left_out() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    weather = {"name": "weather", "description": "Tells it.", "parameters": schema, "strict": True}
    asked = read(
        tools=[{"type": "function", "function": weather}, {"type": "custom", "custom": {"name": "x"}},
               {"function": {"name": "bare"}}],
        tool_choice={"type": "function", "function": {"name": "weather"}},
    )  # fmt: skip
    assert asked.tools == (Tool("weather", "Tells it.", schema, True), Tool("bare"))
    assert asked.tool_choice == {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize(
    ("format_", "structured"),
    [
        ({"type": "text"}, False),
        ({}, False),
        ({"type": "json_object"}, True),
        ({"type": "json_schema"}, True),
    ],
)
def test_a_response_format_other_than_text_is_noticed(format_: dict[str, Any], structured: bool) -> None:
    assert read(response_format=format_).is_structured is structured


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": "Hello"}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [USER, "Hello"]}, "messages[1]"),
        ({"messages": [{}]}, "messages[0].role"),
        ({"messages": [{"role": 7}]}, "messages[0].role"),
        ({"messages": [{"role": "robot"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [7]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [7]}]}, "messages[0].tool_calls[0]"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": 7}]}]},
         "messages[0].tool_calls[0].function"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": 7}]}]}, "messages[0].tool_calls[0].id"),
        ({"messages": [{"role": "assistant", "function_call": {"name": 7}}]},
         "messages[0].function_call.name"),
        ({"messages": [{"role": "tool", "tool_call_id": 7}]}, "messages[0].tool_call_id"),
        ({"model": 7}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"response_format": "json"}, "response_format"),
        ({"tools": {}}, "tools"),
        ({"tools": [7]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"function": {"name": "f", "parameters": []}}]}, "tools[0].function.parameters"),
        ({"tool_choice": 7}, "tool_choice"),
        ({"n": 2}, "n"),
    ],
)  # fmt: skip
def test_a_wrong_type_is_refused_and_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse({"messages": [USER], **fields})
    assert refused.value.param == param
    assert param in str(refused.value)


def test_a_missing_field_is_called_missing() -> None:
    with pytest.raises(BadRequest, match="'messages' must be an array; it is missing"):
        parse({})


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[]", b'"hi"', b"null", b"7"])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(body)


def test_there_is_a_bound_on_messages() -> None:
    assert len(parse({"messages": [USER] * 3}, max_messages=3).messages) == 3
    with pytest.raises(BadRequest, match="at most 3") as refused:
        parse({"messages": [USER] * 4}, max_messages=3)
    assert refused.value.param == "messages"


def nested(levels: int) -> Any:
    return [] if levels == 1 else {"a": nested(levels - 1)}


def test_there_is_a_bound_on_depth() -> None:
    assert parse({"messages": [USER], "extra": nested(29)}, max_depth=30).extra
    with pytest.raises(BadRequest, match="deeper than 30"):
        parse({"messages": [USER], "extra": nested(30)}, max_depth=30)
    assert len(parse({"messages": [USER] * 90}, max_depth=30).messages) == 90, "many is not deep"


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000])
def test_absurd_depth_is_refused_and_not_recursed_into(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(body)


def test_half_an_emoji_is_no_reason_to_refuse_a_caller() -> None:
    assert parse(rb'{"messages":[{"role":"user","content":"Hi \ud83d"}]}').messages[0].text == "Hi \ufffd"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["messages", "tools", "stream", "n", "metadata", "stop", "x"]), JSON))
def test_any_object_is_read_or_refused(body: dict[str, Any]) -> None:
    try:
        asked = parse(body)
    except BadRequest:
        return
    assert asked.messages
