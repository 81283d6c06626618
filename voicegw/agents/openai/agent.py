"""Any server that speaks OpenAI's chat completions: the widest door there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import astuple
from ssl import SSLContext
from typing import Literal, TypeVar
from urllib.parse import urlsplit

import orjson

from voicegw.agents.client.http import HttpClient, HttpResponse
from voicegw.agents.client.http_errors import COMPLAINT, error_from_response, redact, secrets
from voicegw.agents.openai.decoder import ChatChunkDecoder, decode_completion, decode_models
from voicegw.agents.openai.request import encode_request
from voicegw.agents.session_prompt import user_message_count, with_missed_context
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError
from voicegw.events import Event, Turn, Usage
from voicegw.wire.sse import MAX_EVENT_BYTES, SseParser

MAX_REMEMBERED_CALLS = 10_000
"""Calls whose totals are remembered, and what servers were told in them."""
CONFLICT = 409
PAUSES = (0.02, 0.04, 0.08, 0.16)
"""Seconds between asking again a server that has not yet let go of the last turn of the conversation."""

T = TypeVar("T")


class OpenAIAgent:
    """An agent behind `POST .../chat/completions`; closing a reply closes its connection.

    `url` is the base address (`http://host/v1`) or the full one. `model` replaces the model that the turn
    names, `fields` lists what the server accepts beyond model, messages and stream (None: everything),
    `stream=False` asks for whole answers. `headers` go with every request. `connect` is in seconds.
    `totals`: the server counts the tokens of the whole conversation; what a turn used is the difference.

    For servers that are agents themselves: `plain` sends texts of the system, the user and the assistant
    only. `calls="doing"` tells of the tools that the server calls and runs itself, instead of asking the
    platform to run them. `keeps` names a header that carries the id of the call, for a server that keeps the
    conversation and takes only the last words of a request; they say what it missed, since it forgets turns
    that were interrupted. `history="last"` leaves the rest away. `listing` asks it at start for its
    models, and a turn that names one of them gets it.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        model: str | None = None,
        fields: frozenset[str] | None = None,
        stream: bool = True,
        headers: Mapping[str, str] | None = None,
        ssl: SSLContext | None = None,
        connect: float = 5.0,
        totals: bool = False,
        plain: bool = False,
        calls: Literal["offered", "doing"] = "offered",
        keeps: str | None = None,
        history: Literal["whole", "last"] = "whole",
        listing: bool = False,
    ) -> None:
        parts = urlsplit(url)
        base = parts.path.rstrip("/").removesuffix("/chat/completions")
        query = f"?{parts.query}" if parts.query else ""
        self.models: Sequence[str] = ()
        self._route = f"{base}/chat/completions"
        self._path = f"{self._route}{query}"
        self._list = f"{base}/models{query}" if listing else None
        self._client = HttpClient(url, ssl=ssl, connect=connect)
        self._model = model
        self._fields = fields
        self._stream = stream
        self._plain = plain
        self._doing = calls == "doing"
        self._keeps = keeps
        self._whole = history == "whole"
        self._totals: dict[str, Usage] | None = {} if totals else None
        self._known: dict[str, int] = {}
        self._secrets = secrets((key, *(headers or {}).values()))
        self._headers = {
            "accept": "text/event-stream, application/json" if stream else "application/json",
            "accept-encoding": "identity",
            "content-type": "application/json",
            **({"authorization": f"Bearer {key}"} if key else {}),
            **{name.lower(): value for name, value in (headers or {}).items()},
        }

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Ask for an answer and give its events as they come."""
        splitter, decoder = SseParser(), ChatChunkDecoder(turn.id, doing=self._doing)
        try:
            async with self._asked(turn) as response:
                await self._check(response)
                if not self._streamed(response):
                    body = await response.read(MAX_EVENT_BYTES)
                    events = decode_completion(body, turn.id, doing=self._doing)
                    self._learned(turn)
                    for event in events:
                        yield self._own(event, turn)
                    return
                while data := await response.read_chunk():
                    for sse in splitter.feed(data):
                        for event in decoder.feed(sse):
                            yield event if type(event) is str else self._own(event, turn)
                    if decoder.done:
                        response.discard_rest()
                        break
                if splitter.held and not decoder.done:
                    raise AgentProtocolError(f"{self._where} broke off in the middle of an event")
        except AgentError as error:
            if not decoder.complete:  # after its finish_reason a broken connection takes nothing away
                redact(error, self._secrets)
                raise
        self._learned(turn)
        for event in decoder.end():
            yield self._own(event, turn)

    def _asked(self, turn: Turn) -> AbstractAsyncContextManager[HttpResponse]:
        """The answer to a turn."""
        call = self._kept(turn)
        body = orjson.dumps(self._request(turn, call))
        if call is None or self._keeps is None:
            return self._client.post(self._path, self._headers, body)
        return self._asked_again({**self._headers, self._keeps: call}, body)

    @asynccontextmanager
    async def _asked_again(self, headers: Mapping[str, str], body: bytes) -> AsyncIterator[HttpResponse]:
        """The answer, also of a server that was not done with the turn before: it took nothing."""
        for pause in PAUSES:
            async with self._client.post(self._path, headers, body) as response:
                if response.status != CONFLICT:
                    yield response
                    return
                await response.read_start(COMPLAINT)
            await asyncio.sleep(pause)
        async with self._client.post(self._path, headers, body) as response:
            yield response

    def _kept(self, turn: Turn) -> str | None:
        """The call whose conversation the server keeps; a turn aside is a conversation of its own."""
        return None if self._keeps is None or turn.background else turn.call

    def _request(self, turn: Turn, call: str | None) -> dict[str, object]:
        known = None if call is None else self._known.get(call)
        asked = turn if known is None else with_missed_context(turn, known, whole=self._whole)
        model = turn.model if turn.model in self.models else self._model
        return encode_request(asked, model=model, fields=self._fields, stream=self._stream, plain=self._plain)

    def _learned(self, turn: Turn) -> None:
        """The server heard and answered all of this turn: it keeps that."""
        if (call := self._kept(turn)) is not None:
            _remember(self._known, call, user_message_count(turn.messages))

    def _own(self, event: Event, turn: Turn) -> Event:
        """The event; of a usage that is a total, what this turn of the call added to it."""
        if type(event) is not Usage or self._totals is None or turn.call is None:
            return event
        before = self._totals.get(turn.call, Usage())
        _remember(self._totals, turn.call, event)
        return Usage(*(max(0, now - then) for now, then in zip(astuple(event), astuple(before), strict=True)))

    async def warm(self, call: str | None = None) -> None:
        """Have a connection ready. Raises `AgentUnavailable` when the server cannot be reached."""
        await self._client.prewarm(1)
        if self._list is not None and not self.models:
            await self._ask_for_models(self._list)

    async def _ask_for_models(self, path: str) -> None:
        async with self._client.request("GET", path, self._headers) as response:
            await self._check(response)
            self.models = decode_models(await response.read(MAX_EVENT_BYTES))

    async def call_ended(self, call: str) -> None:
        """Forget what was counted for the call."""
        self._known.pop(call, None)
        if self._totals is not None:
            self._totals.pop(call, None)

    async def aclose(self) -> None:
        await self._client.aclose()

    def _streamed(self, response: HttpResponse) -> bool:
        """Whether the answer is a stream: its content type decides, whatever was asked for."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/event-stream" or (self._stream and not kind):
            return True
        if kind == "application/json" or not kind:
            return False
        raise AgentProtocolError(f"{self._where} answered with {kind!r}")

    async def _check(self, response: HttpResponse) -> None:
        """Raise what a status other than 200 means, with the server's own words."""
        if response.status != 200:
            error = await error_from_response(response, self._where)
            raise AgentBusy(error.summary, error.quote) if response.status == CONFLICT else error

    @property
    def _where(self) -> str:
        return f"{self._client.origin}{self._route}"


def _remember(memory: dict[str, T], call: str, value: T) -> None:
    """Keep the calls that spoke last."""
    memory.pop(call, None)
    memory[call] = value
    if len(memory) > MAX_REMEMBERED_CALLS:
        del memory[next(iter(memory))]
