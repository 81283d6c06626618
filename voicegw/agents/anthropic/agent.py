"""Any server that speaks Anthropic's Messages: the maker's own, and others that took the protocol over."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

from voicegw.agents.anthropic.decoder import MessagesDecoder
from voicegw.agents.anthropic.request import encode_request
from voicegw.agents.client.http import HttpResponse
from voicegw.agents.client.http_errors import error_from_response
from voicegw.agents.client.json_api import JsonApi
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected
from voicegw.events import Event, Turn
from voicegw.wire.sse import SseParser

URL = "https://api.anthropic.com"
PATH = "/v1/messages"
STREAM = "text/event-stream"
VERSION = "2026-10-21"
"""Of the protocol. Requests of this version have neither temperature nor `top_p`."""
SAMPLING_VERSION = "2023-06-01"
"""The last one in which older models take them."""
MEANT: Mapping[int, type[AgentError]] = {402: AgentRejected, 529: AgentBusy}
"""What statuses mean that only this protocol has: the bill is not paid, everybody is asking."""


class AnthropicAgent:
    """An agent behind `POST .../v1/messages`; closing a reply closes its connection.

    `url` is the base address, with or without its `/v1`, or the full one. An answer has at most `max_tokens`
    tokens, thinking included, unless the turn says how many. `cache` asks the server to remember tools and
    instructions from turn to turn. `sampling` passes on temperature or `top_p`, which current models refuse.
    `version` is that of the protocol (None: the one that fits). `fields` are further fields of each request,
    such as `thinking`, `headers` its further headers, and `connect` is in seconds.
    """

    def __init__(
        self,
        url: str = URL,
        *,
        model: str,
        key: str | None = None,
        max_tokens: int = 4096,
        cache: bool = True,
        sampling: bool = False,
        version: str | None = None,
        fields: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        ssl: SSLContext | None = None,
        connect: float = 5.0,
    ) -> None:
        base = url.rstrip("/").removesuffix("/messages").removesuffix("/v1")
        secret = {**({"x-api-key": key} if key else {}), **(headers or {})}
        self._api = JsonApi(base, secret, ssl=ssl, connect=connect)
        self._version = version or (SAMPLING_VERSION if sampling else VERSION)
        self._model = model
        self._most = max_tokens
        self._cache = cache
        self._sampling = sampling
        self._fields = fields

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Ask for an answer and give its events as they come."""
        splitter, decoder = SseParser(), MessagesDecoder(turn.id)
        try:
            async with self._asked(self._request(turn)) as response:
                async for data in response:
                    for sse in splitter.feed(data):
                        for event in decoder.feed(sse):
                            yield event
                    if decoder.done:
                        response.discard_rest()
                        break
        except AgentError:
            if not decoder.complete:  # after its reason to stop a broken connection takes nothing away
                raise
        if not decoder.complete:
            raise AgentProtocolError(f"{self._where} ended in the middle of an answer")
        for event in decoder.end():
            yield event

    async def warm(self, call: str | None = None) -> None:
        """Have a connection ready. Raises `AgentUnavailable` when the server cannot be reached."""
        await self._api.client.prewarm(1)

    async def call_ended(self, call: str) -> None:
        """Nothing is kept for a call."""

    async def aclose(self) -> None:
        await self._api.client.aclose()

    def _request(self, turn: Turn) -> dict[str, Any]:
        return encode_request(
            turn,
            model=self._model,
            most=self._most,
            cache=self._cache,
            sampling=self._sampling,
            more=self._fields,
        )

    @asynccontextmanager
    async def _asked(self, body: Mapping[str, Any]) -> AsyncIterator[HttpResponse]:
        """The answer to a request, which is a stream."""
        async with self._api.request(
            "POST", PATH, body, allow_status=MEANT, accept=STREAM, anthropic_version=self._version
        ) as response:
            if response.status in MEANT:
                error = await error_from_response(response, self._where)
                raise MEANT[response.status](error.summary, error.quote)
            told = response.headers.get("content-type", STREAM).partition(";")[0].strip().lower()
            if told != STREAM:
                raise AgentProtocolError(f"{self._where} answered with {told!r}")
            yield response

    @property
    def _where(self) -> str:
        return self._api.where(PATH)
