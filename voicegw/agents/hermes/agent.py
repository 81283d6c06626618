"""The API server of Hermes Agent, by runs that can be stopped, or by its chat completions.

A run is told to stop, and a tool with it, in milliseconds. A chat is stopped by hanging up, which the
server notices when it next has something to say: in the middle of a silent tool that takes long.
Nobody on a call approves what a tool wants to do: a run is told no, a chat never does it.

Each turn brings the conversation along, so nothing has to be told about what the caller did not hear. The
header that continues a session of the server's (`X-Hermes-Session-Id`) is never sent: with it the server
goes by its own record, which has every word that was made. What the turns of a call share on the server
is the name of a session: its place in the server's lists and, in a chat, the folder that its tools are in.
The machine that tools work on is the server's, and one for all calls unless Hermes is told otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any, Literal

from voicegw.agents.client.http_errors import secrets
from voicegw.agents.client.json_api import JsonApi
from voicegw.agents.hermes import protocol as wire
from voicegw.agents.session_pool import SessionPool
from voicegw.errors import AgentError, AgentProtocolError, AgentTimeout
from voicegw.events import Event, Finish, Message, Turn
from voicegw.wire.sse import SseParser

STOP = 2.0
"""Seconds for telling a run to stop."""
LOOKS, PAUSE = 4, 0.05
"""How often, and after how many seconds each, a run that was stopped is looked at: is it gone?"""
TRIAL = 60.0
"""Seconds that the throw-away turn may take."""
AT_ONCE = 2
"""Connections of a turn: one for its run, one to stop it by."""


@dataclass(slots=True)
class HermesSession:
    """What the turns of a call share on the server, by name; "" is nothing."""

    name: str

    def leave_to(self, turn: Turn) -> None:
        """A turn that was stopped may still be at work in it: the next one begins another."""
        self.name = f"{turn.call}-{turn.id}"


class HermesAgent:
    """An agent behind Hermes' API server at `url`; closing a reply stops it.

    `model` is the model or route to ask for unless the turn names one of `models`; None is the server's own.
    With `warm`, getting ready includes a throw-away turn: the first answer of a server takes seconds.
    `connect` is in seconds, `most_sessions` the number of calls at a time.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        mode: Literal["runs", "chat"] = "runs",
        model: str | None = None,
        warm: bool = True,
        ssl: SSLContext | None = None,
        connect: float = 5.0,
        max_sessions: int = 1000,
    ) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._api = JsonApi(url.rstrip("/").removesuffix("/v1"), headers, ssl=ssl, connect=connect)
        self._api.secrets += secrets((key,))
        self._ask = self._run if mode == "runs" else self._chat
        self._model = model
        self._trial = warm
        self._sessions = SessionPool(_named, _kept, max_sessions=max_sessions)
        self.models: list[str] = []

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Ask for an answer and give its events as they come."""
        async with self._sessions.acquire(turn) as session, aclosing(self._ask(turn, session)) as events:
            async for event in events:
                yield event

    async def warm(self, call: str | None = None) -> None:
        """Have connections ready; at first learn the models too, and let the server warm up.

        Raises `AgentError` when the server cannot be reached or refuses us.
        """
        if call is None:
            self.models[:] = wire.routes(
                await self._api.call("GET", "/v1/models"), self._api.where("/v1/models")
            )
            if self._trial:
                await self._try()
        await self._api.client.prewarm(AT_ONCE)

    async def call_ended(self, call: str) -> None:
        """Forget the call. The server keeps what it recorded."""
        await self._sessions.call_ended(call)

    async def aclose(self) -> None:
        await self._sessions.aclose()
        await self._api.client.aclose()

    async def _run(self, turn: Turn, session: HermesSession) -> AsyncGenerator[Event, None]:
        """A run and what happens in it. It is stopped whenever we leave before its end."""
        decoder = wire.HermesRunDecoder()
        began = asyncio.create_task(self._begin(turn, session))  # so that no run begins that we do not know
        try:
            path = f"{await asyncio.shield(began)}/events"
            async with aclosing(self._told("GET", path, None, decoder)) as events:
                async for event in events:
                    yield event
        finally:
            if not decoder.over and not await self._stopped(began):
                session.leave_to(turn)

    async def _begin(self, turn: Turn, session: HermesSession) -> str:
        """Begin a run and give its address."""
        body = wire.run(turn, session.name, self._wanted(turn))
        answer = await self._api.call("POST", "/v1/runs", body, retry=False)
        return f"/v1/runs/{wire.begun(answer, self._api.where('/v1/runs'))}"

    async def _stopped(self, began: asyncio.Task[str]) -> bool:
        """Tell a run to stop, and give it a moment: is it gone? A tool may take a second to die."""
        with suppress(AgentError, TimeoutError):
            async with asyncio.timeout(STOP):
                stop = f"{await began}/stop"
                for _ in range(LOOKS):
                    with suppress(AgentError):  # a server in trouble may hear it the next time
                        if await self._api.call("POST", stop, {}, allow_status=(404,)) is None:
                            return True
                    await asyncio.sleep(PAUSE)
        return False

    async def _chat(self, turn: Turn, session: HermesSession) -> AsyncGenerator[Event, None]:
        """A chat completion. We hang up on it whenever we leave before its end."""
        decoder = wire.HermesChatDecoder()
        body = wire.chat(turn, session.name or turn.id, self._wanted(turn))
        try:
            async with aclosing(self._told("POST", "/v1/chat/completions", body, decoder)) as events:
                async for event in events:
                    yield event
        finally:
            if not decoder.over:
                session.leave_to(turn)
        for event in decoder.end():
            if event != Finish():
                yield event

    async def _told(
        self, method: str, path: str, body: Any, decoder: wire.HermesRunDecoder | wire.HermesChatDecoder
    ) -> AsyncGenerator[Event, None]:
        """Ask, but nothing twice that has an effect, and give what the server tells, to its end."""
        splitter = SseParser()
        async with self._api.request(method, path, body, retry=method == "GET") as response:
            self._api.stream(response, path)
            async for data in response:
                for sse in splitter.feed(data):
                    for event in decoder.feed(sse):
                        if isinstance(event, wire.ApprovalRequest):
                            await self._deny(path.removesuffix("/events"))
                        else:
                            yield event
                if decoder.over:
                    response.discard_rest()
                    return
            raise AgentProtocolError(f"{self._api.where(path)} ended in the middle of an answer")

    async def _deny(self, run: str) -> None:
        """Say no, unless somebody else was sooner."""
        await self._api.call("POST", f"{run}/approval", {"choice": wire.DENY}, allow_status=(404, 409))

    async def _try(self) -> None:
        """A turn that is thrown away once it has a word."""
        turn = Turn("warm-up", (Message("user", "Say OK."),))
        try:
            async with (
                asyncio.timeout(TRIAL),
                aclosing(self._ask(turn, HermesSession("voicegw-warm-up"))) as events,
            ):
                async for event in events:
                    if type(event) is str:
                        break
        except TimeoutError:
            where = self._api.where("/v1")
            raise AgentTimeout(f"{where} had no word to say within {TRIAL:g} s") from None

    def _wanted(self, turn: Turn) -> str | None:
        return turn.model if turn.model in self.models else self._model


async def _named(call: str | None) -> HermesSession:
    return HermesSession(call or "")


async def _kept(session: HermesSession, over: bool) -> None:
    """The server keeps its sessions."""
