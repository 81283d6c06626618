"""OpenHands' agent server: its LLM profiles, the sockets of its conversations, and its OpenAI interface.

It holds no conversation; `OpenHandsConversation` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from ssl import SSLContext
from typing import Any

from voicegw.agents.client.http_errors import collect_secrets
from voicegw.agents.client.json_api import MAX_RESPONSE_BYTES, JsonApi
from voicegw.agents.client.websocket import AgentWebSocket, WebSocketClosed, open_websocket
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.agents.openai.decoder import decode_models
from voicegw.agents.openhands import requests
from voicegw.agents.openhands.decoder import from_legacy_event
from voicegw.agents.openhands.requests import LlmProfiles
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
    AgentUnavailable,
)

KEY_HEADER = "X-Session-API-Key"
CONVERSATION_HEADER = "X-OpenHands-ServerConversation-ID"
"""The header by which the server's OpenAI interface continues a conversation."""
MAX_PROFILES_AGE = 30.0
"""Seconds for which the list of profiles counts as current, even if a turn names an unknown one."""
CLOSE_UNAUTHORIZED, CLOSE_NOT_FOUND, CLOSE_TRY_AGAIN = 4001, 4004, 1013
"""Codes with which the server closes a socket: a wrong key, no such conversation, too many sockets."""


class ConversationNotFound(AgentUnavailable):
    """The server has no conversation of this id, or forgot it."""


class OpenHandsServer:
    """The agent server at `url`. `profile` is the LLM profile of turns that name none.

    `idempotent`: a turn may be sent twice without harm.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        profile: str | None,
        ssl: SSLContext | None,
        connect_timeout: float,
        idempotent: bool = False,
    ) -> None:
        headers = {KEY_HEADER: key} if key else {}
        # The HTTP API; the agent closes its client.
        self.api = JsonApi(
            url.rstrip("/").removesuffix("/v1"), headers, ssl=ssl, connect_timeout=connect_timeout
        )
        # Its address, for error messages.
        self.where = self.api.url_for("")
        self.profile = profile
        # Whether a run may be started twice.
        self.idempotent = idempotent
        # The profiles that `load_profiles` found last.
        self.profiles = LlmProfiles()
        # The model names of its profiles. Agents share this list, so it is updated in place.
        self.models: list[str] = []
        # Whether it has more than an OpenAI interface (1.43 and newer).
        self.has_native_api = True
        # Whether it has only the events socket of versions before 1.46.
        self.is_legacy = False
        # Values that no error message may contain.
        self.secrets = collect_secrets((key,))
        self._key = key
        self._ssl = ssl
        self._connect_timeout = connect_timeout
        self._profiles_loaded_at: float | None = None

    async def select_profile(self, model: str) -> str | None:
        """Return the profile that a turn's `model` names, or the default one; None if there is none.

        An unknown name reloads the list, at most every `MAX_PROFILES_AGE` seconds. Raises `AgentError`, as
        `load_profiles` does.
        """
        now = asyncio.get_running_loop().time()
        is_unknown = model.startswith(requests.MODEL_PREFIX) and model not in self.models
        loaded_at = self._profiles_loaded_at
        if loaded_at is None or (is_unknown and loaded_at + MAX_PROFILES_AGE < now):
            await self.load_profiles()
        return self.profiles.profile_for_model(model) or self.profile or self.profiles.default_profile()

    async def load_profiles(self) -> None:
        """Load the profiles, and find out whether the server has the native API.

        Raises `AgentError` when the server cannot be reached or refuses, and `AgentProtocolError` for lists
        of an unknown shape.
        """
        llm_profiles = await self.api.request_json("GET", "/api/profiles", allow_status=(404,))
        agent_profiles = await self.api.request_json("GET", "/api/agent-profiles", allow_status=(404,))
        self.has_native_api = llm_profiles is not None or agent_profiles is not None
        self.profiles = requests.parse_profiles(llm_profiles, agent_profiles, self.where)
        self._profiles_loaded_at = asyncio.get_running_loop().time()
        self.models[:] = self.profiles.models or ([] if self.has_native_api else self.models)

    async def fetch_llm_settings(self, profile: str) -> dict[str, Any] | None:
        """Return the LLM settings of a profile with encrypted secrets; None if the server cannot encrypt.

        Raises `AgentRejected` for an unknown profile, `AgentProtocolError` for an unknown shape, and
        `AgentError` if the server cannot be used.
        """
        path = requests.join_path("/api/profiles", profile)
        async with self.api.request(
            "GET", path, allow_status=(503,), x_expose_secrets="encrypted"
        ) as response:
            body = await response.read(MAX_RESPONSE_BYTES)
            return (
                None if response.status == 503 else requests.parse_llm_settings(body, self.api.url_for(path))
            )

    async def make_openai_agent(self) -> OpenAIAgent:
        """Return an agent that uses the OpenAI interface, and load its models. Raises `AgentError`."""
        async with self.api.request("GET", "/v1/models") as response:
            self.models[:] = decode_models(await response.read(MAX_RESPONSE_BYTES))
        default = f"{requests.MODEL_PREFIX}{self.profile}" if self.profile else next(iter(self.models), None)
        agent = OpenAIAgent(
            f"{self.where}/v1",
            key=self._key,
            model=default,
            ssl=self._ssl,
            connect_timeout=self._connect_timeout,
            idempotent=self.idempotent,
            usage_totals=True,
            conversation_header=CONVERSATION_HEADER,
            history="last",
        )
        agent.models = self.models
        return agent

    async def connect_conversation(self, id: str, after: int | None) -> tuple[AgentWebSocket, dict[str, Any]]:
        """Open the socket of a conversation; return it and its first frame, after which no frame is missed.

        With `after`, the number of a durable event, the server repeats the later ones. Raises
        `ConversationNotFound`, `AgentRejected` for a wrong key, `AgentBusy` for too many sockets,
        `AgentTimeout`, and `AgentUnavailable` if the socket cannot be opened or closes.
        """
        if not self.is_legacy:
            query = "" if after is None else f"?after_seq={after}"
            try:
                socket = await self._open_websocket(f"/sockets/session/{id}{query}", {})
            except AgentRejected:
                pass  # no key was sent yet, so the server has no such socket: it is older
            else:
                return socket, await self._authenticate(socket)
        headers = {KEY_HEADER: self._key} if self._key else {}
        socket = await self._open_websocket(f"/sockets/events/{id}", headers)
        self.is_legacy = True
        return socket, from_legacy_event(await self._receive_first(socket))

    async def _open_websocket(self, path: str, headers: Mapping[str, str]) -> AgentWebSocket:
        return await open_websocket(
            f"ws{self.where.removeprefix('http')}{path}",
            headers,
            ssl=self._ssl,
            connect_timeout=self._connect_timeout,
            secrets=self.secrets,
        )

    async def _authenticate(self, socket: AgentWebSocket) -> dict[str, Any]:
        if self._key:
            with suppress(
                WebSocketClosed, AgentProtocolError
            ):  # receiving raises the error with the server's close code
                await socket.send({"type": "auth", "session_api_key": self._key})
        return await self._receive_first(socket)

    async def _receive_first(self, socket: AgentWebSocket) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._connect_timeout):
                return await socket.receive()
        except TimeoutError:
            socket.abort()
            raise AgentTimeout(f"{socket.url} sent nothing within {self._connect_timeout:g} s") from None
        except WebSocketClosed as closed:
            raise _error_from_close(closed) from None
        except BaseException:
            socket.abort()
            raise


def _error_from_close(closed: WebSocketClosed) -> AgentError:
    classes: dict[int, type[AgentError]] = {
        CLOSE_UNAUTHORIZED: AgentRejected,
        CLOSE_NOT_FOUND: ConversationNotFound,
        CLOSE_TRY_AGAIN: AgentBusy,
    }
    return classes.get(closed.close_code, AgentUnavailable)(closed.summary, closed.quote)
