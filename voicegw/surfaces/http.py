"""Chat completions over HTTP: one request, one turn, one answer, streamed or whole."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from voicegw.dialects import DIALECTS, Dialect
from voicegw.errors import Busy, Refused, VoicegwError, WrongMethod
from voicegw.events import Finish, ToolCall, Turn, Usage
from voicegw.guard import Key, Limits
from voicegw.identity import KEYS, Identity, identify
from voicegw.journal import Journal
from voicegw.listener import Listener
from voicegw.run import Run
from voicegw.surfaces.intake import read_body, retry, until
from voicegw.surfaces.stream import STREAM_HEADERS, Stream
from voicegw.switchboard import Line, Switchboard
from voicegw.trace import Stamps
from voicegw.wire import ask, chat

log = logging.getLogger("voicegw.run")

METHODS = "GET, HEAD, OPTIONS, POST"


@dataclass(frozen=True, slots=True)
class Visit:
    """Who is at the door: the key that was shown, the id of the request, the client's address."""

    key: Key
    id: str
    client: str


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


class Chat:
    """The endpoint, as a bare ASGI application: the hot path has no request object."""

    def __init__(self, switchboard: Switchboard, limits: Limits, journal: Journal, rules: Rules) -> None:
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
        asked = ask.parse(body, messages=self.rules.messages, depth=self.rules.depth)
        named = identify(
            scope["headers"], asked.extra, names=self.rules.call_headers, keys=self.rules.call_keys
        )
        order = Order(visit, asked, self.switchboard.line(asked.model, visit.key), Stamps(now), named)
        try:
            self.limits.begin(visit.key, now)
        except Busy as busy:
            if not self.rules.speak_busy:
                raise
            self.journal.refusal(busy, visit.id, visit.client)
            return order.sentence(order.line.words(order.language).busy)
        try:
            fingerprint, retried = retry(scope, body)
            turn = order.turn(self.switchboard.id(), self.switchboard.calls.said(order.call))
            run = self.switchboard.begin(
                order.line, turn, fingerprint=fingerprint, retried=retried, aside=not asked.stream
            )
        except BaseException:
            self.limits.end()
            raise
        self.journal.running.inc()
        return await self._answer(order, run, receive)

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
        if run.cancelled is None:
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
        run.when_closed(
            lambda: self.journal.turn(run, order.stamps, order.line.name, order.visit.id),
            self.switchboard.stop_within,
        )


@dataclass(frozen=True, slots=True)
class Order:
    """One accepted request: who asks what of which line."""

    visit: Visit
    ask: ask.Ask
    line: Line
    stamps: Stamps
    named: Identity

    @property
    def headers(self) -> dict[str, str]:
        """What every answer to this request carries: its id, and how to name its call again."""
        return {"x-request-id": self.visit.id, "x-voicegw-call": self.named.name, **self.named.echo}

    @property
    def dialect(self) -> Dialect:
        name = self.visit.key.dialect
        return self.line.dialect if name is None else DIALECTS[name]

    @property
    def call(self) -> str | None:
        """The call that the request names; errands of chat clients are none of its turns."""
        if not self.named.explicit or self.ask.chore:
            return None
        return self.named.call(self.visit.key.name, self.line.name)

    @property
    def language(self) -> str:
        return self.ask.language or self.line.language

    @property
    def model(self) -> str:
        return self.ask.model or self.line.name

    def turn(self, id: str, said: frozenset[str]) -> Turn:
        """What the agent is asked; `said` are words of ours that are none of its business."""
        return Turn(
            id=id,
            messages=self.line.cleaned(self.ask.messages, self.language, said),
            model=self.ask.model,
            tenant=self.visit.key.name,
            call=self.call,
            language=self.language,
            tools=self.ask.tools,
            tool_choice=self.ask.tool_choice,
            options=self.ask.options,
            extra=self.ask.extra,
        )

    def chunks(self, id: str) -> chat.Chunks:
        return chat.Chunks(f"chatcmpl-{id}", self.model, int(time.time()), usage=self.ask.wants_usage)

    def listener(self, run: Run, note: bool, remember: Callable[[str], None]) -> Listener:
        return Listener(
            run.record,
            self.chunks(run.turn.id),
            self.line.acknowledgement(
                run.turn, self.dialect, self.ask.messages, quiet=self.quiet or run.spoke or run.record.over
            ),
            self.stamps,
            self.apology,
            note=note,
            remember=remember,
        )

    @property
    def quiet(self) -> bool:
        """Is nobody to be spoken to: a structured answer, or an errand?"""
        return self.ask.structured or self.ask.chore

    def apology(self, failure: VoicegwError) -> str:
        return str(getattr(self.line.words(self.language), failure.spoken))

    def whole(self, run: Run) -> Response:
        """The answer to a request without `stream`. Our own words are no part of it."""
        events = run.record.events
        calls = [event for event in events if type(event) is ToolCall]
        reason = next((event.reason for event in events if type(event) is Finish), "stop")
        if calls and reason == "stop":
            reason = "tool_calls"
        usage = next((event for event in events if type(event) is Usage), None)
        text = "".join(event for event in events if type(event) is str)
        return self._json(run.turn.id, text, calls, reason, usage)

    def sentence(self, text: str) -> Response:
        """A spoken line of ours instead of an answer, in the form that was asked for."""
        if not self.ask.stream:
            return self._json(self.visit.id, text, [], "stop", None)
        chunks = self.chunks(self.visit.id)
        body = chunks.begin(text) + chunks.end("stop", None)
        return Response(body, headers={**STREAM_HEADERS, **self.headers})

    def _json(self, id: str, text: str, calls: list[ToolCall], reason: str, usage: Usage | None) -> Response:
        body = chat.whole(f"chatcmpl-{id}", self.model, int(time.time()), text, calls, reason, usage)
        return Response(body, headers=self.headers, media_type="application/json")
