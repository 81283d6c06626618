"""One request over HTTP, in either form: one turn, one answer, streamed or whole."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from voicegw.calls.answers import Answers, Past
from voicegw.errors import BadRequest, Busy, Refused, VoicegwError, WrongMethod
from voicegw.guard import Limits
from voicegw.identity import KEYS, identify
from voicegw.journal import Journal
from voicegw.run import Run
from voicegw.surfaces.form import Form
from voicegw.surfaces.intake import read_body, retry, until
from voicegw.surfaces.order import Order, Visit
from voicegw.surfaces.stream import Stream
from voicegw.switchboard import Switchboard
from voicegw.trace import Stamps
from voicegw.wire import chat
from voicegw.wire.ask import Ask

log = logging.getLogger("voicegw.run")

METHODS = "GET, HEAD, OPTIONS, POST"
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


def refusal(failure: VoicegwError, request: str) -> Response:
    """A failure before the first byte, as OpenAI's error envelope."""
    headers = {"x-request-id": request}
    after = failure.after if isinstance(failure, Refused) else None
    if after is not None:
        headers |= {
            "retry-after": str(max(1, round(after + 0.499))),
            "retry-after-ms": str(round(after * 1000)),
        }
    if not failure.retry:
        headers["x-should-retry"] = "false"
    if failure.status == 401:
        headers["www-authenticate"] = "Bearer"
    if failure.status == 405:
        headers["allow"] = METHODS
    return Response(chat.error(failure), failure.status, headers, "application/json")


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
        self.journal.running.inc()
        if order.ask.store:
            self.answers.begin(visit.key.name, self.form.name(run.turn.id), order.going_on(run, now))
        return await self._answer(order, run, receive)

    def _order(self, scope: Scope, body: bytes, visit: Visit, now: float) -> Order:
        """What a request asks for. Raises `Refused` when that cannot be."""
        asked = self.form.parse(body, messages=self.rules.messages, depth=self.rules.depth)
        named = identify(
            scope["headers"], asked.extra, names=self.rules.call_headers, keys=self.rules.call_keys
        )
        line = self.switchboard.line(asked.model, visit.key)
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
        self.journal.running.dec()
        if order.ask.store:
            self.answers.end(order.visit.key.name, self.form.name(run.turn.id), run.now())
        run.when_closed(
            lambda: self.journal.turn(run, order.stamps, order.line.name, order.visit.id),
            self.switchboard.stop_within,
        )
