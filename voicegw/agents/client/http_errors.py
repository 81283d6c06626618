"""Errors for the refusals of an agent's server, with the server's own words and without secrets.

The shapes of error bodies are in `error_body`. The caller knows which request failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from voicegw.agents.client.error_body import error_from_body, error_from_object, find_error
from voicegw.agents.client.response import HttpResponse
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
    AgentUnavailable,
)
from voicegw.wire.json import loads

MAX_ERROR_BODY_BYTES = 16 * 1024
"""Bytes of an error body that are searched for the server's own words."""
ERROR_BODY_TIMEOUT = 1.0
"""Seconds that an error body gets to arrive."""
MIN_SECRET_CHARS = 6
"""A shorter value is not treated as a secret: hiding it would make messages unreadable."""
CONFLICT_RETRY_DELAYS = (0.02, 0.04, 0.08, 0.16)
"""Seconds before each new attempt while a server answers 409: it still ends the conversation's last turn."""


def error_class(status: int) -> type[AgentError]:
    """Return the error that a status stands for.

    401, 403 and 404 are mistakes in the configuration: another attempt cannot help.
    """
    if status in (401, 403, 404):
        return AgentRejected
    if status in (429, 503):
        return AgentBusy
    if status in (408, 504):
        return AgentTimeout
    return AgentUnavailable if status >= 500 else AgentProtocolError


def error_from_status(url: str, status: int, quote: str) -> AgentError:
    """Return the error for a status: `url` names the agent, `quote` holds the server's own words."""
    return error_class(status)(f"{url} answered {status}", quote)


async def error_from_response(response: HttpResponse, url: str) -> AgentError:
    """Read the body of a refusal and return its error; raises no `AgentError` if the body breaks off.

    The body gets `ERROR_BODY_TIMEOUT` seconds. A compressed one is not read: the client cannot decode it.
    A server that fails at a request which it must not get twice may have acted on it: the error is then no
    `AgentUnavailable`, which would let a fallback agent get the same turn.
    """
    body = await _read_error_body(response)
    words = "" if response.is_compressed else extract_quote(body)
    error = error_from_status(url, response.status, words)
    if type(error) is AgentUnavailable and not response.idempotent:
        return AgentError(error.summary, error.quote)
    return error


async def error_from_wrong_body(
    response: HttpResponse, url: str, error_from: Callable[[Any], AgentError] = error_from_object
) -> AgentError:
    """Return the error for a body of the wrong kind, although the status is a good one.

    It is the error that a JSON body reports, by `error_from`, else an `AgentProtocolError` with the type and
    the words of the body.
    """
    body = await _read_error_body(response)
    try:
        value = loads(body)
    except ValueError:
        value = None
    reported = find_error(value) if isinstance(value, dict | list) else None
    if reported is not None:
        return error_from(reported) if isinstance(reported, dict) else error_from_object(reported)
    words = ": ".join(filter(None, (response.content_type, extract_quote(body))))
    return AgentProtocolError(f"{url} answered with a wrong content type", words)


async def _read_error_body(response: HttpResponse) -> bytes:
    """Return the first `MAX_ERROR_BODY_BYTES` of a body that arrive within `ERROR_BODY_TIMEOUT` seconds."""
    body = bytearray()

    def feed(data: bytes) -> bool:
        body.extend(data)
        return len(body) < MAX_ERROR_BODY_BYTES

    with suppress(AgentError, TimeoutError):
        async with asyncio.timeout(ERROR_BODY_TIMEOUT):
            await response.pump(feed)
    return bytes(body[:MAX_ERROR_BODY_BYTES])


def extract_quote(body: bytes) -> str:
    """Return the server's own words from the first `MAX_ERROR_BODY_BYTES` of an error body."""
    return error_from_body(body[:MAX_ERROR_BODY_BYTES]).quote


def collect_secrets(values: Iterable[str | None]) -> list[str]:
    """Return the values that error messages must not repeat.

    Of a value such as "Bearer abcdef", both the whole and the part after the scheme are secret.
    """
    found = [value for value in values if value]
    found += [rest for value in found for scheme, _, rest in [value.partition(" ")] if scheme.isalnum()]
    return [value for value in found if len(value) >= MIN_SECRET_CHARS]


def redact(error: AgentError, secrets: Iterable[str]) -> None:
    """Replace each of `secrets` in the messages of `error` by "***".

    This includes URL-encoded secrets, and the beginning of one where the quote was cut off.
    """
    hidden = [secret for secret in secrets if len(secret) >= MIN_SECRET_CHARS]
    for secret in sorted(hidden, key=len, reverse=True):  # one secret may contain another
        min_chars = max(MIN_SECRET_CHARS, secret.find(" ") + 2)  # "Bearer" alone is no secret
        for form in (secret, quote(secret, safe="")):
            words = _redact_cut_secret(error.quote.replace(form, "***"), form, min_chars)
            error.redact(error.summary.replace(form, "***"), words)


def _redact_cut_secret(text: str, secret: str, min_chars: int) -> str:
    """Replace the beginning of `secret` at the end of `text` if it has at least `min_chars` characters."""
    sizes = range(min(len(secret), len(text)), min_chars - 1, -1)
    size = next((size for size in sizes if text.endswith(secret[:size])), 0)
    return f"{text[:-size]}***" if size else text
