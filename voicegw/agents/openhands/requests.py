"""The bodies of requests to OpenHands' agent server, and its lists of profiles. It sends nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from voicegw.errors import AgentProtocolError, AgentRejected
from voicegw.events import Message
from voicegw.wire.json import loads_lossy

Confirm = Literal["ask", "deny", "never"]

MODEL_PREFIX = "openhands_"
"""The model of an LLM profile is this and its name, as on the server's own OpenAI interface."""
DEFAULT_WORKSPACE = "workspace/project"
"""The folder that the server takes by default, relative to its working directory."""
MAX_SUFFIX_CHARS = 32_768
"""Characters that the server takes as the system message suffix of a new conversation."""
LLM_OVERRIDES = {"stream": True, "num_retries": 2, "retry_min_wait": 0, "retry_max_wait": 1}
"""LLM settings for a call: stream, and retry once and at once. By default the server waits 8 seconds."""
CONFIRM_RISKY = {
    "confirmation_policy": {"kind": "ConfirmRisky", "threshold": "HIGH", "confirm_unknown": True},
    "security_analyzer": {"kind": "LLMSecurityAnalyzer"},
}
PROVIDER_CONNECTION = "provider_connection_id"
"""The field that names a key stored elsewhere on the server. The server finds it for agent profiles only."""
NEVER_CONFIRM = {"confirmation_policy": {"kind": "NeverConfirm"}}


@dataclass(frozen=True, slots=True)
class LlmProfiles:
    """The profiles that a server has: its LLM profiles, and its active agent profile."""

    # The names of the LLM profiles.
    names: tuple[str, ...] = ()
    # The name of the active LLM profile, if there is one.
    active: str | None = None
    # The id of the active agent profile, if there is one.
    agent_profile_id: str | None = None
    # The LLM profile that the agent profile names; None also if it brings its own model.
    agent_llm_profile: str | None = None
    # Whether the agent profile is of another kind than OpenHands, such as ACP, which has its own model.
    agent_has_own_model: bool = False

    @property
    def models(self) -> list[str]:
        """The model names that stand for the LLM profiles."""
        return [MODEL_PREFIX + name for name in self.names]

    def profile_for_model(self, model: str) -> str | None:
        """Return the LLM profile that a model name stands for, None if there is none."""
        name = model.removeprefix(MODEL_PREFIX)
        return name if name != model and name in self.names else None

    def default_profile(self) -> str | None:
        """Return the active LLM profile, else the agent profile's, else the first; None if none exists."""
        candidates = (self.active, self.agent_llm_profile, *self.names[:1])
        return next((name for name in candidates if name in self.names), None)


def parse_profiles(llm_profiles: Any, agent_profiles: Any, where: str) -> LlmProfiles:
    """Return the profiles from both lists of a server, each None where the server has no such list.

    `where` names the server in errors. Raises `AgentProtocolError` for lists of an unknown shape.
    """
    try:
        llm_profiles, agent_profiles = llm_profiles or {}, agent_profiles or {}
        names = tuple(str(profile["name"]) for profile in llm_profiles.get("profiles") or ())
        agent_id = agent_profiles.get("active_agent_profile_id")
        candidates = agent_profiles.get("profiles") or ()
        agent: Mapping[str, Any] = next((one for one in candidates if one.get("id") == agent_id), {})
        return LlmProfiles(
            names,
            llm_profiles.get("active_profile"),
            None if agent_id is None else str(agent_id),
            agent.get("llm_profile_ref"),
            agent.get("agent_kind", "openhands") != "openhands",
        )
    except (AttributeError, LookupError, TypeError) as error:
        raise AgentProtocolError(f"{where} lists profiles of an unknown shape", repr(error)) from error


def parse_llm_settings(body: bytes, where: str) -> dict[str, Any]:
    """Return the LLM settings from an exported profile, with `LLM_OVERRIDES`.

    Raises `AgentProtocolError` for a body of an unknown shape.
    """
    try:
        profile = loads_lossy(body)
    except ValueError:
        profile = None
    config = profile.get("config") if isinstance(profile, dict) else None
    if not isinstance(config, dict):
        raise AgentProtocolError(f"{where} answered with a profile of an unknown shape")
    return {**config, **LLM_OVERRIDES, "usage_id": "voice"}


def conversation_request(
    id: str,
    profiles: LlmProfiles,
    *,
    llm: Mapping[str, Any] | None,
    profile: str | None,
    tools: Sequence[str] | None,
    suffix: str = "",
    workspace: str | None = None,
    confirm: Confirm = "ask",
) -> dict[str, Any]:
    """Return the body that creates the conversation `id`.

    With `tools` and the settings `llm` of a model, it has a lean agent, whose final answer is plain text that
    streams. Else it has the agent profile of the server with its own tools and the LLM profile `profile`; its
    final answer may arrive all at once, as the argument of a tool. `suffix` is added to the system message.
    Raises `AgentRejected` if the server has neither.
    """
    body: dict[str, Any] = {
        "conversation_id": id,
        "workspace": {"kind": "LocalWorkspace", "working_dir": workspace or DEFAULT_WORKSPACE},
        "autotitle": False,
        **(NEVER_CONFIRM if confirm == "never" else CONFIRM_RISKY),
    }
    has_agent_profile = profiles.agent_profile_id is not None
    if llm is not None and (
        not has_agent_profile or (tools is not None and not llm.get(PROVIDER_CONNECTION))
    ):
        return body | _lean_agent(llm, tools or (), suffix)
    if not has_agent_profile:
        raise AgentRejected("OpenHands has no profile that could answer: save an LLM profile on the server")
    llm_profile = None if profiles.agent_has_own_model else profile
    additions = {"llm_profile_ref": llm_profile, "system_message_suffix_append": suffix or None}
    additions = {name: value for name, value in additions.items() if value}
    launch = {"agent_launch_additions": additions} if additions else {}
    return body | {"agent_profile_id": profiles.agent_profile_id} | launch


def _lean_agent(llm: Mapping[str, Any], tools: Sequence[str], suffix: str) -> dict[str, Any]:
    agent: dict[str, Any] = {
        "kind": "Agent",
        "llm": dict(llm),
        "tools": [{"name": name} for name in tools],
        "include_default_tools": [],
    }
    if suffix:
        agent["agent_context"] = {"system_message_suffix": suffix}
    return {"agent": agent, "secrets_encrypted": True}


def user_message(text: str, messages: Sequence[Message] = ()) -> dict[str, Any]:
    """Return the frame that sends `text` to a conversation, with the images of the caller's `messages`."""
    images = [url for message in messages for part in message.parts if (url := _image_url(part))]
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if images:
        content.append({"type": "image", "image_urls": images})
    return {"role": "user", "content": content}


def _image_url(part: Mapping[str, Any]) -> str:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    return url if isinstance(url, str) else ""


def join_path(path: str, name: str) -> str:
    """Return the path of `name` below `path`, with `name` percent-encoded."""
    return f"{path}/{quote(name, safe='')}"
