"""One accepted API request: the turn that it asks for, and its response in the format of the request."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from starlette.responses import Response

from voicegw.api.chat_request import ApiRequest
from voicegw.api.formats import ApiEncoder, ApiFormat
from voicegw.api.sse import STREAM_HEADERS
from voicegw.asgi.context import RequestContext
from voicegw.conversations.call_id import CallIdentity
from voicegw.conversations.call_store import CallStore
from voicegw.conversations.response_store import StoredResponse
from voicegw.conversations.turn_relation import Client
from voicegw.errors import VoicegwError
from voicegw.events import Message, Turn
from voicegw.turns.completion import Completion, collect
from voicegw.turns.dialects import DIALECTS, Dialect
from voicegw.turns.own_phrases import OwnPhrase
from voicegw.turns.run import Run
from voicegw.turns.served_agent import ServedAgent
from voicegw.turns.stream import ResponseStream
from voicegw.turns.timings import TurnTimings


@dataclass(slots=True, eq=False)
class TurnRequest:
    """One accepted API request, with everything that its turn and its response need."""

    context: RequestContext
    """The key, the request id and the client's address."""
    format: ApiFormat
    """The API format of the request and its response."""
    api_request: ApiRequest
    """The parsed body."""
    served_agent: ServedAgent
    """The agent that the model name resolves to."""
    timings: TurnTimings
    """The times of the turn, filled in while it runs."""
    call_identity: CallIdentity
    """The call as the request names it."""
    previous: tuple[Message, ...] = ()
    """The messages of the stored response that the request continues."""

    dialect: Dialect = field(init=False)
    """The key's dialect, else the agent's."""
    is_machine_read: bool = field(init=False)
    """Does a program read the answer: structured output, or a chat client's own task?"""
    language: str = field(init=False)
    """The caller's language, else the agent's."""
    call_id: str | None = field(init=False)
    """The internal id of the call; None if the request names none, or is a chat client's own task."""
    answering_agent: ServedAgent = field(init=False)
    """The agent with its speech filters only if the text is spoken."""

    def __post_init__(self) -> None:
        request, agent, dialect_name = self.api_request, self.served_agent, self.context.key.dialect
        self.dialect = agent.dialect if dialect_name is None else DIALECTS[dialect_name]
        is_client_task = request.is_client_task
        self.is_machine_read = is_client_task or request.is_structured
        self.language = request.language or agent.language
        has_call = self.call_identity.is_explicit and not is_client_task
        self.call_id = self.call_identity.call_id(self.context.key.name, agent.name) if has_call else None
        is_spoken = self.dialect.filters_speech and not self.is_machine_read
        self.answering_agent = agent if is_spoken else agent.without_speech_filters

    @property
    def response_headers(self) -> dict[str, str]:
        """The headers of every response: the request id, and the call id for later requests."""
        return {
            "x-request-id": self.context.id,
            "x-voicegw-call": self.call_identity.name,
            **self.call_identity.echoed_headers,
        }

    @property
    def client(self) -> Client:
        """The kind of the client, which decides what its request means to other turns of the call.

        A request for a structured answer is a program's, such as a summary of the call, also on a call that a
        voice platform names.
        """
        if not self.api_request.stream or self.is_machine_read:
            return Client.PROGRAM
        return Client.CHAT if self.dialect.name == "chat" else Client.VOICE

    @property
    def model(self) -> str:
        """The model name for the response: the request's, else the agent's."""
        return self.api_request.model or self.served_agent.name

    def create_turn(self, id: str, calls: CallStore) -> Turn:
        """Return the turn for the agent. Its history has none of the gateway's own phrases."""
        messages = self._history(calls.own_phrases(self.call_id))
        return Turn(
            id=id,
            messages=messages,
            heard=calls.heard_part(self.call_id, messages),
            model=self.api_request.model,
            tenant=self.context.key.name,
            call=self.call_id,
            language=self.language,
            tools=self.api_request.tools,
            tool_choice=self.api_request.tool_choice,
            options=self.api_request.options,
            extra=self.api_request.extra,
        )

    def _history(self, own_phrases: Sequence[OwnPhrase] | None) -> tuple[Message, ...]:
        """Return the instructions, the stored conversation and the new messages, in this order.

        Only the new messages can hold own phrases of the gateway.
        """
        new = self.served_agent.clean_history(
            self.api_request.messages, self.language, own_phrases, self.dialect
        )
        if not self.previous:
            return new
        return (
            *new[: self.api_request.instruction_count],
            *self.previous,
            *new[self.api_request.instruction_count :],
        )

    def create_stored_response(self, run: Run, now: float) -> StoredResponse:
        """Return the conversation up to this response, for requests that continue it."""
        messages = run.turn.messages[self.api_request.instruction_count :]
        return StoredResponse(messages, run.event_log, now)

    def create_encoder(self, id: str) -> ApiEncoder:
        """Return the encoder of a response with this id."""
        return self.format.create_encoder(id, self.model, int(time.time()), self.api_request)

    def create_stream(
        self, run: Run, adds_timings_note: bool, on_own_words: Callable[[str, int, int], None]
    ) -> ResponseStream:
        """Return the stream of a run's events for this client.

        `on_own_words` is called with the gateway's own words when they are sent. A run that has spoken gets
        no acknowledgement. A program that reads gets none of the gateway's words, and a failure as an error.
        """
        encoder = self.create_encoder(run.turn.id)
        return ResponseStream(
            run.event_log,
            encoder,
            self.served_agent.ack_schedule(
                run.turn,
                self.dialect,
                (*self.previous, *self.api_request.messages),
                quiet=self.is_machine_read or run.has_spoken or run.event_log.has_ended,
            ),
            self.timings,
            self.apology_for,
            encode_failure=encoder.fail if self.is_machine_read else None,
            adds_timings_note=adds_timings_note,
            on_own_words=on_own_words,
        )

    def apology_for(self, failure: VoicegwError) -> str:
        """Return the sentence that the caller hears for a failure."""
        return str(getattr(self.served_agent.phrases_in(self.language), failure.phrase))

    def completion_response(self, run: Run) -> Response:
        """Return the answer of an ended run as one JSON response, without the gateway's own words."""
        return self._json_response(run.turn.id, collect(run.event_log.events, run.event_log.was_cancelled))

    def sentence_response(self, text: str) -> Response:
        """Return a response that holds only a sentence of the gateway, streamed or not as requested."""
        if not self.api_request.stream:
            return self._json_response(self.context.id, Completion((text,)))
        encoder = self.create_encoder(self.context.id)
        body = encoder.start(text) + encoder.finish("stop", None)
        return Response(body, headers={**STREAM_HEADERS, **self.response_headers})

    def _json_response(self, id: str, completion: Completion) -> Response:
        body = self.format.encode_completion(id, self.model, int(time.time()), self.api_request, completion)
        return Response(body, headers=self.response_headers, media_type="application/json")
