"""One request over HTTP, in either form: one turn, one answer, streamed or whole."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from voicegw.api.chat_request import Ask
from voicegw.api.formats import Form
from voicegw.api.run_waiter import until
from voicegw.api.sse import Stream
from voicegw.api.turn_request import Order
from voicegw.asgi.body import read_body
from voicegw.asgi.context import Visit
from voicegw.asgi.error_response import METHODS, refusal
from voicegw.conversations.call_id import KEYS, identify
from voicegw.conversations.dispatcher import Switchboard
from voicegw.conversations.response_store import Answers, Past
from voicegw.errors import BadRequest, Busy, Refused, VoicegwError, WrongMethod
from voicegw.security.rate_limits import Limits
from voicegw.telemetry.turn_log import Journal
from voicegw.turns.run import Run
from voicegw.turns.timings import Stamps

log = logging.getLogger("voicegw.error")

NOTHING = Past()
"""What most requests go on from."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How this surface treats requests.

    `speak_busy`: too many turns are answered 200 with a sentence instead of 429. `hold`: not a byte
    leaves before the agent's first event, so that its failure can be a status. `note`: a comment with
    the turn's timing ends each stream. `call_headers` and `call_keys` are where calls are named, besides
    what is known out of the box.
    """

    body_bytes: int = 1_048_576
    messages: int = 2000
    depth: int = 100
    speak_busy: bool = False
    hold: bool = False
    note: bool = False
    call_headers: Sequence[str] = ()
    call_keys: Sequence[str] = KEYS


class Endpoint:
    """One form of asking, as a bare ASGI application: the hot path has no request object.

    `answers` are those that requests may go on from.
    """

    def __init__(
        self,
        form: Form,
        switchboard: Switchboard,
        limits: Limits,
        journal: Journal,
        rules: Rules,
        answers: Answers,
    ) -> None:
        self.form = form
        self.answers = answers
        self.switchboard = switchboard
        self.limits = limits
        self.journal = journal
        self.rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit: Visit = scope["voicegw"]
        try:
            response = await self._respond(scope, receive, visit)
        except VoicegwError as failure:
            if isinstance(failure, Refused):
                self.journal.refusal(failure, visit.id, visit.client)
            response = refusal(failure, visit.id)
        except Exception:
            log.exception("request %s failed", visit.id)
            response = refusal(VoicegwError(), visit.id)
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, visit: Visit) -> Response:
        """Everything refusable is refused here, before the first byte."""
        if scope["method"] in ("HEAD", "OPTIONS"):
            return Response(status_code=204, headers={"allow": METHODS, "x-request-id": visit.id})
        if scope["method"] != "POST":
            raise WrongMethod("Use POST.")
        body = await read_body(scope, receive, self.rules.body_bytes)
        now = self.switchboard.now()
        order = self._order(scope, body, visit, now)
        try:
            self.limits.begin(visit.key, now)
        except Busy as busy:
            if not self.rules.speak_busy:
                raise
            self.journal.refusal(busy, visit.id, visit.client)
            return order.sentence(order.line.words(order.language).busy)
        try:
            fingerprint, retried = retry(scope, body)
            turn = order.turn(self.switchboard.id(), self.switchboard.calls)
            run = self.switchboard.begin(
                order.line, turn, fingerprint=fingerprint, retried=retried, aside=not order.ask.stream
            )
        except BaseException:
            self.limits.end()
            raise
        self.journal.metrics.turns_running.inc()
        if order.ask.store:
            self.answers.begin(visit.key.name, self.form.name(run.turn.id), order.going_on(run, now))
        return await self._answer(order, run, receive)

    def _order(self, scope: Scope, body: bytes, visit: Visit, now: float) -> Order:
        """What a request asks for. Raises `Refused` when that cannot be."""
        asked = self.form.parse(body, messages=self.rules.messages, depth=self.rules.depth)
        named = identify(
            scope["headers"], asked.extra, names=self.rules.call_headers, keys=self.rules.call_keys
        )
        line = self.switchboard.agents.resolve(asked.model, visit.key)
        past = self._past(asked, visit, now)
        size = past.size + len(body)
        return Order(visit, self.form, asked, line, Stamps(now), named, past.messages, size)

    def _past(self, asked: Ask, visit: Visit, now: float) -> Past:
        """What the request goes on from, if it names an answer of ours."""
        if asked.previous is None:
            return NOTHING
        past = self.answers.find(visit.key.name, asked.previous, now)
        most = self.rules.messages
        if len(past.messages) + len(asked.messages) > most:
            raise BadRequest(
                f"The conversation is longer than {most} messages.", param="previous_response_id"
            )
        return past

    async def _answer(self, order: Order, run: Run, receive: Receive) -> Response:
        stream = order.ask.stream
        try:
            if not stream or self.rules.hold:
                await until(run, lambda: run.record.over or (stream and run.spoke), self.switchboard, receive)
            if stream and run.record.failure is None:
                return self._stream(order, run)
        except BaseException:
            run.cancel()
            self._ended(order, run)
            raise
        order.stamps.answer = run.first
        if run.record.over and run.cancelled is None:  # else the client hung up before
            order.stamps.close(run.now())
            run.delivered = True
        self._ended(order, run)
        if run.record.failure is not None:
            raise run.record.failure
        return order.whole(run)

    def _stream(self, order: Order, run: Run) -> Stream:
        calls = self.switchboard.calls
        listener = order.listener(run, self.rules.note, lambda words: calls.remember(order.call, words))

        def ended(stream: Stream) -> None:
            run.delivered = run.delivered or (stream.listener.done and not stream.gone)
            self.switchboard.leave(run, stream)
            self._ended(order, run)

        return Stream(run, listener, ended, order.headers)

    def _ended(self, order: Order, run: Run) -> None:
        """The client has its answer or is gone: make room, and write the turn down once the agent closed."""
        self.limits.end()
        self.journal.metrics.turns_running.dec()
        if order.ask.store:
            self.answers.end(order.visit.key.name, self.form.name(run.turn.id), run.now())
        run.when_closed(
            lambda: self.journal.turn(run, order.stamps, order.line.name, order.visit.id),
            self.switchboard.stop_within,
        )


def retry(scope: Scope, body: bytes) -> tuple[bytes, bool]:
    """What identifies a request that may be sent again, and whether its client says that it was."""
    headers = dict(scope["headers"])
    if key := headers.get(b"idempotency-key"):
        return b"key " + key, True
    return blake2b(body, digest_size=16).digest(), headers.get(b"x-stainless-retry-count", b"0") != b"0"
