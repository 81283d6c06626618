"""Turns as bodies of Messages requests, for every kind of conversation."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from voicegw.agents.anthropic.request import encode_request
from voicegw.agents.model_history import INTERRUPTED_RESULT
from voicegw.events import Message, Tool, ToolCall, Turn
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT
from voicegw.wire.json import dumps

HI = Message("user", "Hi")


def turn(*messages: Message, **more: Any) -> Turn:
    return Turn("t1", messages or (HI,), **more)


def body(*messages: Message, **more: Any) -> dict[str, Any]:
    return encode_request(turn(*messages, **more), model="m", max_tokens=10)


def conversation(*messages: Message) -> list[tuple[str, list[Any]]]:
    """Return the encoded conversation, with text blocks as strings."""
    return [
        (
            message["role"],
            [block["text"] if block["type"] == "text" else block for block in message["content"]],
        )
        for message in body(*messages)["messages"]
    ]


def assistant_calls(*ids: str, text: str = "") -> Message:
    return Message("assistant", text, tool_calls=tuple(ToolCall(id, "f", '{"x":1}') for id in ids))


def tool_answer(id: str | None, text: str = "42") -> Message:
    return Message("tool", text, tool_call_id=id)


def tool_use(id: str, given: Any = None) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "f", "input": {"x": 1} if given is None else given}


def tool_result(id: str, text: str = "42") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": text}


def test_minimal_turn() -> None:
    assert body(model="ignored") == {
        "model": "m",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "stream": True,
    }


def test_instructions_are_joined_in_the_system_field() -> None:
    asked = turn(Message("system", "Be kind"), HI, Message("developer", "Be brief"), Message("system", " "))
    assert encode_request(asked, model="m", max_tokens=1)["system"] == "Be kind\n\nBe brief"
    assert encode_request(asked, model="m", max_tokens=1, cache=True)["system"] == [
        {"type": "text", "text": "Be kind\n\nBe brief", "cache_control": {"type": "ephemeral"}}
    ]
    assert [message["role"] for message in encode_request(asked, model="m", max_tokens=1)["messages"]] == [
        "user"
    ]
    assert "system" not in encode_request(turn(), model="m", max_tokens=1, cache=True)


def test_messages_of_the_same_role_are_merged() -> None:
    assert conversation(
        HI, Message("user", "you"), Message("assistant", "a"), Message("assistant", "b"), HI
    ) == [
        ("user", ["Hi\n\nyou"]),
        ("assistant", ["a\n\nb"]),
        ("user", ["Hi"]),
    ]


def test_user_message_comes_first_and_last() -> None:
    assert conversation(Message("assistant", "Hello!"), HI) == [
        ("user", [CALL_START_PROMPT]),
        ("assistant", ["Hello!"]),
        ("user", ["Hi"]),
    ]
    assert conversation(HI, Message("assistant", "Hello!"))[-1] == ("user", [SILENCE_PROMPT])
    assert conversation(Message("system", "Greet")) == [("user", [CALL_START_PROMPT])]


def test_blank_texts_are_left_out() -> None:
    blank = Message("user", "", parts=({"type": "text", "text": " "}, {"type": "text", "text": None}))
    assert conversation(
        HI, Message("assistant", " \n"), Message("user", ""), blank, Message("user", "you")
    ) == [("user", ["Hi\n\nyou"])]


def test_tool_results_follow_their_calls() -> None:
    assert conversation(
        HI, assistant_calls("a", "b", text="So"), tool_answer("b", "B"), tool_answer("a", "A"), HI
    ) == [
        ("user", ["Hi"]),
        ("assistant", ["So", tool_use("call_1"), tool_use("call_2")]),
        ("user", [tool_result("call_1", "A"), tool_result("call_2", "B"), "Hi"]),
    ]


def test_late_tool_results_follow_their_calls() -> None:
    late = (
        HI,
        assistant_calls("a"),
        Message("user", "Well?"),
        Message("assistant", "Wait"),
        tool_answer("a"),
    )
    assert conversation(*late) == [
        ("user", ["Hi"]),
        ("assistant", [tool_use("call_1")]),
        ("user", [tool_result("call_1"), "Well?"]),
        ("assistant", ["Wait"]),
        ("user", [SILENCE_PROMPT]),
    ]


def test_calls_without_results_are_interrupted_and_results_without_calls_are_left_out() -> None:
    assert conversation(
        HI, assistant_calls("a", "b"), tool_answer("b"), tool_answer("c"), assistant_calls("d"), HI
    ) == [
        ("user", ["Hi"]),
        ("assistant", [tool_use("call_1"), tool_use("call_2")]),
        ("user", [tool_result("call_1", INTERRUPTED_RESULT), tool_result("call_2")]),
        ("assistant", [tool_use("call_3")]),
        ("user", [tool_result("call_3", INTERRUPTED_RESULT), "Hi"]),
    ]


@pytest.mark.parametrize("id", ["0", "", "functions.f:0"])
def test_repeated_call_ids_become_unique(id: str) -> None:
    assert conversation(
        HI,
        assistant_calls(id, id),
        tool_answer(id, "1"),
        tool_answer(id, "2"),
        assistant_calls(id),
        tool_answer(id, "3"),
    ) == [
        ("user", ["Hi"]),
        ("assistant", [tool_use("call_1"), tool_use("call_2")]),
        ("user", [tool_result("call_1", "1"), tool_result("call_2", "2")]),
        ("assistant", [tool_use("call_3")]),
        ("user", [tool_result("call_3", "3")]),
    ]


def test_tool_call_without_a_name_is_left_out() -> None:
    nameless = Message("assistant", "So", tool_calls=(ToolCall("a", ""),))
    assert conversation(HI, nameless, tool_answer("a"), HI) == [
        ("user", ["Hi"]),
        ("assistant", ["So"]),
        ("user", ["Hi"]),
    ]
    assert "tools" not in encode_request(Turn("7", (HI, nameless)), model="m", max_tokens=1)


def test_function_call_becomes_a_tool_use() -> None:
    old = Message("assistant", tool_calls=(ToolCall("", "f", '{"x":1}'),))
    assert conversation(HI, old, Message("function", "42", name="f"))[1:] == [
        ("assistant", [tool_use("call_1")]),
        ("user", [tool_result("call_1")]),
    ]


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ("{}", {}),
        ("", {}),
        ("[1]", {"invalid_arguments": "[1]"}),
        ("{", {"invalid_arguments": "{"}),
        ('{"a":"\\ud800"}', {"a": "�"}),
    ],
)
def test_arguments_become_an_object(arguments: str, given: dict[str, Any]) -> None:
    call = Message("assistant", tool_calls=(ToolCall("a", "f", arguments),))
    assert conversation(HI, call, tool_answer("a"))[1] == ("assistant", [tool_use("call_1", given)])


def image(url: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": url}


@pytest.mark.parametrize(
    ("part", "source"),
    [
        (image({"url": "https://a/b.png"}), {"type": "url", "url": "https://a/b.png"}),
        (image("https://a/b,c"), {"type": "url", "url": "https://a/b,c"}),
        (
            image({"url": "data:image/png;base64,aGk="}),
            {"type": "base64", "media_type": "image/png", "data": "aGk="},
        ),
        (
            image({"url": "DATA:image/JPG;base64,aGk="}),
            {"type": "base64", "media_type": "image/jpeg", "data": "aGk="},
        ),
        (image({"url": "http://a/b.png"}), None),
        (image({"url": "data:image/tiff;base64,aGk="}), None),
        (image({"url": "data:image/png;base64,"}), None),
        (image({"url": "data:image/png;base64,no base64"}), None),
        (image({"url": 7}), None),
        (image(None), None),
        ({"type": "file", "file": {}}, None),
        ({}, None),
    ],
)
def test_images_of_a_user_message(part: dict[str, Any], source: dict[str, Any] | None) -> None:
    asked = Message("user", "see", parts=({"type": "input_text", "text": "see"}, part))
    shown = [] if source is None else [{"type": "image", "source": source}]
    assert conversation(asked) == [("user", ["see", *shown])]


def test_tools_and_their_descriptions() -> None:
    full = Tool("b", "B", {"type": "object", "properties": {}}, strict=True)
    assert body(tools=(Tool("a"), full)) == body() | {
        "tools": [
            {"name": "a", "input_schema": {"type": "object"}},
            {"name": "b", "description": "B", "input_schema": {"type": "object", "properties": {}}},
        ],
        "tool_choice": {"type": "auto"},
    }


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (None, {"type": "auto"}),
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "a"}}, {"type": "tool", "name": "a"}),
        ({"type": "function", "function": {"name": "not offered"}}, {"type": "auto"}),
        ({"type": "function"}, {"type": "auto"}),
    ],
)
def test_tool_choice(choice: Any, chosen: dict[str, Any]) -> None:
    assert body(tools=(Tool("a"),), tool_choice=choice)["tool_choice"] == chosen
    one = body(tools=(Tool("a"),), tool_choice=choice, options={"parallel_tool_calls": False})["tool_choice"]
    assert one == (chosen if choice == "none" else chosen | {"disable_parallel_tool_use": True})
    assert body(tools=(Tool("a"),), options={"parallel_tool_calls": True})["tool_choice"] == {"type": "auto"}


def test_tool_choice_without_tools_is_not_sent() -> None:
    assert body(tool_choice="required") == body()


def test_called_tools_are_named_although_none_is_offered() -> None:
    assert {
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "none"},
    }.items() <= body(HI, assistant_calls("a", "b"), tool_answer("a"), tool_answer("b")).items()


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({}, 10),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7, "max_tokens": 5}, 7),
        ({"max_tokens": None}, 10),
    ],
)
def test_max_tokens(options: dict[str, Any], most: int) -> None:
    assert body(options=options)["max_tokens"] == most


@pytest.mark.parametrize(
    ("stop", "stops"),
    [("END", ["END"]), (["a", " ", 7, "b"], ["a", "b"]), ("\n", None), ([], None), (None, None)],
)
def test_stop_sequences(stop: Any, stops: list[str] | None) -> None:
    assert body(options={"stop": stop}).get("stop_sequences") == stops


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0}),
        ({"temperature": 1.7}, {"temperature": 1}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"temperature": None, "top_p": None, "seed": 1}, {}),
    ],
)
def test_sampling_options_are_sent_only_with_sampling(options: dict[str, Any], sent: dict[str, Any]) -> None:
    asked = turn(options=options)
    assert encode_request(asked, model="m", max_tokens=10, sampling=True) == body() | sent
    assert encode_request(asked, model="m", max_tokens=10) == body()


def test_extra_fields_do_not_replace_others() -> None:
    more = {"thinking": {"type": "disabled"}, "model": "x", "stream": False}
    assert encode_request(turn(), model="m", max_tokens=10, extra_body=more) == body() | {
        "thinking": {"type": "disabled"}
    }


TEXTS = st.sampled_from(["", " ", "Hi", "\ud800"])
CALLS = st.builds(
    ToolCall, st.sampled_from(["", "a", "b"]), st.just("f"), st.sampled_from(["{}", "[", '{"x":1}'])
)
PARTS = st.sampled_from([image("https://a"), image({}), {"type": "text", "text": "see"}, {"type": "file"}])
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"]),
    text=TEXTS,
    parts=st.lists(PARTS, max_size=2).map(tuple),
    tool_calls=st.lists(CALLS, max_size=2).map(tuple),
    tool_call_id=st.sampled_from([None, "", "a", "b"]),
)
TURNS = st.builds(
    Turn,
    id=st.just("t1"),
    messages=st.lists(MESSAGES, max_size=8).map(tuple),
    tools=st.lists(st.just(Tool("f")), max_size=1).map(tuple),
    tool_choice=st.sampled_from([None, "auto", "required", "none", {"function": {"name": "f"}}]),
    options=st.sampled_from(
        [{}, {"parallel_tool_calls": False}, {"stop": "END", "temperature": 2, "user": "u"}]
    ),
)


@given(TURNS)
def test_every_conversation_follows_the_rules_of_the_protocol(asked: Turn) -> None:
    messages = orjson.loads(dumps(encode_request(asked, model="m", max_tokens=10)))["messages"]
    assert [message["role"] for message in messages] == [
        ("user", "assistant")[n % 2] for n in range(len(messages))
    ]
    assert len(messages) % 2 == 1
    ids: list[str] = []
    for number, message in enumerate(messages):
        blocks = message["content"]
        assert blocks
        assert all(block["text"].strip() for block in blocks if block["type"] == "text")
        made = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if made:
            assert message["role"] == "assistant"
            assert [
                block.get("tool_use_id") for block in messages[number + 1]["content"][: len(made)]
            ] == made
        ids += made
    assert len(ids) == len(set(ids))
    assert len(ids) == sum(
        block["type"] == "tool_result" for message in messages for block in message["content"]
    )


@functools.cache
def sdk_type() -> Any:
    """Return the type of a streamed request in Anthropic's SDK."""
    types = pytest.importorskip("anthropic.types.message_create_params")
    return TypeAdapter(types.MessageCreateParamsStreaming)


def fully_validated(value: Any) -> Any:
    """Return the value with everything in it validated: pydantic validates iterables when they are read."""
    if isinstance(value, dict):
        return {name: fully_validated(inner) for name, inner in value.items()}
    return (
        [fully_validated(inner) for inner in value]
        if isinstance(value, Iterable) and type(value) is not str
        else value
    )


@given(TURNS, st.booleans())
def test_sdk_types_accept_every_request(asked: Turn, cache: bool) -> None:
    written = orjson.loads(dumps(encode_request(asked, model="m", max_tokens=10, cache=cache)))
    assert fully_validated(sdk_type().validate_python(written, extra="forbid")) == written


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": "many"},
        {"temperature": 1},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"tool_choice": {"type": "auto", "name": "f"}},
    ],
)
def test_sdk_types_refuse_wrong_requests(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        fully_validated(sdk_type().validate_python(body() | wrong, extra="forbid"))
