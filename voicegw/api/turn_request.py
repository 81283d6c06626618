"""One accepted request: who asks what of which line, and the answer in the form that was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from starlette.responses import Response

from voicegw.api.chat_request import Ask
from voicegw.api.formats import Form
from voicegw.api.sse import STREAM_HEADERS
from voicegw.asgi.context import Visit
from voicegw.conversations.call_id import Identity
from voicegw.conversations.call_store import Calls
from voicegw.conversations.response_store import Past
from voicegw.errors import VoicegwError
from voicegw.events import Message, Turn
from voicegw.turns.completion import Answer, gather
from voicegw.turns.dialects import DIALECTS, Dialect
from voicegw.turns.run import Run
from voicegw.turns.served_agent import Line
from voicegw.turns.stream import Codec, Listener
from voicegw.turns.timings import Stamps


@dataclass(frozen=True)
class Order:
    """One accepted request: who asks what, in which form; `past` is what it goes on from.

    `called` is the line that it reaches, `line` the same as this request wants it answered.
    """

    visit: Visit
    form: Form
    ask: Ask
    called: Line
    stamps: Stamps
    named: Identity
    past: tuple[Message, ...] = ()
    size: int = 0

    @property
    def headers(self) -> dict[str, str]:
        """What every answer to this request carries: its id, and how to name its call again."""
        return {"x-request-id": self.visit.id, "x-voicegw-call": self.named.name, **self.named.echo}

    @cached_property
    def line(self) -> Line:
        """The agent's text is made speakable only for those who listen."""
        return self.called if self.dialect.speech and not self.quiet else self.called.written

    @cached_property
    def dialect(self) -> Dialect:
        name = self.visit.key.dialect
        return self.called.dialect if name is None else DIALECTS[name]

    @cached_property
    def call(self) -> str | None:
        """The call that the request names; errands of chat clients are none of its turns."""
        if not self.named.explicit or self.ask.chore:
            return None
        return self.named.call(self.visit.key.name, self.called.name)

    @cached_property
    def language(self) -> str:
        return self.ask.language or self.called.language

    @property
    def model(self) -> str:
        return self.ask.model or self.called.name

    def turn(self, id: str, calls: Calls) -> Turn:
        """What the agent is asked. What `calls` remember of our own words is none of its business."""
        messages = self._history(calls.said(self.call))
        return Turn(
            id=id,
            messages=messages,
            heard=calls.heard(self.call, messages),
            model=self.ask.model,
            tenant=self.visit.key.name,
            call=self.call,
            language=self.language,
            tools=self.ask.tools,
            tool_choice=self.ask.tool_choice,
            options=self.ask.options,
            extra=self.ask.extra,
        )

    def _history(self, said: frozenset[str]) -> tuple[Message, ...]:
        """Instructions, what came before, what is new. Words of ours can be in the new part only."""
        new = self.called.cleaned(self.ask.messages, self.language, said)
        if not self.past:
            return new
        return (*new[: self.ask.opening], *self.past, *new[self.ask.opening :])

    def going_on(self, run: Run, now: float) -> Past:
        """What a request that goes on from this answer needs to know."""
        return Past(run.turn.messages[self.ask.opening :], run.record, self.size, now)

    def codec(self, id: str) -> Codec:
        return self.form.codec(id, self.model, int(time.time()), self.ask)

    def listener(self, run: Run, note: bool, remember: Callable[[str], None]) -> Listener:
        return Listener(
            run.record,
            self.codec(run.turn.id),
            self.called.acknowledgement(
                run.turn,
                self.dialect,
                (*self.past, *self.ask.messages),
                quiet=self.quiet or run.spoke or run.record.over,
            ),
            self.stamps,
            self.apology,
            note=note,
            remember=remember,
        )

    @cached_property
    def quiet(self) -> bool:
        """Is nobody to be spoken to: a structured answer, or an errand?"""
        return self.ask.structured or self.ask.chore

    def apology(self, failure: VoicegwError) -> str:
        return str(getattr(self.called.words(self.language), failure.spoken))

    def whole(self, run: Run) -> Response:
        """The answer to a request without `stream`. Our own words are no part of it."""
        return self._json(run.turn.id, gather(run.record.events))

    def sentence(self, text: str) -> Response:
        """A spoken line of ours instead of an answer, in the form that was asked for."""
        if not self.ask.stream:
            return self._json(self.visit.id, Answer((text,)))
        codec = self.codec(self.visit.id)
        body = codec.begin(text) + codec.end("stop", None)
        return Response(body, headers={**STREAM_HEADERS, **self.headers})

    def _json(self, id: str, answer: Answer) -> Response:
        body = self.form.whole(id, self.model, int(time.time()), self.ask, answer)
        return Response(body, headers=self.headers, media_type="application/json")
