"""What an operator can do about an agent that failed its checkup. Pure."""

from __future__ import annotations

import re

from voicegw.errors import (
    AgentBusy,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
    AgentUnavailable,
    ConfigError,
)

ANSWERED = re.compile(r" answered (\d{3})$")
"""How our errors tell the status that a server answered with."""
SERVERS = ("openhands", "hermes", "zeroclaw", "docker-agent")
"""Kinds whose servers the operator starts as docs/agents.md says."""
ROOM = {"openhands": "OH_MAX_CONCURRENT_RUNS", "hermes": "max_concurrent_runs"}
"""By which settings of their own servers do more at a time."""
PROFILE = "/api/profiles/"
"""Where OpenHands has its LLM profiles."""
NAMES = ("model", "agent", "team")
"""Keys that name something on a server."""
EXPIRED, HOSTS = 10, (62, 64)
"""OpenSSL's numbers for a certificate that is too old, and for one with other names."""


def hint(error: BaseException, table: object) -> str:
    """What to do about an error of a checkup, as a sentence; "" where it says so itself.

    `table` is that of the agent in the configuration.
    """
    status = int(found[1]) if (found := ANSWERED.search(getattr(error, "summary", ""))) else 0
    if isinstance(error, ConfigError) or "redirects" in str(error):
        return ""
    if isinstance(error, AgentRejected) and status:
        return _wrong_key(table) if status in (401, 403) else _wrong_name(error.summary, table)
    if isinstance(error, AgentBusy):
        return _no_room(table)
    if isinstance(error, AgentProtocolError):
        return _not_understood(table, status)
    if isinstance(error, (AgentTimeout, TimeoutError)):
        return "See what it waits for; --within gives it longer."
    if isinstance(error, AgentUnavailable) and not status:
        return unreachable(table)
    return "The log of its server may say more." if getattr(table, "url", None) else ""


def untrusted(number: int) -> str:
    """What to do about a certificate that is not trusted, by OpenSSL's number for why."""
    if number == EXPIRED:
        return "Renew the certificate."
    if number in HOSTS:
        return "Let `url` name its server as the certificate does."
    return "Name its certificate, or that of who signed it, in `ca_file`."


def unreachable(table: object) -> str:
    """What to do where nobody answers."""
    if _kind(table) in SERVERS:
        return "Start its server, or correct `url`: docs/agents.md says how."
    if _kind(table) == "openai":
        return "Start its server, or correct `url`."
    return "See that it can be reached from here."


def _wrong_key(table: object) -> str:
    variables = [variable for _, variable in getattr(table, "variables", ())]
    if not variables:
        return "It wants a key: let `key_env` name the environment variable that holds it."
    return f"It does not take the key in {' and '.join(variables)}: compare it with the one that it knows."


def _wrong_name(summary: str, table: object) -> str:
    if PROFILE in summary:
        return "Save that LLM profile on its server, as docs/agents.md shows, or correct `profile`."
    named = [f"`{key}`" for key in NAMES if getattr(table, key, None)]
    return f"Its server knows no such thing: correct {' or '.join(['`url`', *named])}."


def _no_room(table: object) -> str:
    setting = f" ({ROOM[_kind(table)]})" if _kind(table) in ROOM else ""
    return f"It had no room for one more: try later, or let its server do more at a time{setting}."


def _not_understood(table: object, status: int) -> str:
    if status:
        fields = ", or pass on fewer options (`fields`)" if _kind(table) == "openai" else ""
        return f"It does not take what it is asked: correct what its answer names{fields}."
    plain = str(getattr(table, "url", "")).startswith("http:")
    secure = ", or begin `url` with https:// if it speaks TLS" if plain else ""
    return f"Its server may be one of another kind: correct `url` or `kind`{secure}."


def _kind(table: object) -> str:
    return str(getattr(table, "kind", ""))
