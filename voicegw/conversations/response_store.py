"""Answers that a request may go on from, in this process: the memory behind `previous_response_id`.

What is remembered is the conversation as the agent knows it, none of our own words among it. Instructions
are not: every request brings its own.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from voicegw.errors import NotFound
from voicegw.events import Message
from voicegw.turns.completion import collect
from voicegw.turns.stream import EventLog

MAX_BYTES = 16 * 1024 * 1024
"""How much is remembered, by the size of the requests it came in."""


class PreviousResponseNotFound(NotFound):
    """The answer to go on from is not known: never given, to another key, by another worker, too long ago."""

    type = "invalid_request_error"
    code = "previous_response_not_found"


@dataclass(slots=True, eq=False)
class StoredResponse:
    """A conversation up to one answer. `record` is that answer while it is given, None once it is whole.

    Whoever goes on from an answer that is still given, or was cut short, goes on from what was said so far.
    """

    history: tuple[Message, ...] = ()
    event_log: EventLog | None = None
    size: int = 0
    used: float = 0.0

    @property
    def messages(self) -> tuple[Message, ...]:
        if self.event_log is None:
            return self.history
        return (*self.history, *collect(self.event_log.events).messages)


class ResponseStore:
    """The answers used within `idle` seconds, at most `most` of them and `size` bytes, the latest ones."""

    def __init__(self, *, idle: float = 1800.0, max_responses: int = 10_000, size: int = MAX_BYTES) -> None:
        self.idle = idle
        self.max_responses = max_responses
        self.size = size
        self.held = 0
        self._pasts: OrderedDict[tuple[str, str], StoredResponse] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pasts)

    def find(self, tenant: str, id: str, now: float) -> StoredResponse:
        """The conversation up to that answer to this tenant. Raises `PreviousResponseNotFound`."""
        past = self._pasts.get((tenant, id))
        if past is None or past.used + self.idle <= now:
            raise PreviousResponseNotFound(
                f"The previous response '{id}' is not known (any more).", param="previous_response_id"
            )
        past.used = now
        self._pasts.move_to_end((tenant, id))
        return past

    def begin(self, tenant: str, id: str, past: StoredResponse) -> None:
        """An answer is about to be given; it may be gone on from at once."""
        self._drop((tenant, id))
        self._pasts[tenant, id] = past
        self.held += past.size
        self._forget(past.used)

    def end(self, tenant: str, id: str, now: float) -> None:
        """Nobody waits for that answer any more: remember what it came to."""
        past = self._pasts.get((tenant, id))
        if past is None or past.event_log is None or not past.event_log.ended:
            return
        told = len(past.history)
        past.history, past.event_log = past.messages, None
        said = sum(len(message.text) for message in past.history[told:])
        past.size += said
        self.held += said
        self._forget(now)

    def _drop(self, key: tuple[str, str]) -> None:
        past = self._pasts.pop(key, None)
        if past is not None:
            self.held -= past.size

    def _forget(self, now: float) -> None:
        while self._pasts:
            key, oldest = next(iter(self._pasts.items()))
            if len(self) <= self.max_responses and self.held <= self.size and oldest.used + self.idle > now:
                return
            self._drop(key)
