"""Every word for an end and every wrapping of an error means the same for every kind of model."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest

from tests.agents.bedrock.frames import HI_DELTA, event, exception_message, message_stop
from voicegw.agents.anthropic.decoder import MessagesDecoder
from voicegw.agents.bedrock.decoder import ConverseDecoder
from voicegw.agents.bedrock.eventstream import EventStreamParser
from voicegw.agents.finish_reasons import is_cut, parse_finish_reason
from voicegw.agents.hermes.protocol import HermesChatDecoder, HermesRunDecoder
from voicegw.agents.openai.decoder import ChatChunkDecoder, decode_completion
from voicegw.agents.openhands.decoder import OpenHandsTurnDecoder
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentTimeout
from voicegw.events import Event, Finish
from voicegw.wire.sse import SseParser


def chat_chunk(word: object) -> bytes:
    return b"data: %b\n\n" % orjson.dumps({"choices": [{"delta": {"content": "Hi"}, "finish_reason": word}]})


def decode_chat(stream: bytes, decoder: ChatChunkDecoder | HermesChatDecoder) -> list[Event]:
    events = [found for sse in SseParser().feed(stream) for found in decoder.feed(sse)]
    return [*events, *(decoder.end() if isinstance(decoder, ChatChunkDecoder) else decoder.finish())]


def decode_messages(stream: bytes) -> list[Event]:
    decoder = MessagesDecoder()
    return [*(found for sse in SseParser().feed(stream) for found in decoder.feed(sse)), *decoder.end()]


def messages_stream(word: object) -> bytes:
    said = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}
    stop = {"type": "message_delta", "delta": {"stop_reason": word}}
    return b"".join(b"data: %b\n\n" % orjson.dumps(one) for one in (said, stop, {"type": "message_stop"}))


def decode_converse(stream: bytes) -> list[Event]:
    decoder = ConverseDecoder()
    return [
        *(said for frame in EventStreamParser().feed(stream) for said in decoder.feed(frame)),
        *decoder.end(),
    ]


def completion(word: object) -> bytes:
    return orjson.dumps({"choices": [{"message": {"content": "Hi"}, "finish_reason": word}]})


ENDS: dict[str, Callable[[str], list[Event]]] = {
    "openai": lambda word: decode_chat(chat_chunk(word), ChatChunkDecoder()),
    "openai, whole": lambda word: decode_completion(completion(word)),
    "hermes chat": lambda word: decode_chat(chat_chunk(word), HermesChatDecoder()),
    "anthropic": lambda word: decode_messages(messages_stream(word)),
    "bedrock": lambda word: decode_converse(HI_DELTA + message_stop(word)),
}
"""Each kind of model: returns the events of the text "Hi" that ends with a word."""

WORDS: dict[str, str | type[AgentError]] = {
    **dict.fromkeys(("stop", "STOP", "end_turn", "stop_sequence", "eos", "completed", "FINISHED"), "stop"),
    **dict.fromkeys(("tool_calls", "tool_use", "function_call"), "stop"),  # without a call
    **dict.fromkeys(("length", "max_tokens", "MAX_TOKENS", "maxTokens", "model_length"), "length"),
    **dict.fromkeys(("model_context_window_exceeded", "incomplete", "pause_turn"), "length"),
    **dict.fromkeys(
        ("content_filter", "content_filtered", "SAFETY", "sensitive", "refusal"), "content_filter"
    ),
    **dict.fromkeys(("guardrail_intervened", "RECITATION", "PROHIBITED_CONTENT"), "content_filter"),
    **dict.fromkeys(("error", "network_error", "abort", "cancelled", "failed"), AgentError),
    **dict.fromkeys(("insufficient_system_resource", "overloaded"), AgentBusy),
    "timeout": AgentTimeout,
    **dict.fromkeys(
        ("something_new", "malformed_tool_use", "MALFORMED_FUNCTION_CALL", "?"), AgentProtocolError
    ),
}


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize(("word", "expected"), WORDS.items(), ids=WORDS)
def test_word_for_the_end_means_the_same_everywhere(
    kind: str, word: str, expected: str | type[AgentError]
) -> None:
    if isinstance(expected, str):
        found = ENDS[kind](word)
        ends = [one.reason for one in found if isinstance(one, Finish)]
        assert ("Hi" in found, ends or ["stop"]) == (True, [expected])
    else:
        with pytest.raises(AgentError) as raised:
            ENDS[kind](word)
        assert type(raised.value) is expected


@pytest.mark.parametrize("word", [None, "", "null", "None"])
def test_no_word_means_that_the_answer_goes_on(word: object) -> None:
    assert parse_finish_reason(word) is None
    assert not is_cut(None)


def test_reason_that_is_no_text_raises_a_type_error() -> None:
    with pytest.raises(TypeError):
        parse_finish_reason(["stop"])


def test_long_unknown_reason_is_shortened() -> None:
    with pytest.raises(AgentProtocolError, match=r"broke off with an unknown reason: x{80}$"):
        parse_finish_reason("x" * 999)


SSE_KINDS: dict[str, Callable[[bytes], list[Event]]] = {
    "openai": lambda stream: decode_chat(stream, ChatChunkDecoder()),
    "hermes chat": lambda stream: decode_chat(stream, HermesChatDecoder()),
    "hermes run": lambda stream: [
        found
        for sse in SseParser().feed(stream)
        for found in HermesRunDecoder().feed(sse)
        if isinstance(found, Event)
    ],
    "anthropic": decode_messages,
}
ERRORS: dict[bytes, tuple[type[AgentError], str]] = {
    b'data: {"error": {"message": "context full"}}': (AgentError, "context full"),
    b'data: {"error": "context full"}': (AgentError, "context full"),
    b'data: {"error": {"error": {"message": "context full"}}}': (AgentError, "context full"),
    b'data: [{"error": {"message": "context full"}}]': (AgentError, "context full"),
    b'data: {"errors": [{"message": "context full"}]}': (AgentError, "context full"),
    b'data: {"object": "error", "message": "context full", "code": 400}': (AgentError, "context full"),
    b'data: {"message": "context full", "code": 400}': (AgentError, "context full"),
    b'data: {"detail": "context full"}': (AgentError, "context full"),
    b'data: {"error": "Bad Request", "message": "context full"}': (AgentError, "context full"),
    b'error: {"code": 500, "message": "context full"}': (AgentError, "context full"),
    b"error: context full": (AgentError, "context full"),
    b'event: error\ndata: {"message": "context full"}': (AgentError, "context full"),
    b"event: error\ndata: context full": (AgentError, "context full"),
    b'data: "context full"': (AgentProtocolError, "context full"),
    b'data: {"error": {"message": "slow down", "code": 429}}': (AgentBusy, "slow down"),
    b'data: {"object": "error", "message": "slow down", "status_code": 503}': (AgentBusy, "slow down"),
    b'data: {"error": "Rate limit reached"}': (AgentBusy, "Rate limit reached"),
    b'data: "Rate limit reached"': (AgentBusy, "Rate limit reached"),
    b"data: Too many requests": (AgentBusy, "Too many requests"),
    b'data: {"error": "Request timed out"}': (AgentTimeout, "Request timed out"),
}


@pytest.mark.parametrize("kind", SSE_KINDS)
@pytest.mark.parametrize("event", ERRORS, ids=lambda event: event.decode())
def test_error_is_found_in_every_wrapping(kind: str, event: bytes) -> None:
    expected, words = ERRORS[event]
    with pytest.raises(AgentError) as raised:
        SSE_KINDS[kind](event + b"\n\n")
    assert (type(raised.value), raised.value.quote) == (expected, words)


def test_error_in_place_of_a_completion_is_found() -> None:
    for body in (
        b'{"detail": "full"}',
        b'[{"error": {"message": "full"}}]',
        b'{"object": "error", "message": "full"}',
    ):
        with pytest.raises(AgentError, match="full"):
            decode_completion(body)


def test_error_beside_a_choice_is_found() -> None:
    chunk = {"choices": [{"delta": {"content": ""}, "finish_reason": "error", "error": {"message": "full"}}]}
    with pytest.raises(AgentError, match="full"):
        decode_chat(b"data: %b\n\n" % orjson.dumps(chunk), ChatChunkDecoder())


def test_exception_of_bedrock_is_found_in_every_wrapping() -> None:
    for frame in (
        exception_message("throttlingException", "slow"),
        event("throttlingException", message="slow"),
    ):
        with pytest.raises(AgentBusy, match="throttlingException"):
            decode_converse(HI_DELTA + frame)


@pytest.mark.parametrize("status", ["error", "stuck", "paused", "deleting"])
def test_status_of_a_run_that_broke_off_is_an_error(status: str) -> None:
    decoder = OpenHandsTurnDecoder(None)
    update = {"kind": "ConversationStateUpdateEvent", "key": "execution_status", "value": status}
    decoder.feed({"type": "durable", "seq": 1, "event": update})
    with pytest.raises(AgentError):
        decoder.raise_for_status()
