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
from voicegw.api.run_waiter import wait_for_run
from voicegw.api.sse import SseResponse
from voicegw.api.turn_request import TurnRequest
from voicegw.asgi.body import check_body_headers, read_body
from voicegw.asgi.chunk_writer import ChunkWriter
from voicegw.asgi.context import RequestContext
from voicegw.asgi.error_response import ALLOWED_METHODS, error_response
from voicegw.conversations.call_id import CALL_ID_KEYS, CallIdentity, resolve_call_id
from voicegw.conversations.dispatcher import Dispatcher
from voicegw.conversations.idempotency import IdempotencyKey, create_idempotency_key
from voicegw.conversations.response_store import ResponseStore, StoredResponse
from voicegw.errors import BadRequest, MethodNotAllowed, RequestError, TooManyRequests, VoicegwError
from voicegw.security.rate_limits import RateLimiter
from voicegw.telemetry.turn_log import TurnLog
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
        dispatcher: Dispatcher,
        rate_limiter: RateLimiter,
        turn_log: TurnLog,
        options: EndpointOptions,
        responses: ResponseStore,
    ) -> None:
        # Reads requests and writes responses.
        self.format = format
        # The responses that requests may continue.
        self.responses = responses
        # Finds or starts the run of each turn.
        self.dispatcher = dispatcher
        # Limits the turns of each key and of the process.
        self.rate_limiter = rate_limiter
        # Logs turns and refused requests, and counts the metrics.
        self.turn_log = turn_log
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
            run = self._dispatch(scope, request, body, now)
        except TooManyRequests as busy:
            if not self.options.speak_busy or request.is_machine_read:
                raise
            self.turn_log.record_refusal(busy, context.id, context.client)
            return request.sentence_response(request.answering_agent.phrases_in(request.language).busy)
        self.turn_log.metrics.turns_running.inc()
        if request.api_request.store:
            id = self.format.response_id(run.turn.id)
            self.responses.add(context.key.name, id, request.create_stored_response(run, now))
        waits_long = not request.api_request.stream or self.options.wait_for_first_event
        if waits_long or request.is_machine_read:
            return partial(self._answer_later, request, run, None if waits_long else KEEPALIVE_INTERVAL)
        return self._answer(request, run)

    def _dispatch(self, scope: Scope, request: TurnRequest, body: bytes, now: float) -> Run:
        """Return the run that answers the request. The rate limiter counts the turn.

        Raise `TooManyRequests` at a limit, and what `Dispatcher.dispatch` raises; then nothing is counted.
        """
        self.rate_limiter.acquire(request.context.key, request.served_agent.name, now)
        try:
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
        except BaseException:
            self.rate_limiter.release(request.context.key, request.served_agent.name)
            raise

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

    async def _answer_later(
        self,
        request: TurnRequest,
        run: Run,
        max_seconds: float | None,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Send the response when the run has ended or, if it is streamed, has spoken."""
        stream = request.api_request.stream
        try:
            await wait_for_run(
                run,
                lambda: run.event_log.has_ended or (stream and run.has_spoken),
                self.dispatcher,
                receive,
                max_seconds,
            )
        except BaseException:
            run.cancel()
            self._close_turn(request, run)
            raise
        response = self._respond(request.context, lambda: self._answer(request, run))
        await response(scope, receive, send)

    def _answer(self, request: TurnRequest, run: Run) -> Response:
        """Return the response to a run: a stream, or the whole answer of a run that has ended.

        Raise the failure of the run if no byte of the response was sent.
        """
        if request.api_request.stream and run.event_log.failure is None:
            try:
                return self._create_response(request, run)
            except BaseException:
                run.cancel()
                self._close_turn(request, run)
                raise
        request.timings.first_token_at = run.first_token_at
        if run.event_log.has_ended and run.cancelled_at is None:  # else the client disconnected before
            request.timings.close(run.now())
            run.was_delivered = True
        self._close_turn(request, run)
        if run.event_log.failure is not None:
            raise run.event_log.failure
        return request.completion_response(run)

    def _create_response(self, request: TurnRequest, run: Run) -> SseResponse:
        """Return the streamed response. Its end closes the turn."""
        tenant, id = request.context.key.name, self.format.response_id(run.turn.id)

        def on_own_words(words: str) -> None:
            self.dispatcher.calls.add_own_phrase(request.call_id, run, words, stream.position)
            self.responses.note_own_words(tenant, id, stream.tool_call_count)

        stream = request.create_stream(run, self.options.timing_comment, on_own_words)

        def on_end(response: SseResponse) -> None:
            was_delivered = response.response_stream.is_done and not response.has_disconnected
            run.was_delivered = run.was_delivered or was_delivered
            self.dispatcher.unsubscribe(run, response)
            self._close_turn(request, run)

        return SseResponse(run, stream, on_end, request.response_headers)

    def _close_turn(self, request: TurnRequest, run: Run) -> None:
        """Release the rate limit, and log the turn once the agent closed or `stop_timeout` is over."""
        self.rate_limiter.release(request.context.key, request.served_agent.name)
        self.turn_log.metrics.turns_running.dec()
        if request.api_request.store:
            self.responses.complete(request.context.key.name, self.format.response_id(run.turn.id), run.now())
        agent_name, request_id = request.answering_agent.name, request.context.id
        run.on_closed(
            lambda: self.turn_log.record_turn(run, request.timings, agent_name, request_id),
            self.dispatcher.stop_timeout,
        )


def _idempotency_key(
    key: bytes | None, path: str, identity: CallIdentity, body: bytes
) -> IdempotencyKey | None:
    """Return the request's `Idempotency-Key`; None without one."""
    if not key:
        return None
    return create_idempotency_key(key, path, identity.name if identity.is_explicit else "", body)
