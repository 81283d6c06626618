"""Decoder for the bytes of a chat-completions stream: server-sent events, then chunks. Pure.

Texts that arrive together become one delta: it leaves in one chunk, and costs what one text costs.
"""

from __future__ import annotations

from collections.abc import Iterator

from voicegw.agents.openai.decoder import ChatChunkDecoder
from voicegw.agents.openai.text_template import TextTemplate
from voicegw.errors import AgentError
from voicegw.events import Event
from voicegw.wire.sse import SseParser

EMPTY_LINE = b"\n\n"
"""The end of most events."""


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
        chunks, events, texts, at = self.chunks, list[Event](), list[str](), 0
        if chunks.template is not None and self._parser.is_between_events and not chunks.done:
            text, at = chunks.template.read_events(data, 0)
            if at == len(data):
                return [text]
            texts.append(text)
        try:
            for event in self._decode(data, at, chunks.template):
                if type(event) is str:
                    texts.append(event)
                    continue
                _end_text(texts, events)
                events.append(event)
        except AgentError as error:
            self.failure = error
        _end_text(texts, events)
        return events

    def _decode(self, data: bytes, at: int, tried: TextTemplate | None) -> Iterator[Event]:
        """Yield the events of `data` from `at` one by one, but texts at once from the first template on.

        `tried` is the template that does not fit there.
        """
        chunks, parser = self.chunks, self._parser
        while at < len(data):
            template = chunks.template
            if template is not tried and template is not None and parser.is_between_events:
                tried = template
                text, at = template.read_events(data, at)
                yield text
                continue
            end = data.find(EMPTY_LINE, at) if template is None else -1
            piece = data[at:] if end < 0 else data[at : end + len(EMPTY_LINE)]
            at += len(piece)
            for sse in parser.feed(piece):
                yield from chunks.feed(sse)


def _end_text(texts: list[str], events: list[Event]) -> None:
    """Append the texts as one event, if there are any."""
    if text := "".join(texts):
        events.append(text)
    texts.clear()
