"""Any server that speaks OpenAI's chat completions: the widest door there is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import astuple
from ssl import SSLContext
from urllib.parse import urlsplit

import orjson

from voicegw.agents.complaints import complaint, hush, secrets
from voicegw.agents.http import Client, Response
from voicegw.errors import AgentError, AgentGarbled
from voicegw.events import Event, Turn, Usage
from voicegw.wire.sse import LIMIT, Splitter
from voicegw.wire.upstream import Decoder, request, whole

MOST_CALLS = 10_000
"""Calls whose totals are remembered."""


class OpenAI:
    """An agent behind `POST .../chat/completions`; closing a reply closes its connection.

    `url` is the base address (`http://host/v1`) or the full one. `model` replaces the model that the turn
    names, `fields` lists what the server accepts beyond model, messages and stream (None: everything),
    `stream=False` asks for whole answers. `headers` go with every request. `connect` is in seconds.
    `totals`: the server counts the tokens of the whole conversation; what a turn used is the difference.
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
    ) -> None:
        parts = urlsplit(url)
        path = parts.path.rstrip("/")
        self._route = path if path.endswith("/chat/completions") else f"{path}/chat/completions"
        self._path = f"{self._route}?{parts.query}" if parts.query else self._route
        self._client = Client(url, ssl=ssl, connect=connect)
        self._model = model
        self._fields = fields
        self._stream = stream
        self._totals: dict[str, Usage] | None = {} if totals else None
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
        body = orjson.dumps(request(turn, model=self._model, fields=self._fields, stream=self._stream))
        splitter, decoder = Splitter(), Decoder(turn.id)
        try:
            async with self._client.post(self._path, self._headers, body) as response:
                await self._check(response)
                if not self._streamed(response):
                    for event in whole(await response.read(LIMIT), turn.id):
                        yield self._own(event, turn)
                    return
                async for data in response:
                    for sse in splitter.feed(data):
                        for event in decoder.feed(sse):
                            yield event if type(event) is str else self._own(event, turn)
                    if decoder.done:
                        response.over()
                        break
                if splitter.held and not decoder.done:
                    raise AgentGarbled(f"{self._where} broke off in the middle of an event")
        except AgentError as error:
            if not decoder.complete:  # after its finish_reason a broken connection takes nothing away
                hush(error, self._secrets)
                raise
        for event in decoder.end():
            yield self._own(event, turn)

    def _own(self, event: Event, turn: Turn) -> Event:
        """The event; of a usage that is a total, what this turn of the call added to it."""
        if type(event) is not Usage or self._totals is None or turn.call is None:
            return event
        before = self._totals.pop(turn.call, Usage())
        self._totals[turn.call] = event
        if len(self._totals) > MOST_CALLS:
            del self._totals[next(iter(self._totals))]
        return Usage(*(max(0, now - then) for now, then in zip(astuple(event), astuple(before), strict=True)))

    async def warm(self, call: str | None = None) -> None:
        """Have a connection ready. Raises `AgentUnavailable` when the server cannot be reached."""
        await self._client.prewarm(1)

    async def leave(self, call: str) -> None:
        """Forget what was counted for the call."""
        if self._totals is not None:
            self._totals.pop(call, None)

    async def aclose(self) -> None:
        await self._client.aclose()

    def _streamed(self, response: Response) -> bool:
        """Whether the answer is a stream: its content type decides, whatever was asked for."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/event-stream" or (self._stream and not kind):
            return True
        if kind == "application/json" or not kind:
            return False
        raise AgentGarbled(f"{self._where} answered with {kind!r}")

    async def _check(self, response: Response) -> None:
        """Raise what a status other than 200 means, with the server's own words."""
        if response.status != 200:
            raise await complaint(response, self._where)

    @property
    def _where(self) -> str:
        return f"{self._client.origin}{self._route}"
