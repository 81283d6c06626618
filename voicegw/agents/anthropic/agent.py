"""The agent behind any server that speaks Anthropic's Messages API, Anthropic's own or another.

It knows no bytes of requests and responses: `request` and `decoder` do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from ssl import SSLContext
from typing import Any

from voicegw.agents.anthropic.decoder import MessagesDecoder, reported_error
from voicegw.agents.anthropic.request import encode_request
from voicegw.agents.client.http_errors import error_from_response
from voicegw.agents.client.json_api import JsonApi
from voicegw.agents.client.response import EVENT_STREAM, HttpResponse
from voicegw.agents.finish_reasons import AnswerState
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected
from voicegw.events import Turn
from voicegw.turns.streaming import EventSink, StreamingAgent, push_rest
from voicegw.wire.sse import SseParser

URL = "https://api.anthropic.com"
PATH = "/v1/messages"
VERSION = "2026-10-21"
"""The version of the protocol. Requests of this version have neither `temperature` nor `top_p`."""
SAMPLING_VERSION = "2023-06-01"
"""The last version in which older models take `temperature` and `top_p`."""
STATUS_ERRORS: Mapping[int, type[AgentError]] = {402: AgentRejected, 529: AgentBusy}
"""The errors of statuses that only this protocol has: the bill is not paid, the service is overloaded."""


class AnthropicAgent(StreamingAgent):
    """An agent behind `POST .../v1/messages`; closing a reply closes its connection.

    `url` is the base URL, with or without its `/v1`, or the full one. `model` is asked for in every turn.
    `key` is sent as `x-api-key`. An answer has at most `max_tokens` tokens, thinking included, unless the
    turn has a limit. `cache` asks the server to cache tools and instructions between turns. `sampling` passes
    on `temperature` or `top_p`, which current models refuse. `version` is that of the protocol; None means
    the one that fits `sampling`. `extra_body` are further fields of each request, such as `thinking`;
    `headers` are its further headers. `ssl` replaces the system's certificate authorities. `connect_timeout`
    is in seconds. `idempotent`: a turn may be sent twice without harm.

    The constructor raises `ConfigError` if `url` is no address.
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
        extra_body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        ssl: SSLContext | None = None,
        connect_timeout: float = 5.0,
        idempotent: bool = False,
    ) -> None:
        base = url.rstrip("/").removesuffix("/messages").removesuffix("/v1")
        secret = {**({"x-api-key": key} if key else {}), **(headers or {})}
        self._api = JsonApi(base, secret, ssl=ssl, connect_timeout=connect_timeout)
        self._idempotent = idempotent
        self._version = version or (SAMPLING_VERSION if sampling else VERSION)
        self._model = model
        self._max_tokens = max_tokens
        self._cache = cache
        self._sampling = sampling
        self._extra_body = extra_body

    async def stream(self, turn: Turn, sink: EventSink) -> None:
        """Ask for an answer to `turn` and push its events as they arrive.

        Raises the `AgentError` of the client, of a refusal, or that the server reports, and
        `AgentProtocolError` if the answer breaks off before its reason to stop.
        """
        decoder = MessagesDecoder(turn.id)
        try:
            async with self._open_stream(self._request_body(turn)) as response:
                feed = partial(_feed, response, SseParser(), decoder, sink)
                if not (await response.pump(feed) or decoder.done):
                    return
        except AgentError:
            if decoder.state is not AnswerState.ENDED:  # after it, a broken connection loses nothing
                raise
        if decoder.state is not AnswerState.ENDED:
            raise AgentProtocolError(f"{self._url} ended in the middle of an answer")
        push_rest(decoder.end(), sink)

    async def warm(self, call: str | None = None) -> None:
        """Open a connection. Raises `AgentUnavailable` if the server cannot be reached."""
        await self._api.client.prewarm(1)

    async def call_ended(self, call: str) -> None:
        """Do nothing: the agent keeps nothing for a call."""

    async def aclose(self) -> None:
        """Close every connection."""
        await self._api.client.aclose()

    def _request_body(self, turn: Turn) -> dict[str, Any]:
        return encode_request(
            turn,
            model=self._model,
            max_tokens=self._max_tokens,
            cache=self._cache,
            sampling=self._sampling,
            extra_body=self._extra_body,
        )

    @asynccontextmanager
    async def _open_stream(self, body: Mapping[str, Any]) -> AsyncIterator[HttpResponse]:
        """Send a request and give its response; raise an `AgentError` unless it is an event stream."""
        async with self._api.request(
            "POST",
            PATH,
            body,
            allow_status=STATUS_ERRORS,
            idempotent=self._idempotent,
            accept=EVENT_STREAM,
            anthropic_version=self._version,
        ) as response:
            if response.status in STATUS_ERRORS:
                error = await error_from_response(response, self._url)
                raise STATUS_ERRORS[response.status](error.summary, error.quote)
            await self._api.check_event_stream(response, PATH, reported_error)
            yield response

    @property
    def _url(self) -> str:
        return self._api.url_for(PATH)


def _feed(
    response: HttpResponse, sse_parser: SseParser, decoder: MessagesDecoder, sink: EventSink, data: bytes
) -> bool:
    """Push the events that `data` completes. Return False if no more of the body is needed."""
    has_events = False
    for sse in sse_parser.feed(data):
        for event in decoder.feed(sse):
            has_events = True
            if not sink.push(event):
                return False
    sink.flush()
    if decoder.done:
        response.discard_rest()
        return False
    response.expect_end(decoder.state, restart=has_events)
    return True
