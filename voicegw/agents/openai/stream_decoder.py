"""Decoder for the bytes of a chat-completions stream: server-sent events, then chunks. Pure.

Texts that arrive together become one delta: it leaves in one chunk, and costs what one text costs.
"""

from __future__ import annotations

from voicegw.agents.openai.decoder import ChatChunkDecoder
from voicegw.errors import AgentError
from voicegw.events import Event
from voicegw.wire.sse import SseParser


class ChatStreamDecoder:
    """Turns the bytes of one streamed answer into events, wherever the network cut them.

    `chunks` decodes the chunks; it knows whether the answer is complete, and returns the rest at its end.
    """

    __slots__ = ("_parser", "chunks", "failure")

    def __init__(self, chunks: ChatChunkDecoder) -> None:
        self.chunks = chunks
        # Data that is no chunk, or the failure that the server reports; None while there is none.
        self.failure: AgentError | None = None
        self._parser = SseParser()

    @property
    def has_partial_event(self) -> bool:
        """Has an event begun that is not complete?"""
        return self._parser.has_partial_event

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes.

        A failure does not take the text before it away: it is in `failure`, for the caller to raise.
        """
        text = ""
        if self._parser.is_between_events:
            text, size = self.chunks.take_texts(data)
            if size == len(data):
                return [text]
            data = data[size:]
        events: list[Event] = []
        try:
            for sse in self._parser.feed(data):
                for event in self.chunks.feed(sse):
                    if type(event) is str:
                        text += event
                    else:
                        events += (text, event) if text else (event,)
                        text = ""
        except AgentError as error:
            self.failure = error
        if text:
            events.append(text)
        return events
