"""Models on Amazon Bedrock, by ConverseStream: signed HTTP there, binary frames back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import suppress
from email.utils import parsedate_to_datetime
from ssl import SSLContext
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, urlsplit

from voicegw.agents.bedrock.decoder import ConverseDecoder, meaning, named
from voicegw.agents.bedrock.eventstream import EventStreamParser
from voicegw.agents.bedrock.request import encode_request
from voicegw.agents.bedrock.sigv4 import Credentials, Signer
from voicegw.agents.client.http import HttpClient, HttpResponse
from voicegw.agents.client.http_errors import error_from_response, redact, secrets
from voicegw.errors import AgentError, AgentProtocolError, ConfigError
from voicegw.events import Event, Turn
from voicegw.wire.json import dumps

CLOUDS = {
    "cn-": "amazonaws.com.cn",
    "eusc-": "amazonaws.eu",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
}
"""How the regions begin that have a domain of their own, and which."""
STREAM = "application/vnd.amazon.eventstream"
SERVICE = "bedrock"
TAIL = 1.0
"""Seconds that the count of tokens may come after the end of the answer."""

SKEW = 240.0
"""Seconds that our clock may be off before we say so; after 300 a signature is refused."""

Latency: TypeAlias = Literal["standard", "optimized"]
Tier: TypeAlias = Literal["default", "priority", "flex", "reserved"]


class BedrockAgent:
    """The `model` in a region; closing a reply closes its connection, which ends it.

    `model` is an id, an inference profile or an ARN. We are known by `credentials`, with which each request
    is signed, or by a `key` of Bedrock's own. `url` is another endpoint, such as one inside a VPC. `latency`
    and `tier` ask for faster answers where the model has them, `cache` says up to where it may remember what
    it read ("system", "tools"). `sampling` passes on temperature or `top_p`, which newer models refuse.
    `connect` is in seconds. `now` must be right to a few minutes: it is signed.
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
        sampling: bool = False,
        ssl: SSLContext | None = None,
        connect: float = 5.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        if (key is None) == (credentials is None):
            raise ConfigError("Bedrock needs either a key of its own or an access key with its secret")
        address = url or endpoint(region)
        self._client = HttpClient(address, ssl=ssl, connect=connect)
        self._host = urlsplit(self._client.origin).netloc
        self._path = f"{urlsplit(address).path.rstrip('/')}/model/{quote(model, safe='')}/converse-stream"
        self._signer = None if credentials is None else Signer(credentials, region, SERVICE)
        self._now = now
        self._latency = latency
        self._tier = tier
        self._cache = frozenset(cache)
        self._sampling = sampling
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
        frames, decoder = EventStreamParser(), ConverseDecoder(turn.id)
        body = dumps(self._request(turn))
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
                redact(error, self._secrets)
                raise
        for event in decoder.end():
            yield event

    async def _count(
        self, response: HttpResponse, frames: EventStreamParser, decoder: ConverseDecoder
    ) -> None:
        """Give the count of tokens, which follows the answer, time to arrive."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TAIL):
                while not decoder.done and (data := await anext(response, b"")):
                    for frame in frames.feed(data):
                        decoder.feed(frame)
        response.discard_rest()

    async def warm(self, call: str | None = None) -> None:
        """Have a connection ready. Raises `AgentUnavailable` when the endpoint cannot be reached."""
        await self._client.prewarm(1)

    async def call_ended(self, call: str) -> None:
        """Nothing is kept for a call."""

    async def aclose(self) -> None:
        await self._client.aclose()

    def _request(self, turn: Turn) -> dict[str, Any]:
        return encode_request(
            turn, latency=self._latency, tier=self._tier, cache=self._cache, sampling=self._sampling
        )

    def _signed(self, body: bytes) -> dict[str, str]:
        """The headers of a request. What a proxy may change is not signed."""
        if self._signer is None:
            return self._headers
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._now()))
        signed = {"host": self._host, "content-type": self._headers["content-type"]}
        return self._headers | self._signer.sign(stamp, "POST", self._path, signed, body)

    async def _check(self, response: HttpResponse) -> None:
        """Raise what another answer than a stream means, with Bedrock's own words."""
        if response.status != 200:
            error = await error_from_response(response, self._where)
            name = named(response.headers.get("x-amzn-errortype", ""))
            summary = f"{error.summary} ({name})" if name else error.summary
            raise meaning(name, type(error))(summary + self._skew(response), error.quote)
        kind = response.headers.get("content-type", STREAM).partition(";")[0].strip().lower()
        if kind != STREAM:
            raise AgentProtocolError(f"{self._where} answered with {kind!r}")

    def _skew(self, response: HttpResponse) -> str:
        """What to say if we are refused and our clock is wrong: a signature is good for minutes only."""
        if self._signer is None or response.status not in (400, 403):
            return ""
        try:
            theirs = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
        except ValueError:
            return ""
        off = self._now() - theirs
        which = "ahead" if off > 0 else "behind"
        return f"; the clock of this machine is {abs(off):.0f} s {which}" if abs(off) > SKEW else ""

    @property
    def _where(self) -> str:
        return f"{self._client.origin}{self._path}"


def endpoint(region: str) -> str:
    """Where Bedrock answers in a region."""
    cloud = next((cloud for start, cloud in CLOUDS.items() if region.startswith(start)), "amazonaws.com")
    return f"https://bedrock-runtime.{region}.{cloud}"
