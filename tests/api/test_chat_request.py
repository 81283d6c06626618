"""Chat completions requests: every form that platforms send, and invalid ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.api import chat_request as chat_request
from voicegw.api.chat_request import ApiRequest
from voicegw.errors import BadRequest
from voicegw.events import Message, Tool, ToolCall
from voicegw.wire import openai

USER = {"role": "user", "content": "Hello?"}


def parse(body: Any, *, max_messages: int = 100, max_depth: int = 30) -> ApiRequest:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return chat_request.parse(data, max_messages=max_messages, max_depth=max_depth)


def parse_messages(*messages: Any, **fields: Any) -> ApiRequest:
    return parse({"messages": list(messages) or [USER], **fields})


def test_the_smallest_request_is_one_message() -> None:
    api_request = parse_messages()
    assert api_request.messages == (Message("user", "Hello?"),)
    assert (api_request.model, api_request.stream, api_request.wants_usage) == ("", False, False)
    assert (api_request.tools, api_request.tool_choice, api_request.options) == ((), None, {})
    assert (api_request.extra, api_request.is_structured, api_request.language) == ({}, False, None)


def test_null_fields_count_as_missing() -> None:
    keys = ("model", "stream", "stream_options", "tools", "tool_choice", "n", *openai.SAMPLING_FIELDS)
    assert parse_messages(**dict.fromkeys(keys)) == parse_messages()


def test_openai_s_fields_and_extra_fields_are_separate() -> None:
    api_request = parse_messages(
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
    assert (api_request.model, api_request.stream, api_request.wants_usage) == ("desk", True, True)
    assert api_request.options == {"temperature": 0, "max_completion_tokens": 50, "stop": ["x"]}
    assert api_request.extra == {
        "user_id": "u1",
        "elevenlabs_extra_body": {"language": "de", "deep": [1]},
        "call": {"id": "c1"},
    }
    assert api_request.language == "de"


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
def test_the_language_is_found_in_every_place_that_platforms_use(
    fields: dict[str, Any], language: str | None
) -> None:
    assert parse_messages(**fields).language == language


@pytest.mark.parametrize(
    ("message", "parsed"),
    [
        ({"role": "system", "content": "Be brief."}, Message("system", "Be brief.")),
        ({"role": "developer", "content": "Be brief."}, Message("developer", "Be brief.")),
        ({"role": "user", "content": None}, Message("user")),
        ({"role": "assistant", "refusal": "No."}, Message("assistant")),
        ({"role": "assistant", "audio": {"id": "a"}}, Message("assistant")),
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
def test_every_form_of_message_is_parsed(message: dict[str, Any], parsed: Message) -> None:
    assert parse_messages(message).messages == (parsed,)


def test_parts_that_are_not_text_are_kept() -> None:
    parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    [message] = parse_messages({"role": "user", "content": parts}).messages
    assert (message.text, message.parts) == ("Look", tuple(parts))


def test_function_tools_are_parsed_and_other_types_left_out() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    weather = {"name": "weather", "description": "Tells it.", "parameters": schema, "strict": True}
    api_request = parse_messages(
        tools=[{"type": "function", "function": weather}, {"type": "custom", "custom": {"name": "x"}},
               {"function": {"name": "bare"}}],
        tool_choice={"type": "function", "function": {"name": "weather"}},
    )  # fmt: skip
    assert api_request.tools == (Tool("weather", "Tells it.", schema, True), Tool("bare"))
    assert api_request.tool_choice == {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize(
    ("format_", "structured"),
    [
        ({"type": "text"}, False),
        ({}, False),
        ({"type": "json_object"}, True),
        ({"type": "json_schema"}, True),
    ],
)
def test_a_response_format_other_than_text_is_structured(format_: dict[str, Any], structured: bool) -> None:
    assert parse_messages(response_format=format_).is_structured is structured


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
        ({"max_tokens": 1e300}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [USER, {"role": "user", "name": "ann"}]}, "messages[1].content"),
        ({"messages": [{"role": "system"}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "tool_call_id": "c"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "tool_calls": [{"id": "c"}]}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant"}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "tool_calls": []}]}, "messages[0].content"),
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
    with pytest.raises(BadRequest) as raised:
        parse({"messages": [USER], **fields})
    assert raised.value.param == param
    assert param in str(raised.value)


@pytest.mark.parametrize("key", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(
    ("limit", "options"), [(-1, None), (0, None), (-1.0, None), (0.0, None), (150.0, 150), (1, 1)]
)
def test_a_token_limit_may_be_a_float_and_below_one_means_none(
    key: str, limit: float, options: int | None
) -> None:
    found = parse_messages(**{key: limit}).options
    assert found == ({} if options is None else {key: options})
    assert all(type(value) is int for value in found.values())


@pytest.mark.parametrize("field", ["seed", "n"])
def test_every_integer_may_be_a_whole_float(field: str) -> None:
    assert parse_messages(**{field: 1.0}).options == ({"seed": 1} if field == "seed" else {})


def test_the_error_says_that_a_field_is_missing() -> None:
    with pytest.raises(BadRequest, match="'messages' must be an array; it is missing"):
        parse({})


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[]", b'"hi"', b"null", b"7"])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(body)


def test_the_number_of_messages_is_limited() -> None:
    assert len(parse({"messages": [USER] * 3}, max_messages=3).messages) == 3
    with pytest.raises(BadRequest, match="at most 3") as raised:
        parse({"messages": [USER] * 4}, max_messages=3)
    assert raised.value.param == "messages"


def nested(levels: int) -> Any:
    return [] if levels == 1 else {"a": nested(levels - 1)}


def test_the_depth_is_limited() -> None:
    assert parse({"messages": [USER], "extra": nested(29)}, max_depth=30).extra
    with pytest.raises(BadRequest, match="deeper than 30"):
        parse({"messages": [USER], "extra": nested(30)}, max_depth=30)
    assert len(parse({"messages": [USER] * 90}, max_depth=30).messages) == 90, "many messages are not deep"


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000])
def test_extreme_depth_is_refused_without_recursion(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(body)


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    assert parse(rb'{"messages":[{"role":"user","content":"Hi \ud83d"}]}').messages[0].text == "Hi \ufffd"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["messages", "tools", "stream", "n", "metadata", "stop", "x"]), JSON))
def test_any_object_is_parsed_or_refused(body: dict[str, Any]) -> None:
    try:
        api_request = parse(body)
    except BadRequest:
        return
    assert api_request.messages
