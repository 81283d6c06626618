"""The record of one call: its runs, its transcript, and the gateway's own phrases in it.

A run is kept while it may answer a repeated request. Later only the end of its turn is needed (`LastTurn`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from voicegw.conversations.history import heard_part, last_reply
from voicegw.conversations.last_turn import LastTurn, make_last_turn
from voicegw.conversations.transcript import Transcript
from voicegw.events import Message
from voicegw.turns.reply_memory import ReplyMemory
from voicegw.turns.run import Run
from voicegw.wire.memory_size import deep_bytes, messages_bytes

RECORD_BYTES = 1600
"""Bytes of a call without words: the record, its ids, its empty transcript, and its place in the store."""
RUN_BYTES = 3072
"""Bytes of a closed run without its messages and events."""
EVENT_BYTES = 64
"""Bytes of an event without its characters."""


@dataclass(slots=True, eq=False)
class CallRecord:
    """One call."""

    id: str
    """The internal id, `CallIdentity.call_id()`."""
    last_used: float
    """When a request or socket used it last, in seconds on the dispatcher's clock."""
    run: Run | None = None
    """The run of its newest turn; None once it is closed and forgotten."""
    last_turn: LastTurn | None = None
    """The newest turn, once its run is forgotten."""
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
    counted_bytes: int = 0
    """`byte_count()` when the store counted it last."""

    def byte_count(self) -> int:
        """Return the approximate bytes of memory of the call, without those of runs that are not closed."""
        count = RECORD_BYTES + self.transcript.byte_count + self.own_phrases.byte_count
        if self.unanswered is not None:
            count += deep_bytes(self.unanswered)
        if self.last_turn is not None:
            count += self.last_turn.byte_count
        for run in self._runs():
            if run.closed_at is not None:
                count += _run_bytes(run)
        return count

    @property
    def is_busy(self) -> bool:
        """Is a socket of the call open, or a run of it not closed yet?"""
        return self.open_sockets > 0 or not all(run.is_closed for run in self._runs())

    def _runs(self) -> Sequence[Run]:
        newest = () if self.run is None else (self.run,)
        return (*newest, *self.background_runs, *self.closing_runs)

    def start_run(self, run: Run) -> None:
        """Make this the newest run. The run before it joins `closing_runs`."""
        if self.run is not None:
            self.closing_runs.append(self.run)
        self.drop_closed_runs()
        self.run, self.last_turn = run, None

    def add_background(self, run: Run) -> None:
        """Remember a background run, so that an identical request finds it. It supersedes nothing."""
        self.background_runs = [*(old for old in self.background_runs if not old.is_closed), run]

    def drop_closed_runs(self) -> None:
        """Forget the runs of older turns that are closed now."""
        if self.closing_runs:
            self.closing_runs = [run for run in self.closing_runs if not run.is_closed]

    def forget_run(self, run: Run) -> None:
        """Forget a closed run. Of the newest turn, keep what later turns need."""
        self.own_phrases.find_phrases()  # releases the events of the run
        self.background_runs = [known for known in self.background_runs if known is not run]
        if self.run is run:
            self.last_turn = make_last_turn(run.turn.messages, run.event_log.events)
            self.run = None

    def heard_part(self, messages: Sequence[Message]) -> str | None:
        """Return the part of the newest reply that the caller heard, according to the platform's `messages`.

        None if the caller heard all of it, or if `messages` does not continue the newest turn.
        """
        if self.run is None:
            return None if self.last_turn is None else self.last_turn.heard_part(messages)
        before = self.run.turn.messages
        since = messages[len(before) :]
        if not since or tuple(messages[: len(before)]) != before:
            return None  # another history, or the same turn again
        reply = "".join(event for event in self.run.event_log.events if type(event) is str)
        return heard_part(reply, last_reply(since) or "")


def _run_bytes(run: Run) -> int:
    words = EVENT_BYTES * run.event_count + 2 * run.character_count
    return RUN_BYTES + words + messages_bytes(run.turn.messages)
