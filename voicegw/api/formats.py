"""The two forms of asking and answering: OpenAI's chat completions, and its Responses API."""

from __future__ import annotations

from typing import Protocol

from voicegw.api import chat_request as ask
from voicegw.api import chat_response as chat
from voicegw.api import responses_request as items
from voicegw.api import responses_response as responses
from voicegw.api.chat_request import Ask
from voicegw.turns.completion import Answer
from voicegw.turns.stream import Codec


class Form(Protocol):
    """How a request is read and its answer written. `created` is in seconds since 1970."""

    def parse(self, body: bytes, *, messages: int, depth: int) -> Ask: ...
    def name(self, id: str) -> str:
        """What the answer to a turn is called."""
        ...

    def codec(self, id: str, model: str, created: int, asked: Ask) -> Codec: ...
    def whole(self, id: str, model: str, created: int, asked: Ask, answer: Answer) -> bytes: ...


class Completions:
    """`POST /v1/chat/completions`."""

    def parse(self, body: bytes, *, messages: int, depth: int) -> Ask:
        return ask.parse(body, messages=messages, depth=depth)

    def name(self, id: str) -> str:
        return f"chatcmpl-{id}"

    def codec(self, id: str, model: str, created: int, asked: Ask) -> Codec:
        return chat.Chunks(self.name(id), model, created, usage=asked.wants_usage)

    def whole(self, id: str, model: str, created: int, asked: Ask, answer: Answer) -> bytes:
        return chat.whole(
            self.name(id), model, created, answer.text, answer.calls, answer.reason, answer.usage
        )


class Responses:
    """`POST /v1/responses`."""

    def parse(self, body: bytes, *, messages: int, depth: int) -> Ask:
        return items.parse(body, messages=messages, depth=depth)

    def name(self, id: str) -> str:
        return responses.name(id)

    def codec(self, id: str, model: str, created: int, asked: Ask) -> Codec:
        return responses.Events(id, model, created, asked.echo)

    def whole(self, id: str, model: str, created: int, asked: Ask, answer: Answer) -> bytes:
        return responses.whole(id, model, created, asked.echo, answer)
