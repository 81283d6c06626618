"""Models on Amazon Bedrock, by ConverseStream: signed HTTP there, binary frames back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import suppress
from ssl import SSLContext
from typing import Literal, TypeAlias
from urllib.parse import quote, urlsplit

from voicegw.agents.complaints import complaint, hush, secrets
from voicegw.agents.http import Client, Response
from voicegw.errors import AgentError, AgentGarbled, ConfigError
from voicegw.events import Event, Turn
from voicegw.wire.converse import request
from voicegw.wire.converse_events import Decoder, meaning, named
from voicegw.wire.eventstream import Frames
from voicegw.wire.json import dumps
from voicegw.wire.sigv4 import Credentials, Signer

STREAM = "application/vnd.amazon.eventstream"
SERVICE = "bedrock"
TAIL = 1.0
"""Seconds that the count of tokens may come after the end of the answer."""

Latency: TypeAlias = Literal["standard", "optimized"]
Tier: TypeAlias = Literal["default", "priority", "flex", "reserved"]


class Bedrock:
    """The `model` in a region; closing a reply closes its connection, which ends it.

    `model` is an id, an inference profile or an ARN. We are known by `credentials`, with which each request
    is signed, or by a `key` of Bedrock's own. `url` is another endpoint, such as one inside a VPC. `latency`
    and `tier` ask for faster answers where the model has them, `cache` says up to where it may remember what
    it read ("system", "tools"). `connect` is in seconds. `now` must be right to a few minutes: it is signed.
    """

    def __init__(
        self,
        region: str,
        model: str,
        *,
        key: str | None = None,
        credentials: Credentials | None = None,
        url: str | None = None,
        latency: Latency | None = None,
        tier: Tier | None = None,
        cache: Collection[Literal["system", "tools"]] = (),
        ssl: SSLContext | None = None,
        connect: float = 5.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        if (key is None) == (credentials is None):
            raise ConfigError("Bedrock needs either a key of its own or an access key with its secret")
        address = url or endpoint(region)
        self._client = Client(address, ssl=ssl, connect=connect)
        self._host = urlsplit(self._client.origin).netloc
        self._path = f"{urlsplit(address).path.rstrip('/')}/model/{quote(model, safe='')}/converse-stream"
        self._signer = None if credentials is None else Signer(credentials, region, SERVICE)
        self._now = now
        self._latency = latency
        self._tier = tier
        self._cache = frozenset(cache)
        known = (credentials.secret_key, credentials.session_token) if credentials else (key,)
        self._secrets = secrets(known)
        self._headers = {
            "accept": STREAM,
            "accept-encoding": "identity",
            "content-type": "application/json",
            **({"authorization": f"Bearer {key}"} if key else {}),
        }

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Ask for an answer and give its events as they come."""
        frames, decoder = Frames(), Decoder(turn.id)
        body = dumps(request(turn, latency=self._latency, tier=self._tier, cache=self._cache))
        try:
            async with self._client.post(self._path, self._signed(body), body) as response:
                await self._check(response)
                async for data in response:
                    for frame in frames.feed(data):
                        for event in decoder.feed(frame):
                            yield event
                    if decoder.complete:
                        await self._count(response, frames, decoder)
                        break
        except AgentError as error:
            if not decoder.complete:  # what goes wrong after the end of the answer takes nothing away
                hush(error, self._secrets)
                raise
        for event in decoder.end():
            yield event

    async def _count(self, response: Response, frames: Frames, decoder: Decoder) -> None:
        """Give the count of tokens, which follows the answer, time to arrive."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TAIL):
                while not decoder.done and (data := await anext(response, b"")):
                    for frame in frames.feed(data):
                        decoder.feed(frame)
        response.over()

    async def warm(self, call: str | None = None) -> None:
        """Have a connection ready. Raises `AgentUnavailable` when the endpoint cannot be reached."""
        await self._client.prewarm(1)

    async def leave(self, call: str) -> None:
        """Nothing is kept for a call."""

    async def aclose(self) -> None:
        await self._client.aclose()

    def _signed(self, body: bytes) -> dict[str, str]:
        """The headers of a request. What a proxy may change is not signed."""
        if self._signer is None:
            return self._headers
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._now()))
        signed = {"host": self._host, "content-type": self._headers["content-type"]}
        return self._headers | self._signer.sign(stamp, "POST", self._path, signed, body)

    async def _check(self, response: Response) -> None:
        """Raise what another answer than a stream means, with Bedrock's own words."""
        if response.status != 200:
            error = await complaint(response, self._where)
            name = named(response.headers.get("x-amzn-errortype", ""))
            summary = f"{error.summary} ({name})" if name else error.summary
            raise meaning(name, type(error))(summary, error.quote)
        kind = response.headers.get("content-type", STREAM).partition(";")[0].strip().lower()
        if kind != STREAM:
            raise AgentGarbled(f"{self._where} answered with {kind!r}")

    @property
    def _where(self) -> str:
        return f"{self._client.origin}{self._path}"


def endpoint(region: str) -> str:
    """Where Bedrock answers in a region."""
    cloud = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://bedrock-runtime.{region}.{cloud}"
