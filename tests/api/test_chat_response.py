"""Chat completions responses: the templates give the same bytes as whole objects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.chat_lint import lint
from voicegw.api import chat_response as chat_response
from voicegw.api import routes
from voicegw.api.chat_response import ChunkEncoder
from voicegw.errors import AgentTimeout, ModelNotFound, TooManyRequests, VoicegwError
from voicegw.events import ToolCall, Usage
from voicegw.wire import openai
from voicegw.wire.openai import CANCELLED

USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 4,
    "total_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def create_encoder(*, usage: bool = False) -> ChunkEncoder:
    return ChunkEncoder("chatcmpl-1", "desk", 1700000000, include_usage=usage)


def event(data: bytes) -> dict[str, Any]:
    assert data.startswith(b"data: ")
    assert data.endswith(b"\n\n")
    parsed: dict[str, Any] = json.loads(data[6:])
    return parsed


def expected(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "desk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}],
    }


@given(st.text())
def test_a_text_chunk_equals_the_encoded_object(text: str) -> None:
    assert event(create_encoder().text_delta(text)) == expected({"content": text})


@pytest.mark.parametrize("words", ["", "One moment... ", '"\u2028\n'])
def test_the_first_chunk_has_the_role(words: str) -> None:
    assert event(create_encoder().start(words)) == expected({"role": "assistant", "content": words})


def test_a_model_s_name_cannot_break_the_template() -> None:
    odd = ChunkEncoder("i", 'a"\x00\\u0000{"content":', 1)
    assert event(odd.text_delta("x"))["model"] == 'a"\x00\\u0000{"content":'
    assert event(odd.text_delta("x"))["choices"][0]["delta"] == {"content": "x"}
    assert event(odd.start("x"))["choices"][0]["delta"] == {"role": "assistant", "content": "x"}


def test_tool_calls_are_whole_and_counted_from_zero() -> None:
    chunks = create_encoder()
    first, second = ToolCall("call_a", "end_call", '{"reason":"bye"}'), ToolCall("call_b", "skip_turn")
    assert event(chunks.tool_call(first)) == expected(
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_a",
                    "type": "function",
                    "function": {"name": "end_call", "arguments": '{"reason":"bye"}'},
                }
            ]
        }
    )
    [call] = event(chunks.tool_call(second))["choices"][0]["delta"]["tool_calls"]
    assert (call["index"], call["function"]["arguments"]) == (1, "{}")


def test_the_end_is_a_finish_chunk_and_done() -> None:
    finish, done, rest = create_encoder().finish("stop", Usage(3, 4)).split(b"\n\n")
    assert event(finish + b"\n\n") == expected({}, "stop")
    assert (done, rest) == (b"data: [DONE]", b"")


def test_an_answer_that_the_gateway_cut_ends_with_length() -> None:
    finish = create_encoder().finish(CANCELLED, None).split(b"\n\n")[0]
    assert event(finish + b"\n\n") == expected({}, "length")
    body = json.loads(chat_response.encode_completion("i", "m", 5, "Well", [], CANCELLED, None))
    assert body["choices"][0]["finish_reason"] == "length"


def test_the_usage_chunk_is_sent_only_on_request() -> None:
    _, usage, done, _ = create_encoder(usage=True).finish("stop", Usage(3, 4, 1, 2)).split(b"\n\n")
    parsed = event(usage + b"\n\n")
    assert (parsed["choices"], parsed["usage"], parsed["id"]) == ([], USAGE, "chatcmpl-1")
    assert done == b"data: [DONE]"
    unknown = event(create_encoder(usage=True).finish("stop", None).split(b"\n\n")[1] + b"\n\n")["usage"]
    assert (unknown["prompt_tokens"], unknown["total_tokens"]) == (0, 0)


def test_a_failed_stream_ends_with_the_error_and_done() -> None:
    failed, done, rest = create_encoder(usage=True).fail(AgentTimeout("late")).split(b"\n\n")
    assert event(failed + b"\n\n") == {
        "error": {"message": "The agent took too long.", "type": "server_error", "param": None, "code": None}
    }
    assert (done, rest) == (b"data: [DONE]", b"")


def test_a_note_becomes_a_comment_before_done() -> None:
    end = create_encoder().finish("stop", None, "ack=0.1ms").split(b"\n\n")
    assert end[1:] == [b": ack=0.1ms", b"data: [DONE]", b""]


def test_a_stream_with_every_kind_of_chunk_passes_the_linter() -> None:
    chunks = create_encoder(usage=True)
    stream = (
        chunks.start("")
        + chunks.keepalive
        + chunks.text_delta("a\u2028\u0085b")
        + chunks.tool_call(ToolCall("c", "f"))
    )
    lint(stream + chunks.finish("tool_calls", Usage(1, 2), "note"), usage=True)


def test_a_completion_has_text_usage_and_a_finish_reason() -> None:
    body = json.loads(
        chat_response.encode_completion("chatcmpl-1", "desk", 5, "Hi", [], "stop", Usage(3, 4, 1, 2))
    )
    assert body == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "desk",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi", "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": USAGE,
    }


def test_a_completion_of_tool_calls_alone_has_null_content() -> None:
    body = json.loads(
        chat_response.encode_completion("i", "m", 5, "", [ToolCall("c", "f")], "tool_calls", None)
    )
    message = body["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]
    empty = json.loads(chat_response.encode_completion("i", "m", 5, "", [], "stop", None))["choices"][0][
        "message"
    ]
    assert (empty["content"], "tool_calls" in empty) == ("", False)


def test_lists_and_errors_have_openai_s_shape() -> None:
    listed = {"id": "desk", "object": "model", "created": 0, "owned_by": "voicegw"}
    assert routes.models_json(["desk"]) == {"object": "list", "data": [listed]}
    parsed = json.loads(openai.encode_error(ModelNotFound("No such model.", param="model")))["error"]
    assert parsed == {
        "message": "No such model.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    assert json.loads(openai.encode_error(TooManyRequests("Later.")))["error"]["type"] == "rate_limit_error"
    assert json.loads(openai.encode_error(VoicegwError("inner")))["error"] == {
        "message": "The gateway failed.",
        "type": "server_error",
        "param": None,
        "code": None,
    }
