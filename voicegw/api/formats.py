"""The two API formats that the gateway serves: OpenAI's chat completions and its Responses API."""

from __future__ import annotations

from typing import Protocol

from voicegw.api import chat_request, chat_response, responses_request, responses_response
from voicegw.api.chat_request import ApiRequest
from voicegw.api.response_ids import response_id
from voicegw.api.stored_items import FindResponse
from voicegw.errors import VoicegwError
from voicegw.turns.completion import Completion
from voicegw.turns.stream import StreamEncoder


class ApiEncoder(StreamEncoder, Protocol):
    """Encodes one streamed response for an API client."""

    def fail(self, failure: VoicegwError) -> bytes:
        """Return the end of an answer that failed, as an error. It is called in place of `finish`."""
        ...


class ApiFormat(Protocol):
    """Reads requests and writes responses. `created` is in seconds since 1970, `id` is the turn's."""

    def parse(
        self, body: bytes, *, max_messages: int, max_depth: int, find_response: FindResponse
    ) -> ApiRequest:
        """Return the request in a body of at most `max_messages`, nested at most `max_depth` levels.

        `find_response` returns a stored response, or raises `NotFound`.

        Raise `BadRequest` for any other body.
        """
        ...

    def response_id(self, id: str) -> str:
        """Return the id of the response to a turn."""
        ...

    def create_encoder(self, id: str, model: str, created: int, request: ApiRequest) -> ApiEncoder:
        """Return the encoder of one streamed response."""
        ...

    def encode_completion(
        self, id: str, model: str, created: int, request: ApiRequest, completion: Completion
    ) -> bytes:
        """Return the JSON of a response that is not streamed."""
        ...


class ChatFormat:
    """`POST /v1/chat/completions`."""

    def parse(
        self, body: bytes, *, max_messages: int, max_depth: int, find_response: FindResponse
    ) -> ApiRequest:
        return chat_request.parse(body, max_messages=max_messages, max_depth=max_depth)

    def response_id(self, id: str) -> str:
        return f"chatcmpl-{id}"

    def create_encoder(self, id: str, model: str, created: int, request: ApiRequest) -> ApiEncoder:
        return chat_response.ChunkEncoder(
            self.response_id(id), model, created, include_usage=request.wants_usage
        )

    def encode_completion(
        self, id: str, model: str, created: int, request: ApiRequest, completion: Completion
    ) -> bytes:
        return chat_response.encode_completion(
            self.response_id(id),
            model,
            created,
            completion.text,
            completion.tool_calls,
            completion.reason,
            completion.usage,
        )


class ResponsesFormat:
    """`POST /v1/responses`."""

    def parse(
        self, body: bytes, *, max_messages: int, max_depth: int, find_response: FindResponse
    ) -> ApiRequest:
        return responses_request.parse(
            body, max_messages=max_messages, max_depth=max_depth, find_response=find_response
        )

    def response_id(self, id: str) -> str:
        return response_id(id)

    def create_encoder(self, id: str, model: str, created: int, request: ApiRequest) -> ApiEncoder:
        return responses_response.ResponseEventEncoder(id, model, created, request.echoed_fields)

    def encode_completion(
        self, id: str, model: str, created: int, request: ApiRequest, completion: Completion
    ) -> bytes:
        return responses_response.encode_response(id, model, created, request.echoed_fields, completion)
