"""The endpoint of one API format: reads a request, runs its turn, and answers it, streamed or whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from voicegw.api.chat_request import ApiRequest
from voicegw.api.formats import ApiFormat
from voicegw.api.sse import SseResponse
from voicegw.api.turn_answer import TurnAnswer
from voicegw.api.turn_request import TurnRequest
from voicegw.asgi.body import check_body_headers, read_body
from voicegw.asgi.chunk_writer import ChunkWriter
from voicegw.asgi.context import RequestContext
from voicegw.asgi.error_response import ALLOWED_METHODS, error_response
from voicegw.conversations.call_id import CALL_ID_KEYS, CallIdentity, resolve_call_id
from voicegw.conversations.engine import ActiveTurn, TurnEngine
from voicegw.conversations.idempotency import IdempotencyKey, create_idempotency_key
from voicegw.conversations.response_store import ResponseStore, StoredResponse
from voicegw.errors import BadRequest, MethodNotAllowed, RequestError, TooManyRequests, VoicegwError
from voicegw.turns.run import Run
from voicegw.turns.stream import KEEPALIVE_INTERVAL
from voicegw.turns.timings import TurnTimings

log = logging.getLogger("voicegw.error")

NO_PREVIOUS_RESPONSE = StoredResponse()
"""The empty conversation that most requests continue."""
RETRY_COUNT_HEADER = b"x-stainless-retry-count"
"""The header in which OpenAI's SDKs count their retries."""


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """How the endpoints treat requests."""

    max_body_bytes: int = 1_048_576
    """Limit of a request body in bytes."""
    max_messages: int = 2000
    """Limit of a conversation, stored messages included."""
    max_json_depth: int = 100
    """Limit of the nesting of a request body, in levels."""
    speak_busy: bool = False
    """True: above the rate limits, answer 200 with a sentence. False: answer 429."""
    wait_for_first_event: bool = False
    """True: send nothing before the agent's first words or tool call, so that its failure can be a status."""
    timing_comment: bool = False
    """True: each stream ends with the timings of its turn as a comment."""
    call_headers: Sequence[str] = ()
    """Further headers that name the call, in lower case."""
    call_keys: Sequence[str] = CALL_ID_KEYS
    """The keys in the body's objects that name the call."""


class CompletionEndpoint:
    """One API format as an ASGI application. It uses no request object, since this is the hot path."""

    def __init__(
        self,
        format: ApiFormat,
        engine: TurnEngine,
        options: EndpointOptions,
        responses: ResponseStore,
    ) -> None:
        # Reads requests and writes responses.
        self.format = format
        # The responses that requests may continue.
        self.responses = responses
        # Opens the turn of each request.
        self.engine = engine
        # Finds or starts the run of each turn.
        self.dispatcher = engine.dispatcher
        # Logs refused requests.
        self.turn_log = engine.turn_log
        # Limits and choices from the configuration.
        self.options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. A failure before the first byte becomes an error response, a bug a 500."""
        context: RequestContext = scope["voicegw"]
        try:
            if scope["method"] != "POST":
                response: ASGIApp = self._answer_method(scope["method"], context)
            else:
                body = await read_body(scope, receive, self.options.max_body_bytes)
                response = self._respond(context, lambda: self._begin(scope, body, context))
        except RequestError as failure:
            response = self._refuse(failure, context)
        await response(scope, receive, send)

    def begin(self, scope: Scope, body: bytes, writer: ChunkWriter) -> ASGIApp | None:
        """Begin the answer to a complete POST at once. Return None if `writer` writes it.

        Otherwise return the application that sends it: an error, or an answer that is not streamed yet.
        """
        context: RequestContext = scope["voicegw"]

        def begin() -> ASGIApp:
            check_body_headers(scope["headers"], self.options.max_body_bytes)
            return self._begin(scope, body, context)

        response = self._respond(context, begin)
        if not isinstance(response, SseResponse):
            return response
        response.open(writer)
        return None

    def _respond(self, context: RequestContext, respond: Callable[[], ASGIApp]) -> ASGIApp:
        """Return the response, or an error response for what `respond` raises."""
        try:
            return respond()
        except VoicegwError as failure:
            return self._refuse(failure, context)
        except Exception:
            log.exception("request %s failed", context.id)
            return error_response(VoicegwError(), context.id)

    def _refuse(self, failure: VoicegwError, context: RequestContext) -> Response:
        if isinstance(failure, RequestError):
            self.turn_log.record_refusal(failure, context.id, context.client)
        return error_response(failure, context.id)

    def _answer_method(self, method: str, context: RequestContext) -> Response:
        """Return the response to another method than POST. Raise `MethodNotAllowed` for most of them."""
        if method not in ("HEAD", "OPTIONS"):
            raise MethodNotAllowed("Use POST.")
        return Response(status_code=204, headers={"allow": ALLOWED_METHODS, "x-request-id": context.id})

    def _begin(self, scope: Scope, body: bytes, context: RequestContext) -> ASGIApp:
        """Return the response. Every refusal is raised here, before the first byte, as a `RequestError`."""
        now = self.dispatcher.now()
        request = self._parse_request(scope, body, context, now)
        try:
            active = self._open_turn(scope, request, body)
        except TooManyRequests as busy:
            if not self.options.speak_busy or request.is_machine_read:
                raise
            self.turn_log.record_refusal(busy, context.id, context.client)
            return request.sentence_response(request.answering_agent.phrases_in(request.language).busy)
        if request.api_request.store:
            id = self.format.response_id(active.run.turn.id)
            self.responses.add(context.key.name, id, request.create_stored_response(active.run, now))
        answer = TurnAnswer(request, active, self.responses, adds_timings=self.options.timing_comment)
        waits_long = not request.api_request.stream or self.options.wait_for_first_event
        if waits_long or request.is_machine_read:
            max_seconds = None if waits_long else KEEPALIVE_INTERVAL
            return partial(self._answer_later, answer, max_seconds)
        return answer.respond()

    async def _answer_later(
        self, answer: TurnAnswer, max_seconds: float | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Send the response when the run has ended or, if it is streamed, has spoken."""
        await answer.wait(receive, max_seconds)
        response = self._respond(scope["voicegw"], answer.respond)
        await response(scope, receive, send)

    def _open_turn(self, scope: Scope, request: TurnRequest, body: bytes) -> ActiveTurn:
        """Open the turn of a request. Raise what `TurnEngine.open` and `Dispatcher.dispatch` raise."""

        def dispatch() -> Run:
            headers = dict(scope["headers"])
            turn = request.create_turn(self.dispatcher.new_turn_id(), self.dispatcher.calls)
            return self.dispatcher.dispatch(
                request.answering_agent,
                turn,
                client=request.client,
                is_retry=headers.get(RETRY_COUNT_HEADER, b"0") != b"0",
                idempotency_key=_idempotency_key(
                    headers.get(b"idempotency-key"), scope["path"], request.call_identity, body
                ),
            )

        context, agent = request.context, request.served_agent.name
        return self.engine.open(context.key, agent, dispatch, request.timings, context.id)

    def _parse_request(self, scope: Scope, body: bytes, context: RequestContext, now: float) -> TurnRequest:
        """Return the request in a body.

        Raise `BadRequest` for an invalid body or call id, `ModelNotFound`, `PreviousResponseNotFound`, or
        `ItemNotFound`.
        """
        api_request = self.format.parse(
            body,
            max_messages=self.options.max_messages,
            max_depth=self.options.max_json_depth,
            find_response=lambda id: self.responses.find(context.key.name, id, now),
        )
        identity = resolve_call_id(
            scope["headers"],
            api_request.extra,
            header_names=self.options.call_headers,
            keys=self.options.call_keys,
        )
        served_agent = self.dispatcher.agents.resolve(api_request.model, context.key)
        previous = self._previous_response(api_request, context, now)
        return TurnRequest(
            context,
            self.format,
            api_request,
            served_agent,
            TurnTimings(now),
            identity,
            previous.messages,
        )

    def _previous_response(
        self, api_request: ApiRequest, context: RequestContext, now: float
    ) -> StoredResponse:
        """Return the response that the request continues, an empty one if it names none."""
        if api_request.previous_response_id is None:
            return NO_PREVIOUS_RESPONSE
        previous = self.responses.find(context.key.name, api_request.previous_response_id, now)
        max_messages = self.options.max_messages
        if len(previous.messages) + len(api_request.messages) > max_messages:
            raise BadRequest(
                f"The conversation is longer than {max_messages} messages.", param="previous_response_id"
            )
        return previous


def _idempotency_key(
    key: bytes | None, path: str, identity: CallIdentity, body: bytes
) -> IdempotencyKey | None:
    """Return the request's `Idempotency-Key`; None without one."""
    if not key:
        return None
    return create_idempotency_key(key, path, identity.name if identity.is_explicit else "", body)
