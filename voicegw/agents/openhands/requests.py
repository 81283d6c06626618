"""What is asked of OpenHands' agent server: the bodies of its requests, and its lists of profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from voicegw.errors import AgentProtocolError, AgentRejected
from voicegw.events import Message
from voicegw.wire.json import loads

Confirm = Literal["ask", "deny", "never"]

PREFIX = "openhands_"
"""Begins the model that stands for an LLM profile, here as on the server's own OpenAI interface."""
WORKSPACE = "workspace/project"
"""The folder that the server itself takes, relative to the one that it runs in."""
SUFFIX = 32_768
"""Characters of instructions that a conversation can begin with."""
LIVE = {"stream": True, "num_retries": 2, "retry_min_wait": 0, "retry_max_wait": 1}
"""How a model is asked on a call: in a stream, and once more at once, where the default waits 8 seconds."""
RISKY = {
    "confirmation_policy": {"kind": "ConfirmRisky", "threshold": "HIGH", "confirm_unknown": True},
    "security_analyzer": {"kind": "LLMSecurityAnalyzer"},
}
CONNECTION = "provider_connection_id"
"""Names a key that is kept elsewhere on the server, and found for agent profiles only."""
NEVER = {"confirmation_policy": {"kind": "NeverConfirm"}}


@dataclass(frozen=True, slots=True)
class LlmProfiles:
    """What the server has: LLM profiles by name, and the agent profile (by id) that is active.

    `refers` is the LLM profile that the agent profile names; None too where it brings a model of its own.
    """

    names: tuple[str, ...] = ()
    active: str | None = None
    agent: str | None = None
    refers: str | None = None
    foreign: bool = False

    @property
    def models(self) -> list[str]:
        return [PREFIX + name for name in self.names]

    def asked(self, model: str) -> str | None:
        """The profile that a model stands for."""
        name = model.removeprefix(PREFIX)
        return name if name != model and name in self.names else None

    def usual(self) -> str | None:
        """The one that speaks if nobody says which: the active one, else that of the agent profile."""
        wanted = (self.active, self.refers, *self.names[:1])
        return next((name for name in wanted if name in self.names), None)


def profiles(listed: Any, agents: Any, where: str) -> LlmProfiles:
    """What the server lists, None where it has no such list. Raises `AgentProtocolError`."""
    try:
        listed, agents = listed or {}, agents or {}
        names = tuple(str(one["name"]) for one in listed.get("profiles") or ())
        agent = agents.get("active_agent_profile_id")
        own: Mapping[str, Any] = next(
            (one for one in agents.get("profiles") or () if one.get("id") == agent), {}
        )
        return LlmProfiles(
            names,
            listed.get("active_profile"),
            None if agent is None else str(agent),
            own.get("llm_profile_ref"),
            own.get("agent_kind", "openhands") != "openhands",
        )
    except (AttributeError, LookupError, TypeError) as error:
        raise AgentProtocolError(f"{where} lists profiles of an unknown shape: {error!r}") from error


def settings(body: bytes, where: str) -> dict[str, Any]:
    """How a model is asked on a call, from the profile that the server gave out. Raises `AgentProtocolError`."""
    try:
        answer = loads(body)
    except ValueError:
        answer = None
    config = answer.get("config") if isinstance(answer, dict) else None
    if not isinstance(config, dict):
        raise AgentProtocolError(f"{where} gave out a profile of an unknown shape")
    return {**config, **LIVE, "usage_id": "voice"}


def conversation_request(
    id: str,
    known: LlmProfiles,
    *,
    llm: Mapping[str, Any] | None,
    profile: str | None,
    tools: Sequence[str] | None,
    suffix: str = "",
    workspace: str | None = None,
    confirm: Confirm = "ask",
) -> dict[str, Any]:
    """What begins a conversation.

    With `tools`, and `llm` to ask, it is a lean agent that ends with plain words, which stream. Else it is
    the agent profile of the server with its own tools, asking `profile`; its last words may come at once, as
    the argument of a tool. Raises `AgentRejected` where the server has neither.
    """
    body: dict[str, Any] = {
        "conversation_id": id,
        "workspace": {"kind": "LocalWorkspace", "working_dir": workspace or WORKSPACE},
        "autotitle": False,
        **(NEVER if confirm == "never" else RISKY),
    }
    if llm is not None and (known.agent is None or (tools is not None and not llm.get(CONNECTION))):
        return body | _lean(llm, tools or (), suffix)
    if known.agent is None:
        raise AgentRejected("OpenHands has no profile that could speak: save an LLM profile on the server")
    ref = None if known.foreign else profile
    additions = {"llm_profile_ref": ref, "system_message_suffix_append": suffix or None}
    given = {name: value for name, value in additions.items() if value}
    return body | {"agent_profile_id": known.agent} | ({"agent_launch_additions": given} if given else {})


def _lean(llm: Mapping[str, Any], tools: Sequence[str], suffix: str) -> dict[str, Any]:
    agent: dict[str, Any] = {
        "kind": "Agent",
        "llm": dict(llm),
        "tools": [{"name": name} for name in tools],
        "include_default_tools": [],
    }
    if suffix:
        agent["agent_context"] = {"system_message_suffix": suffix}
    return {"agent": agent, "secrets_encrypted": True}


def message(text: str, words: Sequence[Message] = ()) -> dict[str, Any]:
    """What the caller says, with the pictures that came with it."""
    pictures = [url for said in words for part in said.parts if (url := _picture(part))]
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if pictures:
        content.append({"type": "image", "image_urls": pictures})
    return {"role": "user", "content": content}


def _picture(part: Mapping[str, Any]) -> str:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    return url if isinstance(url, str) else ""


def within(path: str, name: str) -> str:
    """The address of something by its name."""
    return f"{path}/{quote(name, safe='')}"
