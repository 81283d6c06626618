"""An agent's HTTP interface: JSON both ways, refusals as errors of ours, and no secret in any of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Container, Mapping
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any
from urllib.parse import urlsplit

from voicegw.agents.client.http import HttpClient, HttpResponse
from voicegw.agents.client.http_errors import error_from_response, redact, secrets
from voicegw.errors import AgentError, AgentProtocolError
from voicegw.wire.json import dumps, loads

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Bytes of a JSON answer."""
STREAM = "text/event-stream"


class JsonApi:
    """The interface below `url`. `headers` go with every request; what they hold counts as secret.

    Raises `AgentError`: what a status that was not wanted means, with the server's own words.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        ssl: SSLContext | None = None,
        connect: float = 5.0,
    ) -> None:
        self.base = urlsplit(url).path.rstrip("/")
        self.client = HttpClient(url, ssl=ssl, connect=connect)
        self.secrets = secrets(headers.values())
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
        retry: bool = True,
        **headers: str,
    ) -> AsyncIterator[HttpResponse]:
        """Send `value` as JSON and give the answer, which has a status of 2xx or one that is `fine`.

        Leaving before the end of the body hangs up. What breaks inside is reported without our secrets too.
        A kept connection that was dead is replaced, unless the agent must not be asked `again`.
        """
        body = b"" if value is None else dumps(value)
        more = self._headers | {name.replace("_", "-").lower(): text for name, text in headers.items()}
        try:
            async with self.client.request(method, self.base + path, more, body, retry=retry) as response:
                if not 200 <= response.status < 300 and response.status not in allow_status:
                    raise await error_from_response(response, self.where(path))
                yield response
        except AgentError as error:
            redact(error, self.secrets)
            raise

    async def call(
        self,
        method: str,
        path: str,
        value: Any = None,
        *,
        allow_status: Container[int] = (),
        retry: bool = True,
    ) -> Any:
        """Send `value` and give the JSON that comes back; None if nothing does, or the status was `fine`."""
        async with self.request(method, path, value, allow_status=allow_status, retry=retry) as response:
            body = await response.read(MAX_ANSWER_BYTES)
            if not body.strip() or not 200 <= response.status < 300:
                return None
            try:
                return loads(body)
            except ValueError:
                raise AgentProtocolError(
                    f"{self.where(path)} answered with something that is no JSON"
                ) from None

    def stream(self, response: HttpResponse, path: str) -> None:
        """Raise `AgentProtocolError` if an answer is something else than a stream of events, and says so."""
        kind = response.headers.get("content-type", STREAM).partition(";")[0].strip().lower()
        if kind != STREAM:
            raise AgentProtocolError(f"{self.where(path)} answered with {kind!r}")

    def where(self, path: str) -> str:
        """The address of something, for messages."""
        return f"{self.client.origin}{self.base}{path.partition('?')[0]}"
