"""The two forms of asking and answering: OpenAI's chat completions, and its Responses API."""

from __future__ import annotations

from typing import Protocol

from voicegw.api import chat_request as ask
from voicegw.api import chat_response as chat
from voicegw.api import responses_request as items
from voicegw.api import responses_response as responses
from voicegw.api.chat_request import ApiRequest
from voicegw.turns.completion import Completion
from voicegw.turns.stream import StreamEncoder


class ApiFormat(Protocol):
    """How a request is read and its answer written. `created` is in seconds since 1970."""

    def parse(self, body: bytes, *, max_messages: int, max_depth: int) -> ApiRequest: ...
    def response_id(self, id: str) -> str:
        """What the answer to a turn is called."""
        ...

    def encoder(self, id: str, model: str, created: int, asked: ApiRequest) -> StreamEncoder: ...
    def encode_completion(
        self, id: str, model: str, created: int, asked: ApiRequest, answer: Completion
    ) -> bytes: ...


class ChatFormat:
    """`POST /v1/chat/completions`."""

    def parse(self, body: bytes, *, max_messages: int, max_depth: int) -> ApiRequest:
        return ask.parse(body, max_messages=max_messages, max_depth=max_depth)

    def response_id(self, id: str) -> str:
        return f"chatcmpl-{id}"

    def encoder(self, id: str, model: str, created: int, asked: ApiRequest) -> StreamEncoder:
        return chat.ChunkEncoder(self.response_id(id), model, created, usage=asked.wants_usage)

    def encode_completion(
        self, id: str, model: str, created: int, asked: ApiRequest, answer: Completion
    ) -> bytes:
        return chat.encode_completion(
            self.response_id(id), model, created, answer.text, answer.calls, answer.reason, answer.usage
        )


class ResponsesFormat:
    """`POST /v1/responses`."""

    def parse(self, body: bytes, *, max_messages: int, max_depth: int) -> ApiRequest:
        return items.parse(body, max_messages=max_messages, max_depth=max_depth)

    def response_id(self, id: str) -> str:
        return responses.response_id(id)

    def encoder(self, id: str, model: str, created: int, asked: ApiRequest) -> StreamEncoder:
        return responses.ResponseEventEncoder(id, model, created, asked.echoed_fields)

    def encode_completion(
        self, id: str, model: str, created: int, asked: ApiRequest, answer: Completion
    ) -> bytes:
        return responses.encode_response(id, model, created, asked.echoed_fields, answer)
