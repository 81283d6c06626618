"""OpenHands' agent server: its profiles, the sockets of its conversations, and its OpenAI interface."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from ssl import SSLContext
from typing import Any

from voicegw.agents.client.http_errors import secrets
from voicegw.agents.client.json_api import MAX_ANSWER_BYTES, JsonApi
from voicegw.agents.client.websocket import AgentWebSocket, WebSocketClosed, open_socket
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.agents.openai.decoder import decode_models
from voicegw.agents.openhands import requests as orders
from voicegw.agents.openhands.decoder import legacy
from voicegw.agents.openhands.requests import LlmProfiles
from voicegw.errors import AgentBusy, AgentError, AgentRejected, AgentTimeout, AgentUnavailable

HEADER = "X-Session-API-Key"
KEEPS = "X-OpenHands-ServerConversation-ID"
FRESH = 30.0
"""Seconds for which the list of profiles is taken to be right, whatever is asked for."""
STRANGER, UNKNOWN, CROWDED = 4001, 4004, 1013
"""Codes with which the server closes a socket: a wrong key, no such conversation, too many sockets."""


class ConversationNotFound(AgentUnavailable):
    """The server knows nothing of the conversation any more."""


class OpenHandsServer:
    """The agent server at `url`, and how to reach it. `profile` speaks if nobody says which.

    `old`: its sockets are those of versions before 1.46. `native`: there is more than an OpenAI interface.
    """

    def __init__(
        self, url: str, key: str | None, profile: str | None, ssl: SSLContext | None, connect: float
    ) -> None:
        headers = {HEADER: key} if key else {}
        self.api = JsonApi(url.rstrip("/").removesuffix("/v1"), headers, ssl=ssl, connect=connect)
        self.where = self.api.where("")
        self.profile = profile
        self.known = LlmProfiles()
        self.models: list[str] = []
        self.native = True
        self.old = False
        self.secrets = secrets((key,))
        self._key = key
        self._ssl = ssl
        self._connect = connect
        self._learned: float | None = None

    async def wanted(self, model: str) -> str | None:
        """The profile that a turn asks for, or the usual one."""
        now = asyncio.get_running_loop().time()
        new = model.startswith(orders.PREFIX) and model not in self.models
        if self._learned is None or (new and self._learned + FRESH < now):
            await self.learn()
        return self.known.asked(model) or self.profile or self.known.usual()

    async def learn(self) -> None:
        """Which profiles there are, and whether this is more than an OpenAI interface."""
        listed = await self.api.call("GET", "/api/profiles", allow_status=(404,))
        agents = await self.api.call("GET", "/api/agent-profiles", allow_status=(404,))
        self.native = listed is not None or agents is not None
        self.known = orders.profiles(listed, agents, self.where)
        self._learned = asyncio.get_running_loop().time()
        self.models[:] = self.known.models or ([] if self.native else self.models)

    async def settings(self, profile: str) -> dict[str, Any] | None:
        """How to ask the model of a profile, its secrets encrypted; None where the server cannot do that."""
        path = orders.within("/api/profiles", profile)
        async with self.api.request("GET", path, allow_status=(503,), x_expose_secrets="encrypted") as response:
            body = await response.read(MAX_ANSWER_BYTES)
            return None if response.status == 503 else orders.settings(body, self.api.where(path))

    async def openai(self) -> OpenAIAgent:
        """The server's own OpenAI interface, for want of a better one."""
        async with self.api.request("GET", "/v1/models") as response:
            self.models[:] = decode_models(await response.read(MAX_ANSWER_BYTES))
        usual = f"{orders.PREFIX}{self.profile}" if self.profile else next(iter(self.models), None)
        plain = OpenAIAgent(
            f"{self.where}/v1",
            key=self._key,
            model=usual,
            ssl=self._ssl,
            connect=self._connect,
            totals=True,
            keeps=KEEPS,
            history="last",
        )
        plain.models = self.models
        return plain

    async def dial(self, id: str, after: int | None) -> tuple[AgentWebSocket, dict[str, Any]]:
        """Open the socket of a conversation, give it and its first frame.

        `after` is the number of an event: those that came since are repeated.
        """
        if not self.old:
            query = "" if after is None else f"?after_seq={after}"
            try:
                socket = await self._open(f"/sockets/session/{id}{query}", {})
            except AgentRejected:
                pass  # no key was sent yet, so there is no such socket
            else:
                return socket, await self._greet(socket)
        socket = await self._open(f"/sockets/events/{id}", {HEADER: self._key} if self._key else {})
        self.old = True
        return socket, legacy(await self._first(socket))

    async def _open(self, path: str, headers: Mapping[str, str]) -> AgentWebSocket:
        return await open_socket(
            f"ws{self.where.removeprefix('http')}{path}",
            headers,
            ssl=self._ssl,
            within=self._connect,
            secrets=self.secrets,
        )

    async def _greet(self, socket: AgentWebSocket) -> dict[str, Any]:
        if self._key:
            with suppress(WebSocketClosed):  # what it says instead is heard by who waits for an answer
                await socket.send({"type": "auth", "session_api_key": self._key})
        return await self._first(socket)

    async def _first(self, socket: AgentWebSocket) -> dict[str, Any]:
        """Wait for the first frame: from then on nothing is missed."""
        try:
            async with asyncio.timeout(self._connect):
                return await socket.receive()
        except TimeoutError:
            socket.abort()
            raise AgentTimeout(f"{socket.where} said nothing within {self._connect:g} s") from None
        except WebSocketClosed as closed:
            raise _meant(closed) from None
        except BaseException:
            socket.abort()
            raise


def _meant(closed: WebSocketClosed) -> AgentError:
    kinds: dict[int, type[AgentError]] = {
        STRANGER: AgentRejected,
        UNKNOWN: ConversationNotFound,
        CROWDED: AgentBusy,
    }
    return kinds.get(closed.number, AgentUnavailable)(closed.summary, closed.quote)
