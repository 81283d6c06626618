"""Requests of a rehearsal, by way of the gateway's own HTTP client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from voicegw.agents.client.http import Client, Response
from voicegw.errors import AgentError
from voicegw.simulate.http_exchange import Answer
from voicegw.simulate.http_platform import Request


class Posted:
    """One answer as it comes."""

    def __init__(self, response: Response) -> None:
        self.response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    def __aiter__(self) -> Posted:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self.response)
        except AgentError as error:
            raise OSError(error.summary) from None


class Posting:
    """Posts to the origin of `url`; `connect` limits, in seconds, finding and reaching it.

    Raises `voicegw.errors.ConfigError` for what is no address.
    """

    def __init__(self, url: str, *, connect: float = 5.0) -> None:
        self.client = Client(url, connect=connect)

    @asynccontextmanager
    async def __call__(self, request: Request) -> AsyncIterator[Answer]:
        parts = urlsplit(request.url)
        path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        try:
            async with self.client.post(path, request.headers, request.body) as response:
                yield Posted(response)
        except AgentError as error:
            raise OSError(error.summary) from None

    async def aclose(self) -> None:
        """Close every connection."""
        await self.client.aclose()
