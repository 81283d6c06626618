"""Turns as bodies of chat-completions requests."""

from __future__ import annotations

from typing import Any, Literal

import orjson
import pytest

from voicegw.agents.openai.request import encode_request
from voicegw.events import Message, Tool, ToolCall, Turn


def turn(*messages: Message, **more: Any) -> Turn:
    return Turn("t1", messages or (Message("user", "Hi"),), **more)


def test_minimal_turn() -> None:
    assert encode_request(turn(model="m")) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_request_without_stream_has_no_stream_options() -> None:
    assert encode_request(turn(), model="own", stream=False) == {
        "model": "own",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": False,
    }


def test_messages_keep_all_fields() -> None:
    parts = ({"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "x"}})
    call, call_2 = (ToolCall(id, "look", '{"a":1}') for id in ("c1", "c2"))
    written = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
    body = encode_request(
        turn(
            Message("developer", "Be kind"),
            Message("user", "see", parts=parts, name="Ann"),
            Message("assistant", tool_calls=(call,)),
            Message("tool", "42", tool_call_id="c1"),
            Message("assistant", "So", tool_calls=(call_2,)),
            Message("tool", "43", tool_call_id="c2"),
        )
    )
    assert body["messages"] == [
        {"role": "developer", "content": "Be kind"},
        {"role": "user", "content": list(parts), "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [written]},
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
        {"role": "assistant", "content": "So", "tool_calls": [written | {"id": "c2"}]},
        {"role": "tool", "content": "43", "tool_call_id": "c2"},
    ]


def test_tools_and_tool_choice() -> None:
    bare, full = Tool("a"), Tool("b", "B", {"type": "object"}, strict=True)
    body = encode_request(turn(tools=(bare, full), tool_choice="auto"))
    assert body["tool_choice"] == "auto"
    assert body["tools"] == [
        {"type": "function", "function": {"name": "a", "parameters": {}}},
        {
            "type": "function",
            "function": {"name": "b", "parameters": {"type": "object"}, "description": "B", "strict": True},
        },
    ]


def test_tool_choice_without_tools_is_not_sent() -> None:
    assert "tool_choice" not in encode_request(turn(tool_choice="none"))
    filtered = encode_request(turn(tools=(Tool("a"),), tool_choice="auto"), fields=frozenset({"tool_choice"}))
    assert "tool_choice" not in filtered


def test_options_keep_their_names() -> None:
    options = {"max_tokens": 5, "temperature": 0.5, "seed": None}
    assert options.items() <= encode_request(turn(options=options)).items()
    assert encode_request(turn(options={"max_completion_tokens": 5}))["max_completion_tokens"] == 5


def test_reserved_options_are_ignored() -> None:
    body = encode_request(
        turn(options={"n": 3, "stream": False, "stream_options": None, "messages": [], "model": "x"})
    )
    assert body == encode_request(turn())


def test_only_listed_fields_are_sent() -> None:
    asked = turn(tools=(Tool("a"),), tool_choice="auto", options={"temperature": 1, "seed": 2})
    assert encode_request(asked, fields=frozenset()).keys() == {"model", "messages", "stream"}
    assert encode_request(asked, fields=frozenset({"seed", "tools"})).keys() == {
        "model",
        "messages",
        "stream",
        "seed",
        "tools",
    }
    assert "stream_options" in encode_request(asked, fields=frozenset({"stream_options"}))


def test_request_is_json() -> None:
    asked = turn(Message("user", "é", parts=({"a": 1},)), tools=(Tool("a", parameters={"type": "object"}),))
    assert orjson.loads(orjson.dumps(encode_request(asked)))["messages"][0]["content"] == [{"a": 1}]


def test_text_only_request_has_texts_of_three_roles() -> None:
    body = encode_request(
        turn(
            Message("developer", "Be kind"),
            Message("user", "see", parts=({"type": "image_url", "image_url": {"url": "x"}},), name="Ann"),
            Message("assistant", tool_calls=(ToolCall("c1", "look"),)),
            Message("tool", "42", tool_call_id="c1"),
            Message("assistant", "So"),
            Message("user", " "),
        ),
        text_only=True,
    )
    assert body["messages"] == [
        {"role": "system", "content": "Be kind"},
        {"role": "user", "content": "see"},
        {"role": "assistant", "content": "So"},
    ]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("fields", [None, frozenset({"max_tokens"}), frozenset({"max_completion_tokens"})])
@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({}, None),
    ],
)
def test_token_limit_gets_the_name_that_the_server_knows(
    options: dict[str, int], limit: int | None, fields: frozenset[str] | None, name: str
) -> None:
    body = encode_request(turn(options=options), fields=fields, max_tokens_field=name)
    assert {key: body[key] for key in body if key.startswith("max_")} == ({name: limit} if limit else {})


def test_token_limit_that_is_not_listed_is_not_sent() -> None:
    asked = turn(options={"max_tokens": 5})
    assert "max_tokens" not in encode_request(asked, fields=frozenset(), max_tokens_field="max_tokens")


@pytest.mark.parametrize("role", ["developer", "system"])
def test_developer_becomes_the_role_that_the_server_knows(role: Literal["developer", "system"]) -> None:
    asked = turn(Message("developer", "Be kind"), Message("user", "Hi"))
    assert encode_request(asked, developer_role=role)["messages"][0] == {"role": role, "content": "Be kind"}


def test_extra_body_replaces_options_of_the_turn() -> None:
    extra = {"temperature": 0.2, "top_k": 20, "chat_template_kwargs": {"enable_thinking": False}}
    asked = turn(options={"temperature": 1, "seed": 2})
    assert encode_request(asked, extra_body=extra) == {**encode_request(asked), **extra}
    assert encode_request(asked, fields=frozenset(), extra_body=extra).items() >= extra.items()
