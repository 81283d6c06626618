"""Agent systems with an OpenAI-compatible surface, and what each of them makes of it."""

from __future__ import annotations

from ssl import SSLContext
from urllib.parse import urlsplit, urlunsplit

from voicegw.agents.openai.agent import OpenAIAgent

CONVERSATION = "x-conversation-id"


def docker_chat(
    url: str,
    *,
    key: str | None = None,
    agent: str | None = None,
    conversations: bool = False,
    ssl: SSLContext | None = None,
    connect: float = 5.0,
) -> OpenAIAgent:
    """`docker agent serve chat` at `url`. `agent` is one of its team; without, a turn may name one.

    By default every turn brings the whole conversation. `conversations` is for a server that runs with
    `--conversations-max`: it keeps those of calls, but forgets the turns that were interrupted. Its counts of
    tokens are those of the last time that it asked its model. Images stay behind.
    """
    return OpenAIAgent(
        _v1(url),
        key=key,
        model=agent,
        fields=frozenset({"stream_options"}),
        ssl=ssl,
        connect=connect,
        plain=True,
        calls="doing",
        keeps=CONVERSATION if conversations else None,
        listing=agent is None,
    )


def zeroclaw_chat(
    url: str,
    *,
    key: str | None = None,
    agent: str = "default",
    ssl: SSLContext | None = None,
    connect: float = 5.0,
) -> OpenAIAgent:
    """The OpenAI-compatible surface that some builds of ZeroClaw have, at `url`.

    They refuse fields of a request that they do not know, so it gets the fewest, and every turn brings
    the whole conversation. Closing the connection stops the agent when it says the next thing.
    """
    return OpenAIAgent(
        _v1(url),
        key=key,
        model=f"zeroclaw/{agent}",
        fields=frozenset(),
        ssl=ssl,
        connect=connect,
        plain=True,
        calls="doing",
    )


def _v1(url: str) -> str:
    """The address with the `/v1` that these surfaces are under."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if not path.endswith(("/v1", "/chat/completions")):
        path += "/v1"
    return urlunsplit(parts._replace(path=path))
