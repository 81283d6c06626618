"""Turns as bodies of ConverseStream requests, validated by botocore."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.bedrock.request import CACHE_POINT, encode_request
from voicegw.agents.model_history import INTERRUPTED_RESULT, NO_RESULT
from voicegw.events import Message, Tool, ToolCall, Turn
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT
from voicegw.wire.json import dumps

WEATHER = Tool("weather", "Tells the weather", {"type": "object", "required": ["city"]}, strict=True)
BARE = Tool("end_call")
ASKED = ToolCall("tooluse_1", "weather", '{"city":"Rome"}')
PIXEL = b64encode(b"pixel").decode()


def conversation(*messages: Message, tools: tuple[Tool, ...] = ()) -> list[tuple[str, list[Any]]]:
    """Return the encoded conversation, with text blocks as strings."""
    body = encode_request(Turn("t1", messages, tools=tools))
    return [(message["role"], [short(block) for block in message["content"]]) for message in body["messages"]]


def short(block: dict[str, Any]) -> Any:
    return block.get("text", block)


def tool_use(id: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": id, "name": name, "input": given}}


def tool_result(id: str, text: str) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": id, "content": [{"text": text}]}}


def test_minimal_turn() -> None:
    turn = Turn("t1", (Message("user", "Hi"),), model="asked", options={"seed": 1, "temperature": None})
    assert encode_request(turn) == {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}


def test_turn_with_all_fields() -> None:
    messages = (Message("system", "Be kind."), Message("user", "Hi"), Message("developer", "Be brief."))
    turn = Turn(
        "t1",
        messages,
        tools=(WEATHER, BARE),
        tool_choice="required",
        options={"max_tokens": 99, "temperature": 0.5, "top_p": 0.9, "stop": "END", "user": "u", "seed": 4},
    )
    asked = encode_request(
        turn, latency="optimized", tier="priority", cache=("system", "tools"), sampling=True
    )
    assert asked == {
        "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
        "system": [{"text": "Be kind."}, {"text": "Be brief."}, CACHE_POINT],
        "inferenceConfig": {"maxTokens": 99, "temperature": 0.5, "stopSequences": ["END"]},
        "toolConfig": {
            "tools": [
                {
                    "toolSpec": {
                        "name": "weather",
                        "description": "Tells the weather",
                        "inputSchema": {"json": {"type": "object", "required": ["city"], "properties": {}}},
                    }
                },
                {
                    "toolSpec": {
                        "name": "end_call",
                        "inputSchema": {"json": {"type": "object", "properties": {}}},
                    }
                },
                CACHE_POINT,
            ],
            "toolChoice": {"any": {}},
        },
        "performanceConfig": {"latency": "optimized"},
        "serviceTier": {"type": "priority"},
    }


def test_cache_point_needs_something_before_it() -> None:
    turn = Turn("t1", (Message("system", " "), Message("user", "Hi")))
    assert encode_request(turn, cache=("system", "tools")).keys() == {"messages"}


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ({"max_completion_tokens": 7, "max_tokens": 9}, {"maxTokens": 7}),
        ({"stop": ["a", "", "b"]}, {"stopSequences": ["a", "b"]}),
        ({"stop": ["", "", 5]}, None),
        ({"temperature": 0.5, "top_p": 0.1, "presence_penalty": 1, "latency": "optimized"}, None),
    ],
)
def test_options_become_inference_config(options: dict[str, Any], written: dict[str, Any] | None) -> None:
    body = encode_request(Turn("t1", (Message("user", "Hi"),), options=options))
    assert body.get("inferenceConfig") == written


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ({"temperature": 1.7}, {"temperature": 1.0}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"temperature": None, "top_p": 0.1}, {"topP": 0.1}),
        ({"temperature": 0.5, "top_p": 0.1}, {"temperature": 0.5}),
        ({}, None),
    ],
)
def test_sampling_sends_temperature_or_else_top_p(
    options: dict[str, Any], written: dict[str, Any] | None
) -> None:
    turn = Turn("t1", (Message("user", "Hi"),), options=options)
    assert encode_request(turn, sampling=True).get("inferenceConfig") == written


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (None, None),
        ("auto", None),
        ("required", {"any": {}}),
        ({"type": "function", "function": {"name": "weather"}}, {"tool": {"name": "weather"}}),
        ({"type": "function", "name": "weather"}, {"tool": {"name": "weather"}}),
        ({"type": "function", "function": {"name": "unknown"}}, None),
        ({"type": "function", "function": "weather"}, None),
    ],
)
def test_tool_choice(choice: Any, written: Any) -> None:
    turn = Turn("t1", (Message("user", "Hi"),), tools=(WEATHER,), tool_choice=choice)
    assert encode_request(turn)["toolConfig"].get("toolChoice") == written


def test_tool_choice_none_offers_no_tools() -> None:
    turn = Turn("t1", (Message("user", "Hi"),), tools=(WEATHER,), tool_choice="none")
    assert "toolConfig" not in encode_request(turn)


USER, BOT = Message("user", "Hi"), Message("assistant", "Hello")


@pytest.mark.parametrize(
    ("messages", "written"),
    [
        ((), [("user", [CALL_START_PROMPT])]),
        ((Message("user", " "), Message("assistant", "")), [("user", [CALL_START_PROMPT])]),
        ((USER, BOT, USER), [("user", ["Hi"]), ("assistant", ["Hello"]), ("user", ["Hi"])]),
        ((USER, USER), [("user", ["Hi\n\nHi"])]),
        ((USER, BOT, BOT, USER), [("user", ["Hi"]), ("assistant", ["Hello\n\nHello"]), ("user", ["Hi"])]),
        ((USER, Message("assistant"), USER), [("user", ["Hi\n\nHi"])]),
        ((BOT, USER), [("user", [CALL_START_PROMPT]), ("assistant", ["Hello"]), ("user", ["Hi"])]),
        ((USER, BOT), [("user", ["Hi"]), ("assistant", ["Hello"]), ("user", [SILENCE_PROMPT])]),
        ((BOT,), [("user", [CALL_START_PROMPT]), ("assistant", ["Hello"]), ("user", [SILENCE_PROMPT])]),
    ],
)
def test_messages_alternate_and_user_comes_first_and_last(
    messages: tuple[Message, ...], written: list[Any]
) -> None:
    assert conversation(*messages) == written


def test_tool_results_follow_their_calls() -> None:
    messages = (
        USER,
        Message("assistant", "Let me see.", tool_calls=(ASKED, ToolCall("2", "end_call"))),
        Message("tool", "Sunny", tool_call_id="tooluse_1"),
        Message("tool", "Bye", tool_call_id="2"),
        Message("user", "And?"),
    )
    assert conversation(*messages, tools=(WEATHER,)) == [
        ("user", ["Hi"]),
        (
            "assistant",
            [
                "Let me see.",
                tool_use("call_1", "weather", {"city": "Rome"}),
                tool_use("call_2", "end_call", {}),
            ],
        ),
        ("user", [tool_result("call_1", "Sunny"), tool_result("call_2", "Bye"), "And?"]),
    ]


def test_late_missing_and_blank_tool_results_follow_their_calls() -> None:
    messages = (
        Message("assistant", tool_calls=(ASKED,)),
        Message("user", "Hurry"),
        Message("assistant", "Yes", tool_calls=(ToolCall("b", "end_call"), ToolCall("c", "end_call"))),
        Message("tool", " ", tool_call_id="c"),
        Message("tool", "Sunny", tool_call_id="tooluse_1"),
    )
    assert conversation(*messages, tools=(WEATHER,)) == [
        ("user", [CALL_START_PROMPT]),
        ("assistant", [tool_use("call_1", "weather", {"city": "Rome"})]),
        ("user", [tool_result("call_1", "Sunny"), "Hurry"]),
        ("assistant", ["Yes", tool_use("call_2", "end_call", {}), tool_use("call_3", "end_call", {})]),
        ("user", [tool_result("call_2", INTERRUPTED_RESULT), tool_result("call_3", NO_RESULT)]),
    ]


def test_repeated_call_ids_take_their_results_in_order() -> None:
    call = (Message("assistant", tool_calls=(ToolCall("call_0", "weather"),)),)
    messages = (
        *call,
        Message("tool", "1", tool_call_id="call_0"),
        *call,
        Message("tool", "2", tool_call_id="call_0"),
    )
    assert [content for role, content in conversation(*messages, tools=(WEATHER,)) if role == "user"][1:] == [
        [tool_result("call_1", "1")],
        [tool_result("call_2", "2")],
    ]


def test_function_calls_take_results_by_name() -> None:
    call = Message("assistant", tool_calls=(ToolCall("", "weather", "{}"),))
    answers = (Message("function", "Sunny", name="weather"), Message("function", "Rainy", name="weather"))
    assert conversation(USER, call, answers[0], tools=(WEATHER,))[2] == (
        "user",
        [tool_result("call_1", "Sunny")],
    )
    assert conversation(answers[1], call, answers[0], tools=(WEATHER,)) == [
        ("user", [CALL_START_PROMPT]),
        ("assistant", [tool_use("call_1", "weather", {})]),
        ("user", [tool_result("call_1", "Sunny")]),
    ]


def test_tool_result_without_a_call_is_left_out() -> None:
    lost = Message("tool", "Sunny", tool_call_id="x")
    assert conversation(USER, lost, Message("tool", " "), tools=(WEATHER,)) == [("user", ["Hi"])]


def test_tool_results_become_text_when_no_tool_is_offered() -> None:
    """Bedrock refuses tool uses where no tool is offered."""
    messages = (USER, Message("assistant", tool_calls=(ASKED,)), Message("tool", "1", tool_call_id=ASKED.id))
    assert conversation(*messages) == [("user", ["Hi\n\n(A tool answered: 1)"])]


def test_tool_call_without_a_name_is_left_out() -> None:
    assert conversation(USER, Message("assistant", tool_calls=(ToolCall("1", ""),)), tools=(BARE,)) == [
        ("user", ["Hi"])
    ]


@pytest.mark.parametrize("arguments", ["", "[1]", "no", "{", "\ud800", "[" * 2000])
def test_arguments_become_an_object(arguments: str) -> None:
    call = Message("assistant", tool_calls=(ToolCall("1", "end_call", arguments),))
    given = {"invalid_arguments": arguments.replace("\ud800", "\ufffd")} if arguments else {}
    assert conversation(USER, call, tools=(BARE,))[1] == (
        "assistant",
        [tool_use("call_1", "end_call", given)],
    )


def content_with_image(url: Any) -> list[Any]:
    parts = ({"type": "text", "text": "Look"}, {"type": "image_url", "image_url": url})
    [(_, content)] = conversation(Message("user", "Look", parts=parts))
    return content


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
def test_images_in_data_urls_are_sent(kind: str) -> None:
    picture = {"image": {"format": kind, "source": {"bytes": PIXEL}}}
    url = f"data:image/{kind};base64,{PIXEL}"
    assert content_with_image({"url": url, "detail": "low"}) == content_with_image(url) == ["Look", picture]
    assert content_with_image(url.replace("jpeg", "jpg")) == ["Look", picture]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/cat.png",
        "data:image/svg+xml;base64,YQ==",
        "data:image/png;base64,",
        "data:image/png;base64,a b",
        "data:image/png,abc",
        {},
        {"url": 5},
        None,
    ],
)
def test_other_images_are_left_out(url: Any) -> None:
    assert content_with_image(url) == ["Look"]


def test_other_parts_are_left_out() -> None:
    parts = ({"type": "file", "file": {}}, {"type": "text", "text": " "})
    assert conversation(Message("user", "", parts=parts)) == [("user", [CALL_START_PROMPT])]


# Every conversation follows the rules of Bedrock and passes botocore's validation

texts = st.sampled_from(["", " ", "Hi", "Où?"])
ids = st.sampled_from(["", "a", "b", "x" * 100, "ä/ö"])
calls = st.builds(
    ToolCall, ids, st.sampled_from(["", "weather", "end_call"]), st.sampled_from(["", '{"a":1}'])
)
pictures = st.sampled_from(
    [(), ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},)]
)
messages = st.one_of(
    st.builds(Message, st.sampled_from(["system", "developer"]), texts),
    st.builds(Message, st.just("user"), texts, pictures),
    st.builds(Message, st.just("assistant"), texts, tool_calls=st.lists(calls, max_size=2).map(tuple)),
    st.builds(
        Message,
        st.sampled_from(["tool", "function"]),
        texts,
        tool_call_id=st.none() | ids,
        name=st.none() | ids,
    ),
)
turns = st.builds(
    Turn,
    st.just("t1"),
    st.lists(messages, max_size=8).map(tuple),
    tools=st.lists(st.sampled_from([WEATHER, BARE]), max_size=2, unique_by=lambda tool: tool.name).map(tuple),
    tool_choice=st.sampled_from([None, "auto", "none", "required", {"name": "weather"}]),
    options=st.fixed_dictionaries(
        {}, optional={"stop": st.sampled_from(["", "x", ["y"]]), "temperature": st.floats(0, 2)}
    ),
)


@given(turns)
def test_every_conversation_follows_the_rules_of_bedrock(turn: Turn) -> None:
    body = encode_request(turn, cache=("system", "tools"))
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    open_uses: list[str] = []
    seen: set[str] = set()
    for message in body["messages"]:
        blocks = message["content"]
        assert blocks
        assert all(block["text"].strip() for block in blocks if "text" in block)
        results = [block["toolResult"]["toolUseId"] for block in blocks if "toolResult" in block]
        assert results == open_uses
        assert all("toolResult" in block for block in blocks[: len(results)])
        open_uses = [block["toolUse"]["toolUseId"] for block in blocks if "toolUse" in block]
        assert seen.isdisjoint(open_uses)
        seen.update(open_uses)
    assert not seen or "toolConfig" in body
    assert orjson.loads(dumps(body)) == body


@pytest.fixture(scope="session")
def validate() -> Any:
    """Return a function that raises for a request which botocore would not send."""
    session: Any = pytest.importorskip("botocore.session")
    from botocore.validate import ParamValidator

    model = session.get_session().get_service_model("bedrock-runtime").operation_model("ConverseStream")

    def judge(body: dict[str, Any]) -> None:
        report = ParamValidator().validate({"modelId": "m", **body}, model.input_shape)
        assert not report.has_errors(), report.generate_report()

    return judge


@given(turn=turns)
def test_botocore_accepts_every_request(validate: Any, turn: Turn) -> None:
    validate(encode_request(turn, latency="standard", tier="flex", cache=("system", "tools"), sampling=True))
