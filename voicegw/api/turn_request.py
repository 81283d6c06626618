"""One accepted request: who asks what of which line, and the answer in the form that was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from starlette.responses import Response

from voicegw.api.chat_request import ApiRequest
from voicegw.api.formats import ApiFormat
from voicegw.api.sse import STREAM_HEADERS
from voicegw.asgi.context import RequestContext
from voicegw.conversations.call_id import CallIdentity
from voicegw.conversations.call_store import CallStore
from voicegw.conversations.response_store import StoredResponse
from voicegw.errors import VoicegwError
from voicegw.events import Message, Turn
from voicegw.turns.completion import Completion, collect
from voicegw.turns.dialects import DIALECTS, Dialect
from voicegw.turns.run import Run
from voicegw.turns.served_agent import ServedAgent
from voicegw.turns.stream import ResponseStream, StreamEncoder
from voicegw.turns.timings import TurnTimings


@dataclass(frozen=True)
class TurnRequest:
    """One accepted request: who asks what, in which form; `past` is what it goes on from.

    `called` is the line that it reaches, `as_log_record` the same as this request wants it answered.
    """

    context: RequestContext
    format: ApiFormat
    request: ApiRequest
    served_agent: ServedAgent
    timings: TurnTimings
    call_identity: CallIdentity
    previous: tuple[Message, ...] = ()
    size: int = 0

    @property
    def headers(self) -> dict[str, str]:
        """What every answer to this request carries: its id, and how to name its call again."""
        return {
            "x-request-id": self.context.id,
            "x-voicegw-call": self.call_identity.name,
            **self.call_identity.echo,
        }

    @cached_property
    def agent(self) -> ServedAgent:
        """The agent's text is made speakable only for those who listen."""
        return self.served_agent if self.dialect.speech and not self.quiet else self.served_agent.for_reading

    @cached_property
    def dialect(self) -> Dialect:
        name = self.context.key.dialect
        return self.served_agent.dialect if name is None else DIALECTS[name]

    @cached_property
    def call(self) -> str | None:
        """The call that the request names; errands of chat clients are none of its turns."""
        if not self.call_identity.explicit or self.request.is_client_task:
            return None
        return self.call_identity.call(self.context.key.name, self.served_agent.name)

    @cached_property
    def language(self) -> str:
        return self.request.language or self.served_agent.language

    @property
    def model(self) -> str:
        return self.request.model or self.served_agent.name

    def turn(self, id: str, calls: CallStore) -> Turn:
        """What the agent is asked. What `calls` remember of our own words is none of its business."""
        messages = self._history(calls.said(self.call))
        return Turn(
            id=id,
            messages=messages,
            heard=calls.heard(self.call, messages),
            model=self.request.model,
            tenant=self.context.key.name,
            call=self.call,
            language=self.language,
            tools=self.request.tools,
            tool_choice=self.request.tool_choice,
            options=self.request.options,
            extra=self.request.extra,
        )

    def _history(self, said: frozenset[str]) -> tuple[Message, ...]:
        """Instructions, what came before, what is new. Words of ours can be in the new part only."""
        new = self.served_agent.clean_history(self.request.messages, self.language, said)
        if not self.previous:
            return new
        return (
            *new[: self.request.instruction_count],
            *self.previous,
            *new[self.request.instruction_count :],
        )

    def stored_response(self, run: Run, now: float) -> StoredResponse:
        """What a request that goes on from this answer needs to know."""
        return StoredResponse(
            run.turn.messages[self.request.instruction_count :], run.event_log, self.size, now
        )

    def encoder(self, id: str) -> StreamEncoder:
        return self.format.encoder(id, self.model, int(time.time()), self.request)

    def response_stream(self, run: Run, note: bool, remember: Callable[[str], None]) -> ResponseStream:
        return ResponseStream(
            run.event_log,
            self.encoder(run.turn.id),
            self.served_agent.ack_schedule(
                run.turn,
                self.dialect,
                (*self.previous, *self.request.messages),
                quiet=self.quiet or run.has_spoken or run.event_log.ended,
            ),
            self.timings,
            self.apology,
            note=note,
            on_own_words=remember,
        )

    @cached_property
    def quiet(self) -> bool:
        """Is nobody to be spoken to: a structured answer, or an errand?"""
        return self.request.is_structured or self.request.is_client_task

    def apology(self, failure: VoicegwError) -> str:
        return str(getattr(self.served_agent.phrases_in(self.language), failure.phrase))

    def whole(self, run: Run) -> Response:
        """The answer to a request without `stream`. Our own words are no part of it."""
        return self._json(run.turn.id, collect(run.event_log.events))

    def sentence(self, text: str) -> Response:
        """A spoken line of ours instead of an answer, in the form that was asked for."""
        if not self.request.stream:
            return self._json(self.context.id, Completion((text,)))
        codec = self.encoder(self.context.id)
        body = codec.start(text) + codec.finish("stop", None)
        return Response(body, headers={**STREAM_HEADERS, **self.headers})

    def _json(self, id: str, answer: Completion) -> Response:
        body = self.format.encode_completion(id, self.model, int(time.time()), self.request, answer)
        return Response(body, headers=self.headers, media_type="application/json")
