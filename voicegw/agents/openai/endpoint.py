"""The HTTP endpoint of a chat-completions server: its addresses and headers, and what its responses are.

It knows no turns: `agent` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from ssl import SSLContext
from urllib.parse import urlsplit

from voicegw.agents.client.http import HttpClient, PendingResponse
from voicegw.agents.client.http_errors import (
    CONFLICT_RETRY_DELAYS,
    MAX_ERROR_BODY_BYTES,
    collect_secrets,
    error_from_response,
    error_from_wrong_body,
)
from voicegw.agents.client.response import HttpResponse
from voicegw.agents.openai.decoder import decode_models
from voicegw.errors import AgentBusy
from voicegw.wire.sse import MAX_EVENT_BYTES

OPENAI_HOSTS = (".openai.com", ".azure.com")
"""The ends of hosts that run OpenAI's own API."""


class ChatEndpoint:
    """The endpoint at `url`; for the arguments see `OpenAIAgent`.

    The constructor raises `ConfigError` if `url` is no address.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None,
        headers: Mapping[str, str],
        stream: bool,
        ssl: SSLContext | None,
        connect_timeout: float,
        idempotent: bool,
    ) -> None:
        parts = urlsplit(url)
        base = parts.path.rstrip("/").removesuffix("/chat/completions")
        query = f"?{parts.query}" if parts.query else ""
        # Its connections.
        self.client = HttpClient(url, ssl=ssl, connect_timeout=connect_timeout)
        # Whether it is OpenAI's own API.
        self.is_openai = (parts.hostname or "").endswith(OPENAI_HOSTS)
        # Its address for messages, without a query, which may hold a key.
        self.url = f"{self.client.origin}{base}/chat/completions"
        # Values that no message may contain.
        self.secrets = collect_secrets((key, *headers.values()))
        self._path = f"{base}/chat/completions{query}"
        self._models_path = f"{base}/models{query}"
        self._idempotent = idempotent
        self._headers = {
            "accept": "text/event-stream, application/json" if stream else "application/json",
            "accept-encoding": "identity",
            "content-type": "application/json",
            **({"authorization": f"Bearer {key}"} if key else {}),
            **{name.lower(): value for name, value in headers.items()},
        }

    def send(
        self, body: bytes, conversation: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[HttpResponse]:
        """Send a request; `async with` gives its response.

        With `conversation`, the header that names one which the server keeps, the request is repeated while
        the server answers 409: it still ends the turn before, and took nothing.
        """
        if conversation is None:
            return self._post(self._headers, body)
        return self._send_until_free({**self._headers, **conversation}, body)

    def _post(self, headers: Mapping[str, str], body: bytes) -> PendingResponse:
        return self.client.post(self._path, headers, body, idempotent=self._idempotent)

    @asynccontextmanager
    async def _send_until_free(self, headers: Mapping[str, str], body: bytes) -> AsyncIterator[HttpResponse]:
        for delay in CONFLICT_RETRY_DELAYS:
            async with self._post(headers, body) as response:
                if response.status != HTTPStatus.CONFLICT:
                    yield response
                    return
                await response.read_start(MAX_ERROR_BODY_BYTES)  # to its end, so that the connection is kept
            await asyncio.sleep(delay)
        async with self._post(headers, body) as response:
            yield response

    async def fetch_models(self) -> tuple[str, ...]:
        """Return the ids of the server's models. Raises the `AgentError` of a refusal or a wrong list."""
        async with self.client.request("GET", self._models_path, self._headers) as response:
            await self.check_status(response)
            return decode_models(await response.read(MAX_EVENT_BYTES))

    async def check_status(self, response: HttpResponse) -> None:
        """Raise the `AgentError` of a status other than 200, with the server's own words."""
        if response.status != HTTPStatus.OK:
            error = await error_from_response(response, self.url)
            if response.status == HTTPStatus.CONFLICT:
                raise AgentBusy(error.summary, error.quote)
            raise error

    async def is_stream(self, response: HttpResponse) -> bool:
        """Whether the response is a stream: by its type, else by its first bytes.

        Raises the error of `error_from_wrong_body` for another body whose type is not JSON.
        """
        if await response.is_event_stream():
            return True
        if response.content_type.endswith("json") or not response.content_type:
            return False
        raise await error_from_wrong_body(response, self.url)
