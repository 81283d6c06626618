"""A run: one agent answers one turn, in a task that the gateway owns.

The run appends the agent's events to its event log. It wakes its subscribers when the agent has no further
event ready: events that arrive together are sent together, within one iteration of the event loop. The run
never waits for its subscribers. It cancels its task at most once: a second cancellation would interrupt the
`await` with which an agent tells its remote side to stop. A run encodes nothing; `voicegw.turns.stream` does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

from voicegw.errors import AgentError, AgentProtocolError, AgentTimeout, VoicegwError
from voicegw.events import REASONING, Activity, Agent, Event, Finish, ToolCall, Turn
from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import MAX_HOLD_SECONDS, SpeechOptions
from voicegw.turns.prompts import may_stay_silent
from voicegw.turns.speech_buffer import SpeechBuffer
from voicegw.turns.stream import EventLog
from voicegw.turns.streaming import stream_events
from voicegw.turns.timeouts import NO_TIMEOUTS, Timeouts
from voicegw.wire.json import join_surrogates

MAX_EVENTS = 100_000
"""Maximum number of events of one run; beyond it the run ends with "length". Hours of speech are fewer."""
MAX_TEXT_CHARACTERS = 4_000_000
"""Maximum characters of one run's text and tool calls; beyond it the run ends with "length"."""
SUPERSEDE_WAIT = 0.15
"""Maximum seconds for which a new turn waits until the runs that it supersedes are closed."""

log = logging.getLogger("voicegw.error")


class Subscriber(Protocol):
    """An object that is notified when the event log of a run grows or ends."""

    def wake(self) -> None:
        """Read the event log. Return quickly, raise nothing, and unsubscribe only if the log has ended."""
        ...


class Run:
    """One agent answers one turn.

    `on_end` is called once, when the agent's generator is closed. `earlier_runs` are runs of the same call;
    they are cancelled when this run starts or is cancelled, and its task waits for them, at most
    `SUPERSEDE_WAIT` seconds. `speech_filter` makes the agent's text speakable and releases the text that it
    holds when the agent pauses for `max_hold_seconds`; without it, text enters the event log unchanged.

    `now` is the clock of all times here, in seconds. It must agree with the event loop's clock up to that
    clock's resolution (uvloop's is a whole millisecond, too coarse for our measurements).
    """

    def __init__(
        self,
        agent: Agent,
        turn: Turn,
        on_end: Callable[[Run], None],
        *,
        now: Callable[[], float],
        earlier_runs: Sequence[Run] = (),
        timeouts: Timeouts = NO_TIMEOUTS,
        speech_filter: SpeechFilter | None = None,
        max_hold_seconds: float = MAX_HOLD_SECONDS,
        options_after: Callable[[ToolCall], SpeechOptions | None] | None = None,
        max_events: int = MAX_EVENTS,
    ) -> None:
        # The agent, and the turn that it answers.
        self.agent = agent
        self.turn = turn
        # Runs of the same call that this one supersedes; empty once they are cancelled. The dispatcher sets
        # it.
        self.earlier_runs = earlier_runs
        # How long the agent may be silent.
        self.timeouts = timeouts
        # Called once with this run, when the agent's generator is closed.
        self.on_end = on_end
        # The clock of all times here, in seconds.
        self.now = now
        # Maximum number of events from the agent.
        self.max_events = max_events
        # The events so far, for subscribers to read.
        self.event_log = EventLog()
        # The subscribers to wake when the event log grows or ends. They add themselves; the dispatcher
        # removes them.
        self.subscribers: list[Subscriber] = []
        # The event loop of the task and the timers.
        self.loop = asyncio.get_running_loop()
        # The task that consumes the agent; None before the start and after the end.
        self.task: asyncio.Task[None] | None = None
        # The names of the tools that the request offers. Other tool calls are activities.
        self.offered_tools = frozenset(tool.name for tool in turn.tools)
        # True once `start` created the task.
        self.has_started = False
        # The `Idempotency-Key` of each request that it answers. Set by `IdempotentRuns`.
        self.idempotency_keys: tuple[bytes, ...] = ()
        # A digest of the turn's options once they are forgotten; None before. Set by the dispatcher.
        self.options_digest: bytes | None = None
        # True once a subscriber sent the answer to its end. Set by the endpoint or the call.
        self.was_delivered = False
        # The time at which the last subscriber left; None before. Set by the dispatcher.
        self.unsubscribed_at: float | None = None
        # True if the event log holds speakable text, False if it holds the agent's text unchanged.
        self.has_speech_filter = speech_filter is not None
        # The buffer in front of the event log; None without a speech filter and after the end.
        self.speech_buffer = (
            None
            if speech_filter is None
            else SpeechBuffer(speech_filter, max_hold_seconds, self._append, self._wake_subscribers, now)
        )
        # Returns the options of the speech filter after a tool call that switches the language of the voice.
        self.options_after = options_after
        # The first half of a surrogate pair at the end of the last delta, "" if it ended with a character.
        self._high_surrogate = ""
        # The number of events, and of characters of text and tool calls, that the agent yielded.
        self.event_count = 0
        self.character_count = 0
        # True once the agent gave visible text or a tool call.
        self.has_spoken = False
        # True once the agent gave visible text, a tool call or an activity other than `REASONING`.
        self.has_output = False
        # True once it gave any of these or `REASONING`: from then on `idle` counts.
        self.has_worked = False
        # The time since which the agent gives only pieces that the caller does not hear; None if it does not.
        self.reasoning_since: float | None = None
        # The time of the agent's last event, or of the request to the agent.
        self.last_event_at = 0.0
        # True if the event log grew since the subscribers were last woken.
        self._has_new_events = False
        # The timer of `deadline`.
        self._timer: asyncio.TimerHandle | None = None
        # The times of the request to the agent, its first token, its cancellation and its closing; None
        # before.
        self.requested_at: float | None = None
        self.first_token_at: float | None = None
        self.cancelled_at: float | None = None
        self.closed_at: float | None = None
        # The callbacks of `on_closed` with the timers of their timeouts.
        self._closed_callbacks: dict[Callable[[], None], asyncio.TimerHandle] = {}

    @property
    def is_closed(self) -> bool:
        """Is the agent's generator closed?"""
        return self.closed_at is not None

    def start(self) -> None:
        """Start the agent's reply, in a new task. Do nothing if the run started or was cancelled before."""
        if not self.has_started and self.cancelled_at is None:
            self.has_started = True
            self.task = self.loop.create_task(self._run_agent(self._cancel_earlier_runs()))
            self.task.add_done_callback(self._on_task_done)

    def cancel(self) -> None:
        """End the event log now and close the agent's generator, once. Do nothing if it is closed."""
        if self.cancelled_at is None and self.closed_at is None:
            self.cancelled_at = self.now()
            if self.task is None:
                self._cancel_earlier_runs()
                self.closed_at = self.cancelled_at
                self.on_end(self)
            else:
                self.task.cancel()
            self.event_log.was_cancelled = not self.event_log.has_ended and self.event_log.failure is None
        self._end_log()

    def fail(self, failure: VoicegwError) -> None:
        """End the event log with a failure of the gateway, and close the agent's generator."""
        if not self.event_log.has_ended:
            self.event_log.failure = failure
        self.cancel()

    def on_closed(self, callback: Callable[[], None], timeout: float) -> None:
        """Call `callback` once: when the agent's generator is closed, or after `timeout` seconds."""
        if self.closed_at is not None or self.task is None:
            return callback()

        def on_timeout() -> None:
            del self._closed_callbacks[callback]
            callback()

        self._closed_callbacks[callback] = self.loop.call_later(timeout, on_timeout)

    def _cancel_earlier_runs(self) -> list[asyncio.Task[None]]:
        """Cancel the earlier runs of the call. Return their tasks, which then close."""
        earlier, self.earlier_runs = self.earlier_runs, ()
        for run in earlier:
            run.cancel()
        return [run.task for run in earlier if run.task is not None]

    async def _run_agent(self, closing: list[asyncio.Task[None]]) -> None:
        failure: VoicegwError | None = None
        try:
            if closing:  # a task that takes longer stays owned by its run; this task stops waiting
                await asyncio.wait(closing, timeout=SUPERSEDE_WAIT)
                closing.clear()
            self.requested_at = self.last_event_at = self.now()
            self._start_timer()
            try:
                await stream_events(self.agent, self.turn, self)
            finally:
                self._release_held_text()
            if not self.has_spoken and not may_stay_silent(self.turn):
                raise AgentProtocolError("the agent said nothing")
        except VoicegwError as error:
            failure = error
        except BaseException as error:  # also SystemExit: it ends this turn and not the gateway
            if self.cancelled_at is not None and isinstance(error, asyncio.CancelledError):
                raise
            failure = AgentError(f"the agent raised {type(error).__name__}", str(error))
            failure.__cause__ = error
        self._end_log(failure)

    def push(self, event: Event) -> bool:
        """Append one event of the agent to the log. Return False if the log accepts no more."""
        if self.event_log.has_ended:
            return False
        self.last_event_at = self.now()
        if type(event) is str:
            return self._push_text(event)
        if type(event) is Activity and event == REASONING:
            return self._on_reasoning()
        self.event_count += 1
        if type(event) is ToolCall:
            self.character_count += len(event.id) + len(event.name) + len(event.arguments)
            if event.name not in self.offered_tools:
                event = Activity(event.name)  # the agent's own tool, or a mistake: the client cannot run it
        if self.event_count > self.max_events or self.character_count > MAX_TEXT_CHARACTERS:
            return self._end_at_limit()
        self.reasoning_since = None
        if type(event) in (ToolCall, Activity, Finish):  # text that came earlier precedes them
            self._release_held_text(at_end=type(event) is not Activity)
        if type(event) is ToolCall and self.speech_buffer is not None and self.options_after is not None:
            options = self.options_after(event)
            if options is not None:
                self.speech_buffer.speech_filter.change_options(options)
        self._append(event)
        return True

    def _push_text(self, text: str) -> bool:
        self.event_count += 1
        self.character_count += len(text)
        if self.event_count > self.max_events or self.character_count > MAX_TEXT_CHARACTERS:
            return self._end_at_limit()
        if self.speech_buffer is not None:
            text = self.speech_buffer.feed(text, self.last_event_at)
            if not text and self.speech_buffer.speech_filter.is_silenced:
                return self._on_reasoning()
        elif self._high_surrogate or "\ud800" <= text[-1:] <= "\udbff":
            text = self._join_high_surrogate(text)
        self.reasoning_since = None
        if text:
            self.event_log.events.append(text)
            self._has_new_events = True
            if not self.has_spoken:
                self._note_first_output(text)
        return True

    def _end_at_limit(self) -> bool:
        self._release_held_text()
        self._append(Finish("length"))
        self._end_log()
        return False

    def _on_reasoning(self) -> bool:
        """Take a piece of a stream that the caller does not hear. Return False if the stream is too long."""
        limit = self.timeouts.reasoning
        if self.reasoning_since is None:
            self.reasoning_since = self.last_event_at
            self._append(REASONING)
        elif limit is not None and self.last_event_at > self.reasoning_since + limit:
            self._release_held_text()
            self._end_log(AgentTimeout(f"the agent only reasoned for {limit:g} seconds"))
            return False
        return True

    def _join_high_surrogate(self, text: str) -> str:
        """Return a delta after the half of a pair that came before it, without a half at its end.

        Agents that count UTF-16 units cut a character beyond the basic plane into two deltas. A speech filter
        joins both itself.
        """
        text, self._high_surrogate = self._high_surrogate + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._high_surrogate = text[:-1], text[-1]
        return join_surrogates(text)

    def _release_held_text(self, *, at_end: bool = True) -> None:
        """Append the text that the speech buffer holds. `at_end`: no text of this passage follows."""
        if at_end and self._high_surrogate and not self.event_log.has_ended:
            self._high_surrogate = ""
            self._append("\N{REPLACEMENT CHARACTER}")
        if self.speech_buffer is not None:
            self.speech_buffer.release(at_end=at_end)

    def _append(self, event: Event) -> None:
        self.event_log.events.append(event)
        self._has_new_events = True
        if not self.has_spoken:
            self._note_first_output(event)

    def _note_first_output(self, event: Event) -> None:
        """Note the agent's first output, and its first output that the caller hears."""
        self.has_spoken = type(event) is ToolCall or (type(event) is str and not event.isspace())
        has_activity = type(event) is Activity
        self.has_output = self.has_output or self.has_spoken or (has_activity and event != REASONING)
        if not self.has_worked and (self.has_spoken or has_activity):
            self.has_worked = True
            self._start_timer()  # the timeout `idle` replaces `first_token`
        if self.has_spoken:
            self.first_token_at = self.now()
            self.flush()  # before other events of the same read are decoded

    @property
    def deadline(self) -> float:
        """The time at which the agent's silence becomes a timeout, if no event comes before."""
        return self.timeouts.deadline(
            self.last_event_at if self.requested_at is None else self.requested_at,
            self.has_worked,
            self.last_event_at,
        )

    def _start_timer(self) -> None:
        """Set the timer to `deadline`. If the deadline moves to later, `_on_timer` sets it again."""
        deadline = self.deadline
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        if deadline < inf:
            self._timer = self.loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self.event_log.has_ended:
            return
        if self.now() < self.deadline:
            return self._start_timer()
        self._release_held_text()
        when = "in the middle of its answer" if self.has_output else "before its first output"
        self.fail(AgentTimeout(f"the agent took too long {when}"))

    def flush(self) -> None:
        """Wake the subscribers: the agent has no further event ready."""
        if self._has_new_events:
            self._wake_subscribers()

    def _wake_subscribers(self) -> None:
        self._has_new_events = False
        for subscriber in tuple(self.subscribers):  # at the end of the log, they leave in `wake`
            subscriber.wake()

    def _end_log(self, failure: VoicegwError | None = None) -> None:
        """End the event log, once, and wake the subscribers."""
        if self.event_log.has_ended:
            return
        self.event_log.failure = self.event_log.failure or failure
        self.event_log.has_ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self.speech_buffer is not None:
            self.speech_buffer.stop()
            self.speech_buffer = None  # it refers to this run: a cycle would wait for garbage collection
        self._wake_subscribers()

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self.closed_at = self.now()
        self.task = None  # it refers to this run: whole histories would wait for garbage collection
        self.offered_tools = frozenset()
        self._end_log()  # a task that was cancelled before its first step did not end the log
        self.on_end(self)
        callbacks, self._closed_callbacks = self._closed_callbacks, {}
        for callback, timer in callbacks.items():
            timer.cancel()
            callback()
