"""ZeroClaw by its chat socket: one for each call, opened when the call is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from ssl import SSLContext
from typing import Literal
from urllib.parse import quote, urlencode
from uuid import uuid4

from voicegw.agents.client.http_errors import redact, secrets
from voicegw.agents.client.json_api import JsonApi
from voicegw.agents.client.websocket import AgentWebSocket, WebSocketClosed, open_socket
from voicegw.agents.session_pool import SessionPool
from voicegw.agents.session_prompt import session_prompt, user_message_count
from voicegw.agents.zeroclaw.protocol import (
    CONNECT,
    PROTOCOL,
    ZeroClawTurnDecoder,
    decision,
    message,
    resumed,
)
from voicegw.errors import AgentError, AgentProtocolError, AgentRejected, AgentUnavailable
from voicegw.events import Event, Turn

STOP = 2.0
"""Seconds that a turn gets to stop before its socket is closed."""
TELL = 1.0
"""Seconds that telling it so may take."""
AGAIN = 0.1
"""Seconds until a turn is told again that was not there yet, because its first frame was still on its way."""


@dataclass(slots=True, eq=False)
class ZeroClawSession:
    """An open socket. `known`: how many words of the caller were said in it. `own`: it is no call's."""

    socket: AgentWebSocket
    name: str
    own: bool
    fresh: bool
    known: int | None = None
    spoilt: bool = False

    @property
    def good(self) -> bool:
        return self.socket.alive and not self.spoilt

    def spoil(self) -> None:
        """Hang up, which stops whatever runs there; the next turn opens another socket."""
        self.spoilt = True
        self.socket.abort()


class ZeroClawAgent:
    """The gateway of ZeroClaw at `url` (http or https), paired by `key`; `agent` is the alias that answers.

    A turn is one `message`, and never sent while another runs: ZeroClaw would take it for advice to that
    one. Closing a reply aborts the turn; ZeroClaw keeps the part that it said and marks it as interrupted. If
    it does not stop in time, the socket is closed, which stops it too, and opened again for the next turn.

    `approvals`: what becomes of actions that want to be approved. A call that ends leaves its transcript with
    ZeroClaw; a session that belonged to no call is deleted. `connect` is in seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        agent: str = "default",
        approvals: Literal["deny", "approve"] = "deny",
        ssl: SSLContext | None = None,
        connect: float = 5.0,
        max_sessions: int = 1000,
    ) -> None:
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._secrets = secrets((key,))
        self._api = JsonApi(url, self._headers, ssl=ssl, connect=connect)
        self._where = self._api.where("/ws/chat")
        self._agent = agent
        self._approvals = approvals
        self._ssl = ssl
        self._connect = connect
        self._sessions = SessionPool(
            self._open, self._close, good=lambda session: session.good, max_sessions=max_sessions
        )

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Say what is new in the session of the call, and give what is answered."""
        async with self._sessions.acquire(turn) as session:
            frames, handed = ZeroClawTurnDecoder(self._where), False
            try:
                await session.socket.send(message(session_prompt(turn, session.known, fresh=session.fresh)))
                handed = True
                if not turn.background:
                    session.known = user_message_count(turn.messages)
                while not frames.over:
                    for event in frames.read(await session.socket.receive()):
                        yield event
                    if frames.asked is not None:
                        await session.socket.send(decision(frames.asked, self._approvals))
                if frames.aborted:
                    raise AgentError(f"{self._where} was told to stop by somebody else")
            except AgentError as error:
                if not frames.over:
                    session.spoil()
                redact(error, self._secrets)
                if handed and isinstance(error, WebSocketClosed):  # somebody else must not be asked the same
                    raise AgentProtocolError(error.summary, error.quote) from None
                raise
            finally:
                if not frames.over and session.good:
                    await self._stop(session, frames, handed)

    async def _stop(self, session: ZeroClawSession, frames: ZeroClawTurnDecoder, handed: bool) -> None:
        """Stop a turn in the middle, and wait until it has: what it still says is not for the next one."""
        if session.own or not handed:
            return session.spoil()
        try:
            async with asyncio.timeout(STOP):
                while not frames.over:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(await self._abort(session)):
                            await self._drain(session, frames)
        except (TimeoutError, AgentError):
            pass
        finally:
            if not frames.over:
                session.spoil()

    async def _abort(self, session: ZeroClawSession) -> float | None:
        """Tell the running turn to stop; gives when to do that again, None if it was running."""
        async with asyncio.timeout(TELL):
            said = await self._api.call("POST", f"/api/sessions/{quote(session.name, safe='')}/abort")
        return None if isinstance(said, dict) and said.get("status") == "aborted" else AGAIN

    async def _drain(self, session: ZeroClawSession, frames: ZeroClawTurnDecoder) -> None:
        """Read on to the end of the turn, whatever it is."""
        while not frames.over:
            try:
                frames.read(await session.socket.receive())
            except AgentError:
                if not frames.over:
                    raise

    async def warm(self, call: str | None = None) -> None:
        """Open the socket of a call and have its agent built; at start, have a connection ready."""
        if call is None:
            await self._api.client.prewarm(1)
        else:
            await self._sessions.warm(call)

    async def call_ended(self, call: str) -> None:
        """Close the socket of a call."""
        await self._sessions.call_ended(call)

    async def aclose(self) -> None:
        await self._sessions.aclose()
        await self._api.client.aclose()

    async def _open(self, call: str | None) -> ZeroClawSession:
        name = call or str(uuid4())
        address = f"ws{self._where.removeprefix('http')}"
        try:
            socket = await open_socket(
                f"{address}?{urlencode({'agent': self._agent, 'session_id': name})}",
                self._headers,
                subprotocols=(PROTOCOL,),
                ssl=self._ssl,
                within=self._connect,
                secrets=self._secrets,
            )
        except AgentProtocolError as error:  # it knows no agent of that name
            raise AgentRejected(error.summary, error.quote) from None
        return ZeroClawSession(socket, name, call is None, not await self._begin(socket))

    async def _begin(self, socket: AgentWebSocket) -> bool:
        """Wait for the session; gives whether it existed before."""
        try:
            async with asyncio.timeout(self._connect):
                while (known := resumed(await socket.receive(), self._where)) is None:
                    pass
                await socket.send(CONNECT)
        except TimeoutError:
            socket.abort()
            raise AgentUnavailable(f"{self._where} opened no session in {self._connect:g} s") from None
        except BaseException as error:
            socket.abort()
            if isinstance(error, AgentError):
                redact(error, self._secrets)
            raise
        return known

    async def _close(self, session: ZeroClawSession, gone: bool) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP):
                await session.socket.close()
                if session.own:
                    await self._api.call("DELETE", f"/api/sessions/{session.name}", allow_status=(404,))
