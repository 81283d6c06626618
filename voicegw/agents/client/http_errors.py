"""What an agent's refusals mean, with its own words and without our secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import quote

from voicegw.agents.client.error_body import error_from_body
from voicegw.agents.client.http import HttpResponse
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
    AgentUnavailable,
)

COMPLAINT = 16 * 1024
"""Bytes of an error body that are looked at for the server's own words."""
PATIENCE = 1.0
"""Seconds that an error body gets to arrive."""
SECRET = 6
"""Characters from which on a value counts as a secret in error messages."""


def error_class(status: int) -> type[AgentError]:
    """401, 403 and 404 are the operator's mistake: asking again cannot help."""
    if status in (401, 403, 404):
        return AgentRejected
    if status in (429, 503):
        return AgentBusy
    if status in (408, 504):
        return AgentTimeout
    return AgentUnavailable if status >= 500 else AgentProtocolError


def error_from_status(where: str, status: int, said: str) -> AgentError:
    """What a status means, in words that name the agent, and with what it said."""
    return error_class(status)(f"{where} answered {status}", said)


async def error_from_response(response: HttpResponse, where: str) -> AgentError:
    """What an answer means that is not the one that was wanted: its status counts, whatever its body does."""
    body = bytearray()
    with suppress(AgentError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            async for data in response:
                body += data
                if len(body) >= COMPLAINT:
                    break
    said = "" if response.compressed else words(bytes(body))
    return error_from_status(where, response.status, said)


def words(body: bytes) -> str:
    """The server's own words in an error body, as far as they are looked at."""
    return error_from_body(body[:COMPLAINT]).quote


def secrets(values: Iterable[str | None]) -> list[str]:
    """Those of these values that must not be repeated, and what in them follows a word such as "Bearer"."""
    found = [value for value in values if value]
    found += [rest for value in found for scheme, _, rest in [value.partition(" ")] if scheme.isalnum()]
    return [value for value in found if len(value) >= SECRET]


def redact(error: AgentError, secrets: Iterable[str]) -> None:
    """Keep our secrets out of what a server says back to us, also where it was cut in the middle of one."""
    for secret in sorted((secret for secret in secrets if len(secret) >= SECRET), key=len, reverse=True):
        least = max(SECRET, secret.find(" ") + 2)  # a word such as "Bearer" alone is none
        for form in (secret, quote(secret, safe="")):
            said = _uncut(error.quote.replace(form, "***"), form, least)
            error.redact(error.summary.replace(form, "***"), said)


def _uncut(text: str, secret: str, least: int) -> str:
    """The text without the beginning of a secret at its end, if that has `least` characters."""
    sizes = range(min(len(secret), len(text)), least - 1, -1)
    size = next((size for size in sizes if text.endswith(secret[:size])), 0)
    return f"{text[:-size]}***" if size else text
