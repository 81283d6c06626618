"""Hints of `voicegw doctor`: how an operator can mend a failure of an agent. It is pure.

`settings` is always the agent's table in the configuration. It is read by `getattr`, because kinds differ.
"""

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

ANSWERED_STATUS = re.compile(r" answered (\d{3})$")
"""The end of an error's summary that holds the status of the server's answer."""
SELF_HOSTED_KINDS = ("openhands", "hermes", "zeroclaw", "docker-agent")
"""Kinds whose server the operator starts as docs/agents.md shows."""
CONCURRENCY_SETTINGS = {"openhands": "OH_MAX_CONCURRENT_RUNS", "hermes": "max_concurrent_runs"}
"""The setting of the agent's server that limits how many runs it does at a time, by kind."""
PROFILE_PATH = "/api/profiles/"
"""The path of OpenHands' LLM profiles."""
NAME_KEYS = ("model", "agent", "team")
"""Keys of the configuration that name an object on the server."""
CERTIFICATE_EXPIRED_CODE, NAME_MISMATCH_CODES = 10, (62, 64)
"""OpenSSL's numbers for a certificate that has expired, and for one with other names."""


def hint_for(error: BaseException, settings: object) -> str:
    """Return how to mend this error, as a sentence; "" where the error says it, or nothing is known."""
    match = ANSWERED_STATUS.search(getattr(error, "summary", ""))
    status = int(match[1]) if match else 0
    if isinstance(error, ConfigError) or "redirects" in str(error):
        return ""
    if isinstance(error, AgentRejected) and status:
        return _key_hint(settings) if status in (401, 403) else _name_hint(error.summary, settings)
    if isinstance(error, AgentBusy):
        return _busy_hint(settings)
    if isinstance(error, AgentProtocolError):
        return _protocol_hint(settings, status)
    if isinstance(error, (AgentTimeout, TimeoutError)):
        return "See what it waits for; --within gives it longer."
    if isinstance(error, AgentUnavailable) and not status:
        return unreachable_hint(settings)
    return "The log of its server may say more." if getattr(settings, "url", None) else ""


def certificate_hint(verify_code: int) -> str:
    """Return how to mend a certificate that OpenSSL does not trust for the reason `verify_code`."""
    if verify_code == CERTIFICATE_EXPIRED_CODE:
        return "Renew the certificate."
    if verify_code in NAME_MISMATCH_CODES:
        return "Use a host name in `url` that the certificate holds."
    return "Name its certificate, or that of its issuer, in `ca_file`."


def unreachable_hint(settings: object) -> str:
    """Return what to do about a server that does not answer."""
    if _kind(settings) in SELF_HOSTED_KINDS:
        return "Start its server, or correct `url`: docs/agents.md says how."
    if _kind(settings) == "openai":
        return "Start its server, or correct `url`."
    return "Check that this machine can reach it."


def _key_hint(settings: object) -> str:
    variables = [variable for _, variable in getattr(settings, "variables", ())]
    if not variables:
        return "It requires a key: name the environment variable that holds the key in `key_env`."
    return f"It does not accept the key in {' and '.join(variables)}: compare it with the key on its server."


def _name_hint(summary: str, settings: object) -> str:
    if PROFILE_PATH in summary:
        return "Save that LLM profile on its server, as docs/agents.md shows, or correct `profile`."
    keys = [f"`{key}`" for key in NAME_KEYS if getattr(settings, key, None)]
    return f"Its server does not know that name or address: correct {' or '.join(['`url`', *keys])}."


def _busy_hint(settings: object) -> str:
    kind = _kind(settings)
    setting = f" ({CONCURRENCY_SETTINGS[kind]})" if kind in CONCURRENCY_SETTINGS else ""
    return f"It is busy with other turns: try later, or raise its server's limit{setting}."


def _protocol_hint(settings: object, status: int) -> str:
    if status:
        fields = ", or pass on fewer options (`fields`)" if _kind(settings) == "openai" else ""
        return f"It does not accept the request: correct the field that its answer names{fields}."
    is_plain = str(getattr(settings, "url", "")).startswith("http:")
    use_tls = ", or begin `url` with https:// if it speaks TLS" if is_plain else ""
    return f"Its server may be one of another kind: correct `url` or `kind`{use_tls}."


def _kind(settings: object) -> str:
    return str(getattr(settings, "kind", ""))
