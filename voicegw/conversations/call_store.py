"""The calls that this process remembers, in limits of time, number and memory.

It stores nothing on disk and shares nothing with other workers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from voicegw.conversations.call_record import CallRecord
from voicegw.events import Message
from voicegw.turns.own_phrases import OwnPhrase
from voicegw.turns.run import Run

MAX_MEMORY = 134_217_728
"""Default of `CallStore.max_memory`: 10 000 calls of 13 kB each."""
MAX_EVICTION_CHECKS = 100
"""Calls that one eviction looks at. It skips busy calls."""


class CallStore:
    """The calls that are remembered, in the order of their last use.

    A call is forgotten after `idle_timeout` seconds without use, or when there are too many calls or bytes.
    A busy call is never forgotten. Its open runs do not count: the limits of concurrent turns bound them.
    """

    def __init__(
        self,
        *,
        idle_timeout: float = 1800.0,
        max_calls: int = 10_000,
        max_memory: int = MAX_MEMORY,
        on_call_ended: Callable[[str], None] = lambda id: None,
    ) -> None:
        # Seconds without use after which a call is forgotten.
        self.idle_timeout = idle_timeout
        # Above this number, the least recently used calls are forgotten.
        self.max_calls = max_calls
        # Limit of `total_bytes`. Above it, the least recently used calls are forgotten.
        self.max_memory = max_memory
        # Called with the id of each call that is forgotten.
        self.on_call_ended = on_call_ended
        # The sum of all `counted_bytes`.
        self.total_bytes = 0
        # By id, the least recently used first.
        self._calls: OrderedDict[str, CallRecord] = OrderedDict()

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, id: str) -> bool:
        """Is a call with this id remembered? Unlike `get`, this creates none."""
        return id in self._calls

    def is_open(self, id: str) -> bool:
        """Does a socket serve this call now?"""
        return id in self._calls and self._calls[id].open_sockets > 0

    def get(self, id: str, now: float) -> CallRecord:
        """Return the call with this id, a new one if none is remembered, and mark it as used at `now`."""
        call = self._calls.get(id)
        if call is not None and call.last_used + self.idle_timeout <= now and not call.is_busy:
            self._remove(call)
            call = None
        call = CallRecord(id, now) if call is None else call
        call.last_used = now
        self._calls[id] = call
        self._calls.move_to_end(id)
        self.evict(now, id)
        return call

    def own_phrases(self, id: str | None) -> tuple[OwnPhrase, ...] | None:
        """Return the gateway's own phrases that the caller heard, () for an unknown call.

        None if `id` is None: nothing is remembered of a request without a call.
        """
        if id is None:
            return None
        call = self._calls.get(id)
        return () if call is None else call.own_phrases.find_phrases()

    def heard_part(self, id: str | None, messages: Sequence[Message]) -> str | None:
        """Return the part of the newest reply that the caller heard, according to the platform's `messages`.

        None if the caller heard all of it, if the call is unknown, or if `messages` does not continue the
        newest turn.
        """
        call = self._calls.get(id or "")
        return None if call is None else call.heard_part(messages)

    def add_own_phrase(self, id: str | None, run: Run, words: str, event_count: int) -> None:
        """Remember that the gateway said these words itself, after the first `event_count` events of the run.

        Do nothing for an unknown call.
        """
        call = self._calls.get(id or "")
        if call is not None:
            call.own_phrases.add(run.event_log, run.turn.said, words, event_count)

    def end(self, id: str) -> None:
        """Forget a call that is over, and cancel its newest run. Do nothing if it is unknown."""
        call = self._calls.get(id)
        if call is None:
            return
        if call.run is not None and not call.run.event_log.has_ended:
            call.run.cancel()
        self._remove(call)

    def on_run_closed(self, id: str, now: float) -> None:
        """Count the bytes of a call, a run of which is closed; evict calls if there are too many.

        Ignore an unknown call.
        """
        if id in self._calls:
            self._calls[id].drop_closed_runs()
            self.update_size(self._calls[id], now)

    def forget_run(self, id: str, run: Run, now: float) -> None:
        """Forget a closed run of a call that answers no repeated request any more. Ignore an unknown call."""
        if id in self._calls:
            self._calls[id].forget_run(run)
            self.update_size(self._calls[id], now)

    def update_size(self, call: CallRecord, now: float) -> None:
        """Count the bytes of a call again, and evict other calls if there are too many.

        Do nothing for a call that is forgotten.
        """
        if self._calls.get(call.id) is not call:
            return
        byte_count = call.byte_count()
        self.total_bytes += byte_count - call.counted_bytes
        call.counted_bytes = byte_count
        self.evict(now, call.id)

    def evict(self, now: float, keep: str = "") -> bool:
        """Remove the least recently used calls while they are too old, too many or too large.

        A busy call moves to the end instead. The call with the id `keep` stays. Return whether calls may be
        left to remove: one eviction looks at `MAX_EVICTION_CHECKS` calls.
        """
        for _ in range(MAX_EVICTION_CHECKS):
            call = next(iter(self._calls.values()), None)
            if call is None or call.id == keep:
                return False
            if not self._is_full and now < call.last_used + self.idle_timeout:
                return False
            if call.is_busy:
                call.last_used = now
                self._calls.move_to_end(call.id)
            else:
                self._remove(call)
        return True

    @property
    def _is_full(self) -> bool:
        return len(self._calls) > self.max_calls or self.total_bytes > self.max_memory

    def _remove(self, call: CallRecord) -> None:
        del self._calls[call.id]
        self.total_bytes -= call.counted_bytes
        self.on_call_ended(call.id)
