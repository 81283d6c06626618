"""Sends the requests of a simulation with the gateway's own HTTP client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from voicegw.agents.client.http import HttpClient
from voicegw.agents.client.response import HttpResponse
from voicegw.errors import AgentError
from voicegw.simulate.http_exchange import PlatformResponse
from voicegw.simulate.http_platform import PlatformRequest


class HttpSenderResponse:
    """Implements `PlatformResponse` on a response of the gateway's HTTP client."""

    def __init__(self, response: HttpResponse) -> None:
        self.response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    def __aiter__(self) -> HttpSenderResponse:
        return self

    async def __anext__(self) -> bytes:
        pieces: list[bytes] = []

        def take(data: bytes) -> bool:
            pieces.append(data)
            return False

        try:
            has_ended = await self.response.pump(take)
        except AgentError as error:
            raise OSError(str(error)) from None
        if has_ended:
            raise StopAsyncIteration
        return pieces[0]


class HttpSender:
    """Implements `PostRequest` for requests to the origin of `url`.

    `connect_timeout` limits, in seconds, the name resolution and the connection together. The constructor
    raises `voicegw.errors.ConfigError` if `url` is invalid; a call raises OSError as `PostRequest` says.
    """

    def __init__(self, url: str, *, connect_timeout: float = 5.0) -> None:
        self.client = HttpClient(url, connect_timeout=connect_timeout)

    @asynccontextmanager
    async def __call__(self, request: PlatformRequest) -> AsyncIterator[PlatformResponse]:
        parts = urlsplit(request.url)
        path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        try:
            async with self.client.post(path, request.headers, request.body, idempotent=True) as response:
                yield HttpSenderResponse(response)
        except AgentError as error:
            raise OSError(str(error)) from None

    async def aclose(self) -> None:
        """Close all connections."""
        await self.client.aclose()
