"""What an agent's refusals mean, with its own words and without our secrets."""

from __future__ import annotations

from collections.abc import Iterable

from voicegw.agents.http import Response
from voicegw.errors import AgentBusy, AgentError, AgentGarbled, AgentRefused, AgentTimeout, AgentUnavailable
from voicegw.wire.upstream import failure

COMPLAINT = 16 * 1024
"""Bytes of an error body that are looked at for the server's own words."""
SECRET = 6
"""Characters from which on a value counts as a secret in error messages."""


def kind(status: int) -> type[AgentError]:
    """401, 403 and 404 are the operator's mistake: asking again cannot help."""
    if status in (401, 403, 404):
        return AgentRefused
    if status in (429, 503):
        return AgentBusy
    if status in (408, 504):
        return AgentTimeout
    return AgentUnavailable if status >= 500 else AgentGarbled


async def complaint(response: Response, where: str) -> AgentError:
    """What an answer means that is not the one that was wanted."""
    said = failure(await response.beginning(COMPLAINT))
    return kind(response.status)(f"{where} answered {response.status}", said.quote)


def secrets(values: Iterable[str | None]) -> list[str]:
    """Those of these values that must not be repeated."""
    return [value for value in values if value and len(value) >= SECRET]


def hush(error: AgentError, secrets: Iterable[str]) -> None:
    """Keep our secrets out of what a server says back to us."""
    for secret in secrets:
        error.summary = error.summary.replace(secret, "***")
        error.quote = error.quote.replace(secret, "***")
    error.args = (f"{error.summary}: {error.quote}" if error.quote else error.summary,)
