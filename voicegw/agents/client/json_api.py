"""An agent's HTTP API: JSON both ways, refusals as `AgentError`, and no secret in any message.

It knows neither paths nor the meaning of values: each agent does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Container, Mapping
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any
from urllib.parse import urlsplit

from voicegw.agents.client.error_body import error_from_object
from voicegw.agents.client.http import HttpClient
from voicegw.agents.client.http_errors import (
    collect_secrets,
    error_from_response,
    error_from_wrong_body,
    extract_quote,
    redact,
)
from voicegw.agents.client.response import HttpResponse
from voicegw.errors import AgentError, AgentProtocolError
from voicegw.wire.json import dumps, loads_lossy

MAX_RESPONSE_BYTES = 16 * 1024 * 1024
"""Bytes of a JSON response; a longer one raises `AgentProtocolError`."""


class JsonApi:
    """The API below `url`, whose `headers` go with every request; their values count as secrets.

    `connect_timeout` is in seconds; `ssl` replaces the system's certificate authorities. `client` is the HTTP
    client, which the owner closes; `base_path` the path of `url`; `secrets` what messages must not repeat.

    The constructor raises `ConfigError` if `url` is no address.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        ssl: SSLContext | None = None,
        connect_timeout: float = 5.0,
    ) -> None:
        self.base_path = urlsplit(url).path.rstrip("/")
        self.client = HttpClient(url, ssl=ssl, connect_timeout=connect_timeout)
        self.secrets = collect_secrets(headers.values())
        self._headers = {
            "accept-encoding": "identity",
            "content-type": "application/json",
            **{name.lower(): value for name, value in headers.items()},
        }

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        value: Any = None,
        *,
        allow_status: Container[int] = (),
        idempotent: bool = False,
        **headers: str,
    ) -> AsyncIterator[HttpResponse]:
        """Send `value` as JSON (None: no body) and give the response, whose body is not read yet.

        The status of the response is 2xx or in `allow_status`. `headers` are further ones, such as
        `x_name="a"` for `x-name: a`. Leaving before the end of the body closes the connection. `idempotent`:
        see `HttpClient.request`.

        Raises the `AgentError` of any other status, with the server's own words, and what `HttpClient`
        raises. No `AgentError` that leaves the block, the reader's included, quotes one of `secrets`.
        """
        body = b"" if value is None else dumps(value)
        more = self._headers | {name.replace("_", "-").lower(): text for name, text in headers.items()}
        try:
            async with self.client.request(
                method, self.base_path + path, more, body, idempotent=idempotent
            ) as response:
                if not 200 <= response.status < 300 and response.status not in allow_status:
                    raise await error_from_response(response, self.url_for(path))
                yield response
        except AgentError as error:
            redact(error, self.secrets)
            raise

    async def request_json(
        self,
        method: str,
        path: str,
        value: Any = None,
        *,
        allow_status: Container[int] = (),
        idempotent: bool = False,
    ) -> Any:
        """Send `value` and return the JSON of the response; None if it is empty or its status is not 2xx.

        Raises what `request` raises, and `AgentProtocolError` if the response is no JSON or exceeds
        `MAX_RESPONSE_BYTES`.
        """
        async with self.request(
            method, path, value, allow_status=allow_status, idempotent=idempotent
        ) as response:
            body = await response.read(MAX_RESPONSE_BYTES)
            if not body.strip() or not 200 <= response.status < 300:
                return None
            try:
                return loads_lossy(body)
            except ValueError:
                raise AgentProtocolError(
                    f"{self.url_for(path)} answered with something that is no JSON", extract_quote(body)
                ) from None

    async def check_event_stream(
        self,
        response: HttpResponse,
        path: str,
        error_from: Callable[[Any], AgentError] = error_from_object,
    ) -> None:
        """Raise an error if the response to `path` is no event stream; see `error_from_wrong_body`.

        A body that looks like one is accepted under every type, because servers and proxies name wrong ones.
        """
        if not await response.is_event_stream():
            raise await error_from_wrong_body(response, self.url_for(path), error_from)

    def url_for(self, path: str) -> str:
        """Return the URL of `path` for messages, without its query."""
        return f"{self.client.origin}{self.base_path}{path.partition('?')[0]}"
