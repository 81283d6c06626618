"""The agent for models on Amazon Bedrock, by ConverseStream: signed HTTP there, binary messages back.

It knows no bytes: `request`, `decoder`, `eventstream` and `sigv4` do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from ssl import SSLContext
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, urlsplit

from voicegw.agents.bedrock.decoder import (
    ConverseDecoder,
    error_class_for,
    error_from_value,
    parse_error_name,
)
from voicegw.agents.bedrock.eventstream import EventStreamParser
from voicegw.agents.bedrock.request import encode_request
from voicegw.agents.bedrock.sigv4 import Credentials, Signer
from voicegw.agents.client.http import HttpClient
from voicegw.agents.client.http_errors import (
    collect_secrets,
    error_from_response,
    error_from_wrong_body,
    redact,
)
from voicegw.agents.client.response import HttpResponse
from voicegw.agents.finish_reasons import AnswerState
from voicegw.errors import AgentError, ConfigError
from voicegw.events import Turn
from voicegw.turns.streaming import EventSink, StreamingAgent, push_rest
from voicegw.wire.json import dumps

DOMAINS = {
    "cn-": "amazonaws.com.cn",
    "eusc-": "amazonaws.eu",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
}
"""The beginnings of regions outside `amazonaws.com`, and their domains."""
EVENT_STREAM = "application/vnd.amazon.eventstream"
SERVICE = "bedrock"
MAX_CLOCK_SKEW = 240.0
"""Seconds by which the clock may be off before an error says so; after 300, AWS refuses a signature."""

Latency: TypeAlias = Literal["standard", "optimized"]
Tier: TypeAlias = Literal["default", "priority", "flex", "reserved"]


class BedrockAgent(StreamingAgent):
    """The `model` in a region; closing a reply closes its connection, which ends the answer.

    `model` is an id, an inference profile or an ARN. Requests are signed with `credentials`, or carry `key`,
    an API key of Bedrock. `url` replaces the region's endpoint, such as by one inside a VPC. `latency` and
    `tier` ask for faster answers where the model has them. `cache` names the parts that end at a cache point
    ("system", "tools"). `sampling` passes on `temperature` or `top_p`, which newer models refuse.
    `extra_body` are further fields of each request. `ssl` replaces the system's certificate authorities.
    `connect_timeout` is in seconds. `now` returns the time in seconds since 1970; it is signed and must be
    right to a few minutes. `idempotent`: a turn may be sent twice without harm.

    The constructor raises `ConfigError` unless exactly one of `key` and `credentials` is given, or if `url`
    is no address.
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
        extra_body: Mapping[str, Any] | None = None,
        ssl: SSLContext | None = None,
        connect_timeout: float = 5.0,
        idempotent: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        if (key is None) == (credentials is None):
            raise ConfigError("Bedrock needs either an API key or an access key with its secret")
        base = url or endpoint_url(region)
        self._client = HttpClient(base, ssl=ssl, connect_timeout=connect_timeout)
        self._host = urlsplit(self._client.origin).netloc
        self._path = f"{urlsplit(base).path.rstrip('/')}/model/{quote(model, safe='')}/converse-stream"
        self._signer = None if credentials is None else Signer(credentials, region, SERVICE)
        self._now = now
        self._idempotent = idempotent
        self._latency = latency
        self._tier = tier
        self._cache = frozenset(cache)
        self._sampling = sampling
        self._extra_body = extra_body
        self._secrets = collect_secrets(
            (credentials.secret_key, credentials.session_token) if credentials else (key,)
        )
        self._headers = {
            "accept": EVENT_STREAM,
            "accept-encoding": "identity",
            "content-type": "application/json",
            **({"authorization": f"Bearer {key}"} if key else {}),
        }

    async def stream(self, turn: Turn, sink: EventSink) -> None:
        """Ask for an answer to `turn` and push its events as they arrive.

        Raises the `AgentError` of the client, of a refusal, or that Bedrock reports, and `AgentProtocolError`
        if the answer breaks off before its end.
        """
        decoder = ConverseDecoder(turn.id)
        body = dumps(self._request_body(turn))
        try:
            headers = self._request_headers(body)
            async with self._client.post(self._path, headers, body, idempotent=self._idempotent) as response:
                await self._check_response(response)
                feed = partial(_feed, response, EventStreamParser(), decoder, sink)
                if not (await response.pump(feed) or decoder.done):
                    return
        except AgentError as error:
            if decoder.state is not AnswerState.ENDED:  # an error after the end of the answer loses nothing
                redact(error, self._secrets)
                raise
        push_rest(decoder.end(), sink)

    async def warm(self, call: str | None = None) -> None:
        """Open a connection. Raises `AgentUnavailable` if the endpoint cannot be reached."""
        await self._client.prewarm(1)

    async def call_ended(self, call: str) -> None:
        """Do nothing: the agent keeps nothing for a call."""

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    def _request_body(self, turn: Turn) -> dict[str, Any]:
        return encode_request(
            turn,
            latency=self._latency,
            tier=self._tier,
            cache=self._cache,
            sampling=self._sampling,
            extra_body=self._extra_body,
        )

    def _request_headers(self, body: bytes) -> dict[str, str]:
        """Return the headers of a request. Those that a proxy may change are not signed."""
        if self._signer is None:
            return self._headers
        timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._now()))
        signed = {"host": self._host, "content-type": self._headers["content-type"]}
        return self._headers | self._signer.sign(timestamp, "POST", self._path, signed, body)

    async def _check_response(self, response: HttpResponse) -> None:
        """Raise the error of a response that is no stream, with Bedrock's own words."""
        if response.status != HTTPStatus.OK:
            error = await error_from_response(response, self._url)
            name = parse_error_name(response.headers.get("x-amzn-errortype", ""))
            summary = f"{error.summary} ({name})" if name else error.summary
            raise error_class_for(name, type(error))(summary + self._skew_hint(response), error.quote)
        if response.content_type not in ("", EVENT_STREAM):
            name = parse_error_name(response.headers.get("x-amzn-errortype", ""))
            raise await error_from_wrong_body(response, self._url, partial(error_from_value, name))

    def _skew_hint(self, response: HttpResponse) -> str:
        """Return a hint if a signature was refused and the clock is wrong: it is valid for minutes only."""
        if self._signer is None or response.status not in (400, 403):
            return ""
        try:
            server_time = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
        except ValueError:
            return ""
        skew = self._now() - server_time
        direction = "ahead" if skew > 0 else "behind"
        if abs(skew) <= MAX_CLOCK_SKEW:
            return ""
        return f"; the clock of this machine is {abs(skew):.0f} s {direction}"

    @property
    def _url(self) -> str:
        return f"{self._client.origin}{self._path}"


def endpoint_url(region: str) -> str:
    """Return the URL of Bedrock's endpoint in a region."""
    domain = next((domain for start, domain in DOMAINS.items() if region.startswith(start)), "amazonaws.com")
    return f"https://bedrock-runtime.{region}.{domain}"


def _feed(
    response: HttpResponse, parser: EventStreamParser, decoder: ConverseDecoder, sink: EventSink, data: bytes
) -> bool:
    """Push the events that `data` completes. Return False if no more of the body is needed."""
    for message in parser.feed(data):
        for event in decoder.feed(message):
            if not sink.push(event):
                return False
    sink.flush()
    if decoder.done:
        response.discard_rest()
        return False
    response.expect_end(decoder.state, restart=False)  # only the token usage follows
    return True
