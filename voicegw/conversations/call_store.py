"""The calls that this process remembers: the newest run of each, and older runs that are not closed yet.

It stores nothing on disk and shares nothing with other workers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from voicegw.conversations.history import heard_part, last_reply
from voicegw.conversations.transcript import Transcript
from voicegw.events import Message
from voicegw.turns.own_phrases import OwnPhrase
from voicegw.turns.reply_memory import ReplyMemory
from voicegw.turns.run import Run

MAX_TOTAL_CHARS = 256_000_000
"""Characters that are kept of all calls together. Above it, the least recently used calls are forgotten."""
MAX_EVICTION_CHECKS = 100
"""Calls that one eviction looks at. It skips busy calls."""


@dataclass(slots=True, eq=False)
class CallRecord:
    """One call."""

    id: str
    """The internal id, `CallIdentity.call_id()`."""
    last_used: float
    """When a request or socket used it last, in seconds on the dispatcher's clock."""
    run: Run | None = None
    """The run of its newest turn."""
    closing_runs: list[Run] = field(default_factory=list)
    """The runs of older turns that are not closed yet."""
    background_runs: list[Run] = field(default_factory=list)
    """The newest background run, and the older ones that are not closed yet."""
    own_phrases: ReplyMemory = field(default_factory=ReplyMemory)
    """The gateway's own phrases that the caller heard; they are removed from the histories of platforms."""
    transcript: Transcript = field(default_factory=Transcript)
    """The conversation, for platforms that do not send it with each turn."""
    unanswered: object = None
    """The request of a turn that a lost socket left unanswered, for `voicegw.calls`; None without one."""
    language: str | None = None
    """The language to which the agent switched the call; None for that of its platform's settings."""
    open_sockets: int = 0
    """The number of sockets that serve the call now."""
    on_takeover: Callable[[], None] | None = None
    """Makes the newest socket leave the call when another socket takes it over. None without a socket."""
    counted_chars: int = 0
    """`char_count()` when the store counted it last."""

    def char_count(self) -> int:
        """Return the approximate number of characters that are kept of the call."""
        messages = () if self.run is None else self.run.turn.messages
        return self.transcript.char_count + self.own_phrases.char_count + sum(map(_char_count, messages))

    @property
    def is_busy(self) -> bool:
        """Is a socket of the call open, or a run of it not closed yet?"""
        runs = (self.run, *self.background_runs, *self.closing_runs)
        return self.open_sockets > 0 or any(run is not None and not run.is_closed for run in runs)

    def start_run(self, run: Run) -> None:
        """Make this the newest run. The run before it joins `closing_runs`."""
        if self.run is not None:
            self.closing_runs.append(self.run)
        self.closing_runs = [old for old in self.closing_runs if not old.is_closed]
        self.run = run

    def add_background(self, run: Run) -> None:
        """Remember a background run, so that an identical request finds it. It supersedes nothing."""
        self.background_runs = [*(old for old in self.background_runs if not old.is_closed), run]


class CallStore:
    """The calls that are remembered, in the order of their last use.

    A call is forgotten after `idle` seconds without use, or when there are too many calls or characters.
    A busy call is never forgotten.
    """

    def __init__(
        self,
        *,
        idle_timeout: float = 1800.0,
        max_calls: int = 10_000,
        on_call_ended: Callable[[str], None] = lambda id: None,
    ) -> None:
        # Seconds without use after which a call is forgotten.
        self.idle_timeout = idle_timeout
        # Above this number, the least recently used calls are forgotten.
        self.max_calls = max_calls
        # Called with the id of each call that is forgotten.
        self.on_call_ended = on_call_ended
        # The sum of all `counted_chars`.
        self._total_chars = 0
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
        self._evict(now, id)
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
        if call is None or call.run is None:
            return None
        before = call.run.turn.messages
        since = messages[len(before) :]
        if not since or tuple(messages[: len(before)]) != before:
            return None  # another history, or the same turn again
        reply = "".join(event for event in call.run.event_log.events if type(event) is str)
        return heard_part(reply, last_reply(since) or "")

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

    def update_char_count(self, call: CallRecord) -> None:
        """Count the characters of a call whose turn began, and evict calls if there are too many."""
        char_count = call.char_count()
        self._total_chars += char_count - call.counted_chars
        call.counted_chars = char_count
        self._evict(call.last_used, call.id)

    def _evict(self, now: float, keep: str) -> None:
        """Remove the least recently used calls while they are too old, too many or too large.

        A busy call moves to the end instead. The call with the id `keep` stays.
        """
        for _ in range(MAX_EVICTION_CHECKS):
            call = next(iter(self._calls.values()))
            too_much = len(self._calls) > self.max_calls or self._total_chars > MAX_TOTAL_CHARS
            if call.id == keep or not (too_much or call.last_used + self.idle_timeout <= now):
                return
            if call.is_busy:
                call.last_used = now
                self._calls.move_to_end(call.id)
            else:
                self._remove(call)

    def _remove(self, call: CallRecord) -> None:
        del self._calls[call.id]
        self._total_chars -= call.counted_chars
        self.on_call_ended(call.id)


def _char_count(message: Message) -> int:
    """Return the approximate number of characters of a message, images included."""
    count = len(message.text) + 100
    for part in message.parts:
        for value in part.values():
            values = value.values() if isinstance(value, Mapping) else (value,)
            count += sum(len(text) for text in values if isinstance(text, str))
    return count
