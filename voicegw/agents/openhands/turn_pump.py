"""Pushes the events of one turn as its frames arrive, also over a new socket if the first one breaks.

It sends nothing: `OpenHandsAgent` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from voicegw.agents.client.websocket import WebSocketClosed
from voicegw.agents.openhands.conversation import OpenHandsConversation
from voicegw.agents.openhands.decoder import OpenHandsTurnDecoder
from voicegw.errors import AgentError, AgentProtocolError, AgentUnavailable
from voicegw.events import Event
from voicegw.turns.streaming import EventSink

FOLLOW_UP_TIMEOUT = 0.5
"""Seconds to wait for the reason of an error, and, on a new socket, for our own message to come back."""


class TurnPump:
    """Pushes the events that `decoder` makes of the frames of `conversation` into `sink`."""

    def __init__(
        self, conversation: OpenHandsConversation, decoder: OpenHandsTurnDecoder, sink: EventSink
    ) -> None:
        # The texts that were pushed.
        self.texts: list[str] = []
        self._conversation = conversation
        self._decoder = decoder
        self._sink = sink
        # Whether the sink takes more events.
        self._is_open = True

    async def pump(self) -> bool:
        """Push events until the run ends or waits. Return False if the sink takes no more.

        A socket that breaks is replaced; the new one repeats the durable events. Raises `AgentProtocolError`
        if that one breaks too: the turn was sent, so no other agent may get it.
        """
        may_reconnect = not self._conversation.server.is_legacy
        try:
            while self._is_open and not self._decoder.status:
                try:
                    await self._conversation.pump(self._feed, self._sink.flush)
                except WebSocketClosed:
                    if not may_reconnect:
                        raise
                    may_reconnect = False
                    self._push(await self._reconnect())
        except AgentUnavailable as error:  # "unavailable" would let a fallback agent get the same turn
            raise AgentProtocolError(error.summary, error.quote) from None
        if self._is_open:
            await self._read_reason()
        return self._is_open

    def _feed(self, frame: dict[str, Any]) -> bool:
        self._push(self._decoder.feed(frame))
        return self._is_open and not self._decoder.status

    def _push(self, events: Iterable[Event]) -> None:
        for event in events:
            if type(event) is str:
                self.texts.append(event)
            if not self._sink.push(event):
                self._is_open = False
                return

    async def _reconnect(self) -> list[Event]:
        """Open a new socket. A message that does not come back on it may be lost, and is not sent again."""
        conversation, decoder = self._conversation, self._decoder
        await conversation.connect(-1 if decoder.seq is None else decoder.seq)
        events: list[Event] = []
        try:
            async with asyncio.timeout(FOLLOW_UP_TIMEOUT):
                while not decoder.started:
                    events += decoder.feed(await conversation.receive())
        except TimeoutError:
            decoder.sent, conversation.needs_interrupt = False, True
            raise AgentUnavailable(
                f"{conversation.server.where} closed the connection before it took the message"
            ) from None
        return events

    async def _read_reason(self) -> None:
        """Read the reason of an error, which comes after the status."""
        with suppress(AgentError, TimeoutError):
            async with asyncio.timeout(FOLLOW_UP_TIMEOUT):
                while not self._decoder.is_complete:
                    self._decoder.feed(await self._conversation.receive())
