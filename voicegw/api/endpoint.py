"""One request over HTTP, in either form: one turn, one answer, streamed or whole."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from voicegw.api.chat_request import ApiRequest
from voicegw.api.formats import ApiFormat
from voicegw.api.run_waiter import wait_for_run
from voicegw.api.sse import SseResponse
from voicegw.api.turn_request import TurnRequest
from voicegw.asgi.body import read_body
from voicegw.asgi.context import RequestContext
from voicegw.asgi.error_response import METHODS, error_response
from voicegw.conversations.call_id import KEYS, resolve_call_id
from voicegw.conversations.dispatcher import Dispatcher
from voicegw.conversations.response_store import ResponseStore, StoredResponse
from voicegw.errors import BadRequest, MethodNotAllowed, RequestError, TooManyRequests, VoicegwError
from voicegw.security.rate_limits import RateLimiter
from voicegw.telemetry.turn_log import TurnLog
from voicegw.turns.run import Run
from voicegw.turns.timings import TurnTimings

log = logging.getLogger("voicegw.error")

NO_PREVIOUS_RESPONSE = StoredResponse()
"""What most requests go on from."""


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """How this surface treats requests.

    `speak_busy`: too many turns are answered 200 with a sentence instead of 429. `hold`: not a byte
    leaves before the agent's first event, so that its failure can be a status. `note`: a comment with
    the turn's timing ends each stream. `call_headers` and `call_keys` are where calls are named, besides
    what is known out of the box.
    """

    max_body_bytes: int = 1_048_576
    max_messages: int = 2000
    max_json_depth: int = 100
    speak_busy: bool = False
    hold: bool = False
    timing_comment: bool = False
    call_headers: Sequence[str] = ()
    call_keys: Sequence[str] = KEYS


class CompletionEndpoint:
    """One form of asking, as a bare ASGI application: the hot path has no request object.

    `answers` are those that requests may go on from.
    """

    def __init__(
        self,
        format: ApiFormat,
        dispatcher: Dispatcher,
        rate_limiter: RateLimiter,
        turn_log: TurnLog,
        options: EndpointOptions,
        responses: ResponseStore,
    ) -> None:
        self.format = format
        self.responses = responses
        self.dispatcher = dispatcher
        self.rate_limiter = rate_limiter
        self.turn_log = turn_log
        self.options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit: RequestContext = scope["voicegw"]
        try:
            response = await self._respond(scope, receive, visit)
        except VoicegwError as failure:
            if isinstance(failure, RequestError):
                self.turn_log.refusal(failure, visit.id, visit.client)
            response = error_response(failure, visit.id)
        except Exception:
            log.exception("request %s failed", visit.id)
            response = error_response(VoicegwError(), visit.id)
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, visit: RequestContext) -> Response:
        """Everything refusable is refused here, before the first byte."""
        if scope["method"] in ("HEAD", "OPTIONS"):
            return Response(status_code=204, headers={"allow": METHODS, "x-request-id": visit.id})
        if scope["method"] != "POST":
            raise MethodNotAllowed("Use POST.")
        body = await read_body(scope, receive, self.options.max_body_bytes)
        now = self.dispatcher.now()
        order = self._order(scope, body, visit, now)
        try:
            self.rate_limiter.acquire(visit.key, now)
        except TooManyRequests as busy:
            if not self.options.speak_busy:
                raise
            self.turn_log.refusal(busy, visit.id, visit.client)
            return order.sentence(order.agent.phrases_in(order.language).busy)
        try:
            fingerprint, retried = idempotency(scope, body)
            turn = order.turn(self.dispatcher.new_turn_id(), self.dispatcher.calls)
            run = self.dispatcher.dispatch(
                order.agent,
                turn,
                fingerprint=fingerprint,
                retried=retried,
                background=not order.request.stream,
            )
        except BaseException:
            self.rate_limiter.release()
            raise
        self.turn_log.metrics.turns_running.inc()
        if order.request.store:
            self.responses.begin(
                visit.key.name, self.format.response_id(run.turn.id), order.stored_response(run, now)
            )
        return await self._answer(order, run, receive)

    def _order(self, scope: Scope, body: bytes, visit: RequestContext, now: float) -> TurnRequest:
        """What a request asks for. Raises `RequestError` when that cannot be."""
        asked = self.format.parse(
            body, max_messages=self.options.max_messages, max_depth=self.options.max_json_depth
        )
        named = resolve_call_id(
            scope["headers"], asked.extra, names=self.options.call_headers, keys=self.options.call_keys
        )
        line = self.dispatcher.agents.resolve(asked.model, visit.key)
        past = self._past(asked, visit, now)
        size = past.size + len(body)
        return TurnRequest(visit, self.format, asked, line, TurnTimings(now), named, past.messages, size)

    def _past(self, asked: ApiRequest, visit: RequestContext, now: float) -> StoredResponse:
        """What the request goes on from, if it names an answer of ours."""
        if asked.previous_response_id is None:
            return NO_PREVIOUS_RESPONSE
        past = self.responses.find(visit.key.name, asked.previous_response_id, now)
        most = self.options.max_messages
        if len(past.messages) + len(asked.messages) > most:
            raise BadRequest(
                f"The conversation is longer than {most} messages.", param="previous_response_id"
            )
        return past

    async def _answer(self, order: TurnRequest, run: Run, receive: Receive) -> Response:
        stream = order.request.stream
        try:
            if not stream or self.options.hold:
                await wait_for_run(
                    run, lambda: run.event_log.ended or (stream and run.has_spoken), self.dispatcher, receive
                )
            if stream and run.event_log.failure is None:
                return self._stream(order, run)
        except BaseException:
            run.cancel()
            self._ended(order, run)
            raise
        order.timings.first_token = run.first_token_at
        if run.event_log.ended and run.cancelled_at is None:  # else the client hung up before
            order.timings.close(run.now())
            run.delivered = True
        self._ended(order, run)
        if run.event_log.failure is not None:
            raise run.event_log.failure
        return order.whole(run)

    def _stream(self, order: TurnRequest, run: Run) -> SseResponse:
        calls = self.dispatcher.calls
        listener = order.response_stream(
            run, self.options.timing_comment, lambda words: calls.remember(order.call, words)
        )

        def ended(stream: SseResponse) -> None:
            run.delivered = run.delivered or (stream.listener.done and not stream.gone)
            self.dispatcher.unsubscribe(run, stream)
            self._ended(order, run)

        return SseResponse(run, listener, ended, order.headers)

    def _ended(self, order: TurnRequest, run: Run) -> None:
        """The client has its answer or is gone: make room, and write the turn down once the agent closed."""
        self.rate_limiter.release()
        self.turn_log.metrics.turns_running.dec()
        if order.request.store:
            self.responses.end(order.context.key.name, self.format.response_id(run.turn.id), run.now())
        run.on_closed(
            lambda: self.turn_log.turn(run, order.timings, order.agent.name, order.context.id),
            self.dispatcher.stop_timeout,
        )


def idempotency(scope: Scope, body: bytes) -> tuple[bytes, bool]:
    """What identifies a request that may be sent again, and whether its client says that it was."""
    headers = dict(scope["headers"])
    if key := headers.get(b"idempotency-key"):
        return b"key " + key, True
    return blake2b(body, digest_size=16).digest(), headers.get(b"x-stainless-retry-count", b"0") != b"0"
