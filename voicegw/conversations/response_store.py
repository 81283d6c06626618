"""Responses that a later request may continue: the memory of this process behind `previous_response_id`.

It keeps the conversation as the agent knows it, without the gateway's own words. It keeps no instructions:
every request brings its own.
Source: OpenAI's Responses API, `previous_response_id` and `store`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from voicegw.errors import NotFound
from voicegw.events import Message
from voicegw.turns.completion import Completion, collect
from voicegw.turns.stream import EventLog
from voicegw.wire.memory_size import messages_bytes

MAX_TOTAL_BYTES = 16 * 1024 * 1024
"""Default of `ResponseStore.max_bytes`."""
RESPONSE_BYTES = 1024
"""Bytes of memory of a stored response without its messages."""

EMPTY = Completion(())
"""The response before it is complete."""


class PreviousResponseNotFound(NotFound):
    """No such response is stored here: it never existed, is too old, or is another key's or worker's."""

    type = "invalid_request_error"
    code = "previous_response_not_found"


@dataclass(slots=True, eq=False)
class StoredResponse:
    """A conversation up to and including one response."""

    history: tuple[Message, ...] = ()
    """The messages up to the response."""
    event_log: EventLog | None = None
    """The events of the response while it runs; None once it is in `completed`."""
    last_used: float = 0.0
    """When it was stored or found last, in seconds on the dispatcher's clock."""
    counted_bytes: int = RESPONSE_BYTES
    """`byte_count()` when the store counted it last."""
    completed: Completion = EMPTY
    """The response once it is complete."""
    own_message_counts: set[int] = field(default_factory=set)
    """Where a message holds words of the gateway: the number of tool calls before it."""

    @property
    def completion(self) -> Completion:
        """The response. If it still runs, or was cut short, it counts up to now."""
        return self.completed if self.event_log is None else collect(self.event_log.events)

    def byte_count(self) -> int:
        """Return the bytes of memory of the conversation, without a response that still runs."""
        return RESPONSE_BYTES + messages_bytes((*self.history, *self.completed.messages))

    @property
    def messages(self) -> tuple[Message, ...]:
        """The whole conversation."""
        return (*self.history, *self.completion.messages)


class ResponseStore:
    """The stored responses, in the order of their last use. Above a limit, the first ones are removed."""

    def __init__(
        self, *, idle_timeout: float = 1800.0, max_responses: int = 10_000, max_bytes: int = MAX_TOTAL_BYTES
    ) -> None:
        # Seconds without use after which a response is forgotten.
        self.idle_timeout = idle_timeout
        # Limit of the number of responses.
        self.max_responses = max_responses
        # Limit of `total_bytes`.
        self.max_bytes = max_bytes
        # The sum of all `counted_bytes`.
        self.total_bytes = 0
        # By (tenant, response id), the least recently used first.
        self._responses: OrderedDict[tuple[str, str], StoredResponse] = OrderedDict()

    def __len__(self) -> int:
        return len(self._responses)

    def find(self, tenant: str, id: str, now: float) -> StoredResponse:
        """Return this tenant's response with this id, and mark it as used at `now`.

        Raise `PreviousResponseNotFound` if there is none, or none that was used within `idle` seconds.
        """
        response = self._responses.get((tenant, id))
        if response is None or response.last_used + self.idle_timeout <= now:
            raise PreviousResponseNotFound(
                f"The previous response '{id}' is not known (any more).", param="previous_response_id"
            )
        response.last_used = now
        self._responses.move_to_end((tenant, id))
        return response

    def add(self, tenant: str, id: str, response: StoredResponse) -> None:
        """Store a response that begins, or that another client joins. A request may continue it at once."""
        if (known := self._remove((tenant, id))) is not None:
            response.own_message_counts = known.own_message_counts
        self._responses[tenant, id] = response
        self.total_bytes += response.counted_bytes
        self._evict(response.last_used)

    def complete(self, tenant: str, id: str, now: float) -> None:
        """Count the bytes of a conversation whose client left. If the response ended, drop its event log."""
        response = self._responses.get((tenant, id))
        if response is None:
            return
        if response.event_log is not None and response.event_log.has_ended:
            response.completed, response.event_log = response.completion, None
        byte_count = response.byte_count()
        self.total_bytes += byte_count - response.counted_bytes
        response.counted_bytes = byte_count
        self._evict(now)

    def note_own_words(self, tenant: str, id: str, call_count: int) -> None:
        """Note that the message after so many tool calls holds words of the gateway."""
        if (response := self._responses.get((tenant, id))) is not None:
            response.own_message_counts.add(call_count)

    def _remove(self, key: tuple[str, str]) -> StoredResponse | None:
        response = self._responses.pop(key, None)
        if response is not None:
            self.total_bytes -= response.counted_bytes
        return response

    def _evict(self, now: float) -> None:
        while self._responses:
            key, oldest = next(iter(self._responses.items()))
            fits = len(self) <= self.max_responses and self.total_bytes <= self.max_bytes
            if fits and oldest.last_used + self.idle_timeout > now:
                return
            self._remove(key)
