"""One conversation on OpenHands' agent server: its requests, its session socket, and its state between turns.

It does not know turns: `OpenHandsAgent` decides what to send, `OpenHandsTurnDecoder` what the frames mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from voicegw.agents.client.json_api import MAX_RESPONSE_BYTES
from voicegw.agents.client.websocket import AgentWebSocket
from voicegw.agents.openhands.decoder import OpenHandsTurnDecoder, from_legacy_event
from voicegw.agents.openhands.server import ConversationNotFound, OpenHandsServer
from voicegw.errors import AgentError, AgentTimeout
from voicegw.events import Usage

CREATE_TIMEOUT = 10.0
"""Seconds that the server gets to create a conversation. Another request then gets the same conversation."""
STOP_TIMEOUT = 2.0
"""Seconds that a run gets to stop. After that, the next turn interrupts it again before it sends anything."""
CLOSE_TIMEOUT = 2.0
"""Seconds that closing and deleting a conversation may take."""
CALLER_WAS_AWAY = "The caller was away."
"""The reason to reject pending actions of an earlier connection: this gateway does not know what they are."""


class OpenHandsConversation:
    """The conversation `id` on `server`; one that `is_temporary` belongs to no call, only to one turn."""

    def __init__(self, server: OpenHandsServer, id: str, *, is_temporary: bool) -> None:
        self.server = server
        self.id = id
        self.is_temporary = is_temporary
        # Whether this connection created it; else it has messages that this gateway does not know.
        self.is_new = False
        # The instructions that it was created with, "" if none; they are not sent again as text.
        self.system_suffix = ""
        # The LLM profile that answers; None before the first one is selected.
        self.profile: str | None = None
        # The number of the last durable event that was read; None before the first.
        self.seq: int | None = None
        # Whether the server has it, as far as known.
        self.exists = False
        # Whether a run may still be active that could not be stopped in time.
        self.needs_interrupt = False
        self._creation: asyncio.Task[None] | None = None
        self._socket: AgentWebSocket | None = None
        self._reset()

    def _reset(self) -> None:
        """Forget the turns so far: the server has a new conversation."""
        # How many messages of the caller it got; None if this gateway sent none.
        self.user_messages_sent: int | None = None
        # The tokens that it used so far; None if unknown.
        self.total_usage: Usage | None = None
        # Whether it got a message that it did not answer, because the server was at its run limit.
        self.has_unanswered_text = False
        # The spoken part of an interrupted answer, which the server forgot; None if nothing is lost.
        self.interrupted_text: str | None = None
        # Whether it waits for a yes or no to `pending_actions`.
        self.awaits_confirmation = False
        # The question that the caller was asked about them, "" if none.
        self.question = ""
        # A short text for each action that waits for confirmation.
        self.pending_actions: list[str] = []

    @property
    def path(self) -> str:
        """The path of its resource on the server."""
        return f"/api/conversations/{self.id}"

    async def create(self, request: Mapping[str, Any]) -> None:
        """Create the conversation on the server, or find the one that has this id.

        The request completes even if the caller of this method is cancelled, so `exists` is always right.
        Raises `AgentTimeout` after `CREATE_TIMEOUT` seconds, and `AgentError` if the server refuses.
        """
        if self._creation is None or (self._creation.done() and not self.exists):
            self._creation = asyncio.create_task(self._create_in_time(request))
            self._creation.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._creation)

    async def _create_in_time(self, request: Mapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(CREATE_TIMEOUT):
                await self._create(request)
        except TimeoutError:
            raise AgentTimeout(
                f"{self.server.where} created no conversation within {CREATE_TIMEOUT:g} s"
            ) from None

    async def _create(self, request: Mapping[str, Any]) -> None:
        # Idempotent: the request names the id.
        async with self.server.api.request(
            "POST", "/api/conversations", request, idempotent=True
        ) as response:
            self.is_new = self.is_temporary or response.status == 201
            await response.read(MAX_RESPONSE_BYTES)
        if not self.is_new:  # a run may be active, or wait for the confirmation of an unknown action
            await self.interrupt()
            await self.reject(CALLER_WAS_AWAY)
        self._reset()
        self.exists = True

    async def connect(self, after: int | None = None) -> None:
        """Open the session socket, unless it is open. With `after`, events of higher numbers are repeated.

        Raises `ConversationNotFound` when the server has no such conversation, and `AgentError` when the
        socket cannot be opened.
        """
        if self._socket is None or not self._socket.is_open:
            try:
                self._socket, first = await self.server.connect_conversation(self.id, after)
            except ConversationNotFound:
                self.exists = False
                raise
            if after is None and type(through := first.get("through_seq")) is int:
                self.seq = through

    async def send(self, frame: Mapping[str, Any]) -> None:
        """Send a message, which starts a run. Raises `WebSocketClosed`."""
        await self._connected_socket.send(frame)

    async def receive(self) -> dict[str, Any]:
        """Return the next frame. Raises `WebSocketClosed`, and `AgentProtocolError` for an invalid frame."""
        return self._modernize(await self._connected_socket.receive())

    def _modernize(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Return the frame as current servers send it."""
        return from_legacy_event(frame) if self.server.is_legacy else frame

    async def pump(self, feed: Callable[[dict[str, Any]], bool], flush: Callable[[], None]) -> None:
        """Pass the frames to `feed` as they arrive; see `AgentWebSocket.pump`."""
        await self._connected_socket.pump(lambda frame: feed(self._modernize(frame)), flush)

    async def stop(self, decoder: OpenHandsTurnDecoder) -> None:
        """Interrupt the run, after our message came back: before that, there is no run to interrupt.

        Raises nothing: a run that does not stop in `STOP_TIMEOUT` seconds sets `needs_interrupt`.
        """
        if self.is_temporary:
            return  # deleting the conversation stops its run
        self.needs_interrupt = True
        with suppress(AgentError, TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT):
                while not decoder.started:
                    decoder.feed(await self.receive())
                await self.interrupt()
                self.needs_interrupt = False

    @property
    def _connected_socket(self) -> AgentWebSocket:
        assert self._socket is not None, "the conversation is not connected"
        return self._socket

    async def run(self) -> None:
        """Start a run without a new message. Raises `AgentError`; `AgentBusy` at the run limit."""
        await self.server.api.request_json(
            "POST",
            f"{self.path}/run",
            {},
            allow_status=(HTTPStatus.CONFLICT,),
            idempotent=self.server.idempotent,
        )

    async def accept(self) -> None:
        """Confirm the pending actions, which starts a run. Raises `AgentError`."""
        # A second yes could confirm another action.
        await self.post("events/respond_to_confirmation", {"accept": True}, idempotent=False)

    async def reject(self, reason: str) -> None:
        """Reject the pending actions; this starts no run. Raises `AgentError`."""
        await self.post("events/respond_to_confirmation", {"accept": False, "reason": reason})

    async def interrupt(self) -> None:
        """Stop the active run. It has stopped when this returns. Raises `AgentError`."""
        await self.post("interrupt")

    async def switch_profile(self, profile: str, llm: Mapping[str, Any] | None) -> None:
        """Let `profile` answer from now on, by the settings `llm` or by its name. Raises `AgentError`."""
        if llm is None:
            await self.post("switch_profile", {"profile_name": profile})
        else:
            await self.post("switch_llm", {"llm": llm})
        self.profile = profile

    async def post(
        self, action: str, body: Mapping[str, Any] | None = None, *, idempotent: bool = True
    ) -> None:
        """Post to `action`, a path below the conversation's own. Raises `AgentError`.

        `idempotent`: the request may arrive twice without harm.
        """
        await self.server.api.request_json("POST", f"{self.path}/{action}", body or {}, idempotent=idempotent)

    def disconnect(self) -> None:
        """Close its socket at once, without a closing handshake."""
        if self._socket is not None:
            self._socket.abort()
            self._socket = None

    async def close(self, delete: bool) -> None:
        """Close its socket and, with `delete`, remove it from the server, in `CLOSE_TIMEOUT` seconds at most.

        Raises `AgentError` when the server refuses to delete it.
        """
        self.disconnect()
        if self._creation is None:
            return
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await asyncio.wait((self._creation,))
                    if delete:
                        await self.server.api.request_json(
                            "DELETE", self.path, allow_status=(HTTPStatus.NOT_FOUND,)
                        )
        finally:
            self._creation.cancel()
