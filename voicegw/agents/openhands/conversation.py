"""One conversation on OpenHands' agent server, with the socket that tells what happens in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any

from voicegw.agents.client.json_api import MAX_ANSWER_BYTES
from voicegw.agents.client.websocket import AgentWebSocket, WebSocketClosed
from voicegw.agents.openhands.decoder import OpenHandsTurnDecoder, legacy
from voicegw.agents.openhands.server import ConversationNotFound, OpenHandsServer
from voicegw.errors import AgentError, AgentProtocolError, AgentTimeout, AgentUnavailable
from voicegw.events import Event, Usage

BEGIN = 10.0
"""Seconds that the server gets to begin one; the next who needs it asks again, and gets the same."""
STOP = 2.0
"""Seconds that a conversation gets to stop before it is given up until its next turn."""
DETAIL = 0.5
"""Seconds after which an error has no reason, and words that a broken connection carried are lost."""
CLOSE = 2.0
"""Seconds that letting go of a conversation may take."""
BACK = "The caller was away."
"""What is told to an agent that wants something, by a gateway that does not remember what."""
CONFLICT = 409


class OpenHandsConversation:
    """A conversation by its `id`, and what we know of it between turns. `own`: it is no call's.

    `known` are the words of the caller that it was told, None if we never spoke to it; `fresh` that it began
    with us, and `suffix` the instructions that it began with. `saved`: it was told something that it did not
    answer. `cut` is what was said of an answer that was interrupted, of which it keeps nothing. `waiting`: it
    has to be told yes or no, to what is `wanted`; `asking` is how the caller was asked. `profile` is the LLM
    profile that speaks, `astray` that it may still be at what it was to stop.
    """

    def __init__(self, server: OpenHandsServer, id: str, *, own: bool) -> None:
        self.server = server
        self.id = id
        self.own = own
        self.fresh = False
        self.suffix = ""
        self.profile: str | None = None
        self.seq: int | None = None
        self.begun = False
        self.astray = False
        self._making: asyncio.Task[None] | None = None
        self._socket: AgentWebSocket | None = None
        self._forget()

    def _forget(self) -> None:
        """What was said is of another conversation."""
        self.known: int | None = None
        self.totals: Usage | None = None
        self.saved = False
        self.cut: str | None = None
        self.waiting = False
        self.asking = ""
        self.wanted: list[str] = []

    @property
    def path(self) -> str:
        return f"/api/conversations/{self.id}"

    async def begin(self, order: Mapping[str, Any]) -> None:
        """Have it on the server. What was begun is known to be, also when nobody waits for it any more."""
        if self._making is None or (self._making.done() and not self.begun):
            self._making = asyncio.create_task(self._make(order))
            self._making.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._making)

    async def _make(self, order: Mapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(BEGIN):
                await self._have(order)
        except TimeoutError:
            raise AgentTimeout(f"{self.server.where} began no conversation within {BEGIN:g} s") from None

    async def _have(self, order: Mapping[str, Any]) -> None:
        async with self.server.api.request("POST", "/api/conversations", order) as response:
            self.fresh = self.own or response.status == 201
            await response.read(MAX_ANSWER_BYTES)
        if not self.fresh:  # it went on while nobody listened, or waits for a yes that nobody remembers
            await self.interrupt()
            await self.reject(BACK)
        self._forget()
        self.begun = True

    async def connect(self, after: int | None = None) -> None:
        """Listen to it. Raises `ConversationNotFound` when the server forgot it."""
        if self._socket is None or not self._socket.alive:
            try:
                self._socket, first = await self.server.dial(self.id, after)
            except ConversationNotFound:
                self.begun = False
                raise
            if after is None and type(through := first.get("through_seq")) is int:
                self.seq = through

    async def send(self, frame: Mapping[str, Any]) -> None:
        """Say something."""
        await self._line.send(frame)

    async def receive(self) -> dict[str, Any]:
        """The next frame."""
        frame = await self._line.receive()
        return legacy(frame) if self.server.old else frame

    async def told(self, answer: OpenHandsTurnDecoder) -> AsyncGenerator[Event, None]:
        """What its socket tells until an end; one that breaks is replaced once, and repeats what was kept."""
        again = not self.server.old
        try:
            while not answer.status:
                try:
                    events = answer.feed(await self.receive())
                except WebSocketClosed:
                    if not again:
                        raise
                    again = False
                    events = await self._resumed(answer)
                for event in events:
                    yield event
        except AgentUnavailable as error:  # it was told, and nobody else must be
            raise AgentProtocolError(error.summary, error.quote) from None
        with suppress(AgentError, TimeoutError):
            async with asyncio.timeout(DETAIL):
                while not answer.whole:
                    answer.feed(await self.receive())

    async def _resumed(self, answer: OpenHandsTurnDecoder) -> list[Event]:
        """Listen to it again. Our words may have been lost: then they are not told once more."""
        await self.connect(-1 if answer.seq is None else answer.seq)
        events: list[Event] = []
        try:
            async with asyncio.timeout(DETAIL):
                while not answer.begun:
                    events += answer.feed(await self.receive())
        except TimeoutError:
            answer.handed, self.astray = False, True
            raise AgentUnavailable(f"{self.server.where} hung up before it took what was said") from None
        return events

    async def stop(self, answer: OpenHandsTurnDecoder) -> None:
        """Interrupt it, once our words have arrived there: before that there is nothing to stop."""
        if self.own:
            return  # it is removed
        self.astray = True
        with suppress(AgentError, TimeoutError):
            async with asyncio.timeout(STOP):
                while not answer.begun:
                    answer.feed(await self.receive())
                await self.interrupt()
                self.astray = False

    @property
    def _line(self) -> AgentWebSocket:
        assert self._socket is not None, "nobody listens to the conversation"
        return self._socket

    async def run(self) -> None:
        """Go on without new words."""
        await self.server.api.call("POST", f"{self.path}/run", {}, allow_status=(CONFLICT,))

    async def accept(self) -> None:
        """Do what waits for a yes."""
        await self.post("events/respond_to_confirmation", {"accept": True})

    async def reject(self, reason: str) -> None:
        """Do nothing of what waits for a yes; it does not go on by itself."""
        await self.post("events/respond_to_confirmation", {"accept": False, "reason": reason})

    async def interrupt(self) -> None:
        """Stop what runs: it has when this returns."""
        await self.post("interrupt")

    async def switch(self, profile: str, llm: Mapping[str, Any] | None) -> None:
        """Have another model speak from now on."""
        if llm is None:
            await self.post("switch_profile", {"profile_name": profile})
        else:
            await self.post("switch_llm", {"llm": llm})
        self.profile = profile

    async def post(self, what: str, body: Mapping[str, Any] | None = None) -> None:
        await self.server.api.call("POST", f"{self.path}/{what}", body or {})

    def hang_up(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            self._socket.abort()
            self._socket = None

    async def close(self, gone: bool) -> None:
        """Let go of it, and remove it from the server if it is `gone`."""
        self.hang_up()
        if self._making is None:
            return
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE):
                    await asyncio.wait((self._making,))
                    if gone:
                        await self.server.api.call("DELETE", self.path, allow_status=(404,))
        finally:
            self._making.cancel()
