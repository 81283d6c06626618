"""The ZeroClaw agent: one chat websocket per call, opened when the call begins.

Builds with an OpenAI-compatible interface are reached by `OpenAIAgent` instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from ssl import SSLContext
from typing import Any, Literal
from urllib.parse import quote, urlencode
from uuid import uuid4

from voicegw.agents.client.http_errors import collect_secrets, redact
from voicegw.agents.client.json_api import JsonApi
from voicegw.agents.client.websocket import AgentWebSocket, WebSocketClosed, open_websocket
from voicegw.agents.session_pool import SessionPool
from voicegw.agents.session_prompt import session_prompt, user_message_count
from voicegw.agents.zeroclaw.protocol import (
    CONNECT_FRAME,
    SUBPROTOCOL,
    ZeroClawTurnDecoder,
    approval_frame,
    message_frame,
    parse_resumed,
)
from voicegw.errors import AgentError, AgentProtocolError, AgentRejected, AgentUnavailable
from voicegw.events import Turn
from voicegw.turns.streaming import EventSink, StreamingAgent

STOP_TIMEOUT = 2.0
"""Seconds that an aborted turn gets to end. After that, its socket is closed."""
ABORT_TIMEOUT = 1.0
"""Seconds that an abort request may take."""
ABORT_RETRY_DELAY = 0.1
"""Seconds until an abort is repeated that found no turn, because the message had not arrived yet."""


@dataclass(slots=True, eq=False)
class ZeroClawSession:
    """An open chat socket and its session."""

    socket: AgentWebSocket
    # The id of the session on the server: the call's, or a random one.
    name: str
    # Whether it belongs to no call, and is deleted after its turn.
    is_temporary: bool
    # Whether this socket created it; else the server has its earlier messages.
    is_new: bool
    # How many messages of the caller it got; None if this gateway sent none.
    user_messages_sent: int | None = None
    # Whether `abort()` closed it.
    is_broken: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether another turn can use it."""
        return self.socket.is_open and not self.is_broken

    def abort(self) -> None:
        """Close the socket at once, which stops its turn; the next turn opens another socket."""
        self.is_broken = True
        self.socket.abort()


class ZeroClawAgent(StreamingAgent):
    """The agent of the alias `agent` on ZeroClaw's gateway at `url` (http or https), paired by `key`.

    A turn is one `message` frame. It is never sent while another turn runs, because ZeroClaw would add it to
    that turn. Closing a reply aborts the turn; ZeroClaw keeps the generated part and marks it as interrupted.
    If the turn does not end in time, its socket is closed, which stops the turn too.

    `approvals` decides about actions that need an approval. The session of a call stays on the server, that
    of a turn without a call is deleted. `connect_timeout` is in seconds. At most `max_sessions` are open.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        agent: str = "default",
        approvals: Literal["deny", "approve"] = "deny",
        ssl: SSLContext | None = None,
        connect_timeout: float = 5.0,
        max_sessions: int = 1000,
    ) -> None:
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._secrets = collect_secrets((key,))
        self._api = JsonApi(url, self._headers, ssl=ssl, connect_timeout=connect_timeout)
        self._where = self._api.url_for("/ws/chat")
        self._agent = agent
        self._approvals = approvals
        self._ssl = ssl
        self._connect_timeout = connect_timeout
        self._sessions = SessionPool(
            self._open,
            self._close,
            is_usable=lambda session: session.is_usable,
            max_sessions=max_sessions,
        )

    async def stream(self, turn: Turn, sink: EventSink) -> None:
        """Send the new messages of the call, and push the events of the answer. A cancellation aborts it.

        Raises `AgentBusy` when `max_sessions` are in use or the server's queue is full, `AgentRejected` or
        `AgentUnavailable` for a server that cannot be used, `AgentProtocolError` for an invalid frame or a
        socket that breaks during the turn, and `AgentError` for a turn that fails.
        """
        async with self._sessions.acquire(turn) as session:
            decoder, sent = ZeroClawTurnDecoder(self._where), False
            try:
                prompt = session_prompt(turn, session.user_messages_sent, fresh=session.is_new)
                await session.socket.send(message_frame(prompt))
                sent = True
                if not turn.background:
                    session.user_messages_sent = user_message_count(turn.messages)
                await self._pump(session.socket, decoder, sink)
                if decoder.aborted:
                    raise AgentError(f"{self._where} was stopped by another client")
            except AgentError as error:
                if not decoder.done:
                    session.abort()
                redact(error, self._secrets)
                if sent and isinstance(error, WebSocketClosed):  # no other agent may get the same turn
                    raise AgentProtocolError(error.summary, error.quote) from None
                raise
            finally:
                if not decoder.done and session.is_usable:
                    await self._stop(session, decoder, sent)

    async def _pump(self, socket: AgentWebSocket, decoder: ZeroClawTurnDecoder, sink: EventSink) -> None:
        """Push the events of the turn and answer its requests, to its end or until the sink takes no more."""
        is_open = True

        def feed(frame: Mapping[str, Any]) -> bool:
            nonlocal is_open
            for event in decoder.feed(frame):
                if not sink.push(event):
                    is_open = False
                    return False
            return decoder.approval_id is None and not decoder.done

        while not decoder.done:
            await socket.pump(feed, sink.flush)
            if not is_open:
                return
            if decoder.approval_id is not None:
                await socket.send(approval_frame(decoder.approval_id, self._approvals))

    async def _stop(self, session: ZeroClawSession, decoder: ZeroClawTurnDecoder, sent: bool) -> None:
        """Abort the turn and wait for its end: the next turn must not read the frames of this one."""
        if session.is_temporary or not sent:
            return session.abort()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                while not decoder.done:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(await self._request_abort(session)):
                            await self._drain(session, decoder)
        except (TimeoutError, AgentError):
            pass
        finally:
            if not decoder.done:
                session.abort()

    async def _request_abort(self, session: ZeroClawSession) -> float | None:
        """Abort the running turn. Return the seconds until the next attempt, None if the turn was running."""
        async with asyncio.timeout(ABORT_TIMEOUT):
            path = f"/api/sessions/{quote(session.name, safe='')}/abort"
            answer = await self._api.request_json("POST", path, idempotent=True)
        return None if isinstance(answer, dict) and answer.get("status") == "aborted" else ABORT_RETRY_DELAY

    async def _drain(self, session: ZeroClawSession, decoder: ZeroClawTurnDecoder) -> None:
        """Read and discard frames to the end of the turn, also if it ends with an error."""
        while not decoder.done:
            try:
                decoder.feed(await session.socket.receive())
            except AgentError:
                if not decoder.done:
                    raise

    async def warm(self, call: str | None = None) -> None:
        """Open the socket of `call`, which builds its agent; with None, open a connection for requests.

        Raises `AgentError` when the server cannot be used.
        """
        if call is None:
            await self._api.client.prewarm(1)
        else:
            await self._sessions.warm(call)

    async def call_ended(self, call: str) -> None:
        """Close the socket of a call. Its session stays on the server."""
        await self._sessions.call_ended(call)

    async def aclose(self) -> None:
        """Close all sockets and connections."""
        await self._sessions.aclose()
        await self._api.client.aclose()

    async def _open(self, call: str | None) -> ZeroClawSession:
        name = call or str(uuid4())
        address = f"ws{self._where.removeprefix('http')}"
        try:
            socket = await open_websocket(
                f"{address}?{urlencode({'agent': self._agent, 'session_id': name})}",
                self._headers,
                subprotocols=(SUBPROTOCOL,),
                ssl=self._ssl,
                connect_timeout=self._connect_timeout,
                secrets=self._secrets,
            )
        except AgentProtocolError as error:  # status 400: the server has no agent of this alias
            raise AgentRejected(error.summary, error.quote) from None
        return ZeroClawSession(socket, name, call is None, not await self._start_session(socket))

    async def _start_session(self, socket: AgentWebSocket) -> bool:
        """Wait for the session and have its agent built. Return whether the session existed before."""
        try:
            async with asyncio.timeout(self._connect_timeout):
                while (resumed := parse_resumed(await socket.receive(), self._where)) is None:
                    pass
                await socket.send(CONNECT_FRAME)
        except TimeoutError:
            socket.abort()
            timeout = f"{self._connect_timeout:g} s"
            raise AgentUnavailable(f"{self._where} opened no session within {timeout}") from None
        except BaseException as error:
            socket.abort()
            if isinstance(error, AgentError):
                redact(error, self._secrets)
            raise
        return resumed

    async def _close(self, session: ZeroClawSession, call_ended: bool) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT):
                await session.socket.close()
                if session.is_temporary:
                    path = f"/api/sessions/{session.name}"
                    await self._api.request_json("DELETE", path, allow_status=(HTTPStatus.NOT_FOUND,))
