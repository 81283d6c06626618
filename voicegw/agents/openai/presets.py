"""Agents for servers with an OpenAI-compatible API and limits that are known."""

from __future__ import annotations

from ssl import SSLContext
from urllib.parse import urlsplit, urlunsplit

from voicegw.agents.openai.agent import OpenAIAgent

CONVERSATION_HEADER = "x-conversation-id"


def make_docker_chat(
    url: str,
    *,
    key: str | None = None,
    agent: str | None = None,
    keep_conversations: bool = False,
    ssl: SSLContext | None = None,
    connect_timeout: float = 5.0,
    idempotent: bool = False,
) -> OpenAIAgent:
    """Return the agent for `docker agent serve chat` at `url`; images are not sent.

    `agent` is a member of its team; if it is None, a turn may name one. `connect_timeout` is in seconds.
    `idempotent`: a turn may be sent twice without harm.

    By default every turn brings the whole conversation. Set `keep_conversations` for a server that runs with
    `--conversations-max`: it keeps the conversation of each call, but not the turns that were interrupted.
    The token counts of a turn are those of the server's last request to its model.

    Raises `ConfigError` if `url` is no address.
    """
    return OpenAIAgent(
        _with_v1(url),
        key=key,
        model=agent,
        fields=frozenset({"stream_options"}),
        ssl=ssl,
        connect_timeout=connect_timeout,
        idempotent=idempotent,
        text_only=True,
        tools_run_by="server",
        conversation_header=CONVERSATION_HEADER if keep_conversations else None,
        list_models=agent is None,
    )


def make_zeroclaw_chat(
    url: str,
    *,
    key: str | None = None,
    agent: str = "default",
    ssl: SSLContext | None = None,
    connect_timeout: float = 5.0,
    idempotent: bool = False,
) -> OpenAIAgent:
    """Return the agent for the OpenAI-compatible API that some builds of ZeroClaw have, at `url`.

    These builds refuse a request with unknown fields, so it has only the necessary ones. Every turn brings
    the whole conversation. After the connection closes, ZeroClaw stops at its next output.
    `connect_timeout` is in seconds. `idempotent`: a turn may be sent twice without harm.

    Raises `ConfigError` if `url` is no address.
    """
    return OpenAIAgent(
        _with_v1(url),
        key=key,
        model=f"zeroclaw/{agent}",
        fields=frozenset(),
        ssl=ssl,
        connect_timeout=connect_timeout,
        idempotent=idempotent,
        text_only=True,
        tools_run_by="server",
    )


def _with_v1(url: str) -> str:
    """Append the `/v1` under which these APIs are, unless `url` has it."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if not path.endswith(("/v1", "/chat/completions")):
        path += "/v1"
    return urlunsplit(parts._replace(path=path))
