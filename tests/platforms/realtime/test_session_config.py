from __future__ import annotations

from typing import Any

import pytest

from tests.platforms.realtime.client import message
from voicegw.errors import BadRequest
from voicegw.events import Message, Tool
from voicegw.platforms.realtime.events import EventWriter
from voicegw.platforms.realtime.items import RealtimeConversation, RealtimeItem
from voicegw.platforms.realtime.session_config import ResponseConfig, SessionConfig, parse_response_config

HOURS = {"type": "function", "name": "hours", "description": "When?", "parameters": {"type": "object"}}
TOOL = Tool("hours", "When?", {"type": "object"})
FUNCTION = {"type": "function", "name": "hours"}
SESSION = SessionConfig("Be kind.", (TOOL,), "required", 9)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, SESSION),
        ({"instructions": None, "tools": None, "tool_choice": None, "max_output_tokens": None}, SESSION),
        ({"instructions": ""}, SessionConfig("", (TOOL,), "required", 9)),
        ({"tools": []}, SessionConfig("Be kind.", (), "required", 9)),
        ({"tools": [{"name": "x"}]}, SessionConfig("Be kind.", (Tool("x"),), "required", 9)),
        ({"tools": [HOURS]}, SESSION),
        ({"tool_choice": "none"}, SessionConfig("Be kind.", (TOOL,), "none", 9)),
        ({"tool_choice": {**FUNCTION, "more": 1}}, SessionConfig("Be kind.", (TOOL,), FUNCTION, 9)),
        ({"max_output_tokens": "inf"}, SessionConfig("Be kind.", (TOOL,), "required", "inf")),
        ({"max_output_tokens": 1}, SessionConfig("Be kind.", (TOOL,), "required", 1)),
        (
            {"output_modalities": ["text"], "audio": {"output": {"voice": "x"}}, "tracing": "auto", "x": 1},
            SESSION,
        ),
        ({"output_modalities": None, "temperature": 2}, SESSION),
    ],
)
def test_given_fields_replace_those_of_the_session(data: dict[str, Any], expected: SessionConfig) -> None:
    assert SESSION.merge(data, "session.") == expected


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"instructions": 7}, "instructions"),
        ({"tools": {}}, "tools"),
        ({"tools": [HOURS] * 513}, "tools"),
        ({"tools": [HOURS, "hours"]}, "tools[1]"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": 7}, "tool_choice"),
        ({"tool_choice": {"type": "mcp", "server_label": "x"}}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": True}, "max_output_tokens"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"max_output_tokens": "many"}, "max_output_tokens"),
        ({"output_modalities": ["audio"]}, "output_modalities"),
        ({"output_modalities": ["text", "audio"]}, "output_modalities"),
        ({"output_modalities": []}, "output_modalities"),
        ({"output_modalities": "text"}, "output_modalities"),
    ],
)
def test_invalid_field_is_refused_by_name(data: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        SESSION.merge(data, "session.")
    assert refused.value.param == f"session.{param}"


def test_session_is_encoded() -> None:
    assert SESSION.to_json() == {
        "output_modalities": ["text"],
        "instructions": "Be kind.",
        "tools": [HOURS],
        "tool_choice": "required",
        "max_output_tokens": 9,
    }


@pytest.mark.parametrize(
    ("config", "choice", "options"),
    [
        (SessionConfig(), None, {}),
        (SessionConfig(tool_choice="required", max_output_tokens=1), None, {"max_tokens": 1}),
        (SessionConfig(tools=(TOOL,)), "auto", {}),
        (
            SessionConfig(tools=(TOOL,), tool_choice=FUNCTION),
            {"type": "function", "function": {"name": "hours"}},
            {},
        ),
    ],
)
def test_tool_choice_and_options_have_the_form_of_chat_completions(
    config: SessionConfig, choice: Any, options: dict[str, Any]
) -> None:
    assert (config.chat_tool_choice, config.chat_options) == (choice, options)


def parse(**data: Any) -> ResponseConfig:
    conversation = RealtimeConversation("conv")
    conversation.add(RealtimeItem("said", Message("user", "Hi")))
    return parse_response_config(data, "response.", SESSION, conversation, EventWriter("p"))


MAX_METADATA = {"k" * 64: "v" * 512, **{str(number): "" for number in range(15)}}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, ResponseConfig(SESSION)),
        ({"conversation": "auto", "metadata": None, "input": None}, ResponseConfig(SESSION)),
        ({"conversation": "none"}, ResponseConfig(SESSION, out_of_band=True)),
        ({"metadata": MAX_METADATA}, ResponseConfig(SESSION, metadata=MAX_METADATA)),
        ({"instructions": "Greet."}, ResponseConfig(SessionConfig("Greet.", (TOOL,), "required", 9))),
        ({"input": []}, ResponseConfig(SESSION, input=())),
        (
            {"input": [{"type": "item_reference", "id": "said"}, message("user", "Yes", id="said")]},
            ResponseConfig(SESSION, input=(Message("user", "Hi"), Message("user", "Yes"))),
        ),
    ],
)
def test_response_config_is_parsed(data: dict[str, Any], expected: ResponseConfig) -> None:
    assert parse(**data) == expected


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"conversation": "conv_p"}, "conversation"),
        ({"conversation": 7}, "conversation"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": 7}}, "metadata"),
        ({"metadata": {"a": "v" * 513}}, "metadata"),
        ({"metadata": {"k" * 65: ""}}, "metadata"),
        ({"metadata": MAX_METADATA | {"more": ""}}, "metadata"),
        ({"input": "Hi"}, "input"),
        ({"input": [7]}, "input[0]"),
        ({"input": [message("user")] * 2001}, "input"),
        ({"input": [{"type": "item_reference"}]}, "input[0].id"),
        ({"input": [message("user"), {"type": "item_reference", "id": "gone"}]}, "input[1].id"),
        ({"input": [{"type": "message"}]}, "input[0].role"),
        ({"output_modalities": ["audio"]}, "output_modalities"),
    ],
)
def test_invalid_response_field_is_refused_by_name(data: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(**data)
    assert refused.value.param == f"response.{param}"
