"""A call on a websocket, of whatever platform: the one shell around every call codec.

Two tasks serve a socket. The reader takes the platform's frames as they come, whatever the agent does,
and decides at once; the writer sends what the present turn has to say. A turn that was interrupted or
superseded is dropped in the very step in which that is read: nothing of it is sent any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

from voicegw.calls.codec import (
    CallCodec,
    CallEnded,
    CallEvent,
    CallStarted,
    DtmfPressed,
    Interrupted,
    ProtocolReply,
    TurnRequested,
    UnexpectedFrame,
)
from voicegw.calls.dtmf import DtmfCollector
from voicegw.calls.playback import TurnPlayback
from voicegw.calls.profile import CallProfile
from voicegw.calls.send_queue import SendQueue
from voicegw.conversations.call_store import CallRecord
from voicegw.conversations.engine import TurnEngine
from voicegw.conversations.transcript import ReplayDetector
from voicegw.errors import RequestError, ServiceUnavailable, TooManyRequests, VoicegwError
from voicegw.events import ToolCall, Turn
from voicegw.turns.run import Run
from voicegw.turns.stream import ResponseStream
from voicegw.turns.timings import CallTimings, TurnTimings

log = logging.getLogger("voicegw.error")

PRESSED = "(The caller pressed {digits} on the keypad.)"
MAX_TOOL_ROUNDS = 4
"""How often an agent that only acts is asked to go on, within one turn."""
MAX_TURNS, TURN_WINDOW = 30, 10.0
"""More questions within so many seconds are no caller's; they are dropped."""
MAX_UNEXPECTED_LOGGED = 20
"""Odd frames of one call that are worth a line in the log."""
LEAVE = 3.0
"""Seconds that a platform gets to hang up a call for which there is no room."""
HUNG_UP = 1000
"""How a socket is closed whose call is over."""
LATER = 1013
"""How a socket is closed for which there is no room, where nothing can be said."""
POLICY = 1008
"""How a socket is closed on which something came that is against the rules."""


class CallSession:
    """One socket of one call. `send` takes a frame; `name` gives a platform's id its place in the house."""

    def __init__(
        self,
        engine: TurnEngine,
        profile: CallProfile,
        codec: CallCodec,
        send: Callable[[str], Awaitable[None]],
        name: Callable[[str], str],
        admit: Callable[[CallStarted], RequestError | None] = lambda opened: None,
    ) -> None:
        self.engine = engine
        self.profile = profile
        self.codec = codec
        self.name = name
        self.admit = admit
        self.dispatcher = engine.dispatcher
        self.loop = asyncio.get_running_loop()
        self.call: CallRecord | None = None
        self.playback: TurnPlayback | None = None
        self.speculative_run: Run | None = None
        self.metadata = profile.metadata
        self.timings = CallTimings(self.now())
        self.send_queue = SendQueue(send)
        self._keypad = DtmfCollector(self._dialled)
        self._replays = ReplayDetector()
        self.closed = False  # nothing that comes counts any more
        self.known_as = ""
        self.language: str | None = None
        self._rounds = 0
        self._acted: set[tuple[str, str]] = set()
        self._told = False  # does the platform keep the conversation, and answer for one frame only?
        self._times: deque[float] = deque(maxlen=MAX_TURNS)
        self._odd = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def now(self) -> Callable[[], float]:
        return self.dispatcher.now

    # What comes in

    def start(self, call: str | None) -> None:
        """The socket is open; `call` is the platform's id of the call where its path told it."""
        if call is None:
            self.send_queue.say(self.codec.open(""))
            return
        known = self._find(call)
        self.send_queue.say(self.codec.open(self.profile.greeting, again=known))
        if not known:
            self._greet()

    def receive(self, frame: str | bytes) -> None:
        """One frame of the platform's."""
        if self.closed:
            return
        happening = self.codec.receive(frame)
        if isinstance(happening, UnexpectedFrame):
            self._wonder(happening.why)
        elif isinstance(happening, ProtocolReply):
            self.send_queue.say(happening.frame)
        elif isinstance(happening, CallStarted):
            self._opened(happening)
        elif happening is not None and self.call is not None:
            self._on_event(self.call, happening)

    def _wonder(self, why: str) -> None:
        """Something that means nothing to us; a flood of it is told of in a few lines."""
        self._odd += 1
        if self._odd <= MAX_UNEXPECTED_LOGGED:
            log.info('{"event":"odd","platform":"%s","why":"%s"}', self.codec.name, why)

    def _on_event(self, call: CallRecord, happening: CallEvent) -> None:
        if isinstance(happening, TurnRequested):
            if happening.final:
                self._asked(call, happening)
            else:
                self._speculate(call, happening)
        elif isinstance(happening, Interrupted):
            self._interrupted(call, happening)
        elif isinstance(happening, CallEnded):
            self.dispatcher.calls.end(call.id)
            self.abandon(HUNG_UP)
        elif isinstance(happening, DtmfPressed):
            self._keypad.press(happening.digit)

    def _opened(self, opened: CallStarted) -> None:
        if self.call is not None and self.name(opened.call) != self.call.id:
            return self._wonder("another call on the same socket")
        if refusal := self.admit(opened):
            return self.refuse(refusal)
        self.metadata = opened.metadata
        if self.call is not None:
            return
        if not self._find(opened.call):
            self._greet()
        elif self.call is not None and (said := self.call.transcript.pop_unanswered()) is not None:
            self._asked(self.call, TurnRequested(said))

    def _find(self, name: str) -> bool:
        """Take up the call of that name, from the socket that had it before; tells whether it was known."""
        self.known_as = name
        self.call = call = self.dispatcher.calls.get(self.name(name), self.now())
        if call.on_takeover is not None:
            call.on_takeover()
        call.on_takeover = self.abandon
        call.open_sockets += 1
        known = bool(call.transcript.messages)
        self._replays = ReplayDetector(call.transcript, self.now())
        if not known:
            self.dispatcher.warm_agent(self.profile.agent, call.id)
        return known

    def _greet(self) -> None:
        """What the platform, or our first frame, has said by now."""
        if self.call is not None:
            self.call.transcript.add_assistant(self.profile.greeting)

    def _interrupted(self, call: CallRecord, happening: Interrupted) -> None:
        if self._replays.may_repeat(self.now()):
            return  # of what was said before the call came back
        self.timings.interruptions += 1
        self._stop(call)
        if self.speculative_run is not None:
            self.speculative_run.cancel()
            self.speculative_run = None
        if happening.heard_text is not None:
            call.transcript.truncate(happening.heard_text)
        self.send_queue.say(happening.frames)

    def _dialled(self, digits: str) -> None:
        if self.call is not None:
            self._asked(self.call, TurnRequested(PRESSED.format(digits=digits), kind="keypad"))

    # Turns

    def _asked(self, call: CallRecord, asked: TurnRequested) -> None:
        """The caller wants an answer: stop what is said, and ask the agent."""
        if asked.history is None and self._replays.is_repeated(asked.user_text, self.now()):
            return
        if self._flooded():
            self._wonder("more questions than a caller can ask")
            return self._decline(call, asked)
        self._stop(call)
        self.timings.turns += 1
        self._rounds, self._told = 0, asked.history is not None
        self._acted.clear()
        if digits := self._keypad.take():
            call.transcript.add_user(PRESSED.format(digits=digits))
        turn = self._turn(call, asked)
        if asked.history is None and asked.user_text:
            call.transcript.add_user(asked.user_text)
        self._begin(call, turn, asked)

    def _decline(self, call: CallRecord, asked: TurnRequested) -> None:
        """Whoever counts on an answer to each question hears that we are busy."""
        if asked.history is not None:
            self._stop(call)
            codec, words = self.codec.turn(asked), self.profile.agent.phrases_in(self.profile.language)
            self.send_queue.say(codec.start(words.busy) + codec.finish("stop", None))

    def _flooded(self) -> bool:
        now = self.now()
        if len(self._times) == MAX_TURNS and now - self._times[0] < TURN_WINDOW:
            return True
        self._times.append(now)
        return False

    def _speculate(self, call: CallRecord, asked: TurnRequested) -> None:
        """The caller may still go on: ask the agent already, if that is wanted, and say nothing yet."""
        if (
            not self.profile.speculate
            or self.playback is not None
            or not asked.user_text.strip()
            or self._flooded()
        ):
            return
        try:
            guess = self.dispatcher.dispatch(self.profile.agent, self._turn(call, asked), live=True)
        except VoicegwError:
            return
        self.speculative_run = guess
        guess.start()

    def _turn(self, call: CallRecord, asked: TurnRequested) -> Turn:
        board = self.dispatcher
        self.language = asked.language or self.language
        asked = replace(asked, language=self.language)
        return self.profile.turn(board.new_turn_id(), call, asked, board.calls.said(call.id), self.metadata)

    def _begin(self, call: CallRecord, turn: Turn, asked: TurnRequested) -> None:
        """Send the first words, then ask the agent."""
        codec, now = self.codec.turn(asked), self.now()
        words = self.profile.agent.phrases_in(turn.language)
        try:
            self.engine.rate_limiter.acquire(self.profile.key, now)
        except TooManyRequests:
            return self.send_queue.say(codec.start(words.busy) + codec.finish("stop", None))
        try:
            run = self.dispatcher.dispatch(self.profile.agent, turn, live=True)
        except VoicegwError as failure:
            self.engine.rate_limiter.release()
            going = isinstance(failure, ServiceUnavailable)
            sorry = words.closing if going else str(getattr(words, failure.phrase))
            self.send_queue.say(codec.start(sorry) + codec.finish("stop", None))
            return self.hang_up(self.codec.close_code) if going else None
        self.engine.turn_log.metrics.turns_running.inc()
        listener = ResponseStream(
            run.event_log,
            codec,
            self.profile.agent.ack_schedule(
                run.turn, self.profile.dialect, turn.messages, quiet=run.has_spoken or run.event_log.ended
            ),
            TurnTimings(now),
            lambda failure: str(getattr(words, failure.phrase)),
            on_own_words=lambda words: self._own(call, words),
        )
        codec.already_executed = self._acted
        self.speculative_run = None
        self.playback = talk = TurnPlayback(run, listener, codec, self.send_queue.wake)
        run.subscribers.append(talk)
        self.send_queue.say(talk.begin(now))
        self.send_queue.wake()  # an answer that was prepared wakes nobody
        run.start()

    def _own(self, call: CallRecord, words: str) -> None:
        """Words of ours are said: they are no part of what the agent said."""
        self.dispatcher.calls.remember(call.id, words)
        if self.playback is not None:
            self.playback.own += words

    def _stop(self, call: CallRecord, *, lost: bool = False) -> None:
        """Whatever we say, or prepared to say, ends here; if it is `lost`, it was as if nothing was said."""
        talk, self.playback = self.playback, None
        if talk is not None:
            self.send_queue.say(talk.codec.stop())
            self._leave(call, talk, lost=lost)

    def _leave(self, call: CallRecord, talk: TurnPlayback, *, lost: bool = False) -> None:
        """A turn is over for its caller: write down what was said."""
        codec, run, stamps = talk.codec, talk.run, talk.listener.timings
        if not lost:
            done = [action.id for action in codec.executed]
            call.transcript.add_assistant(codec.spoken_text, talk.actions, own=talk.own.strip(), done=done)
        self._acted.update((action.name, action.arguments) for action in codec.executed)
        run.delivered = run.delivered or talk.done
        self.dispatcher.unsubscribe(run, talk)
        self.timings.longest_gap = max(self.timings.longest_gap, stamps.longest_gap)
        self.engine.rate_limiter.release()
        self.engine.turn_log.metrics.turns_running.dec()
        run.on_closed(
            lambda: self.engine.turn_log.turn(run, stamps, self.profile.agent.name, self.known_as),
            self.dispatcher.stop_timeout,
        )

    def _finished(self, call: CallRecord, talk: TurnPlayback) -> None:
        """Everything of this turn was sent."""
        self.playback = None
        codec = talk.codec
        tried = len(talk.actions)
        again = [action for action in talk.actions if (action.name, action.arguments) in self._acted]
        self._leave(call, talk)
        if codec.ends_call and self.codec.ends:
            self.closed = True
            self.dispatcher.calls.end(call.id)
        elif (
            tried > len(again) and not codec.spoken_text and self._rounds < MAX_TOOL_ROUNDS and not self._told
        ):
            self._rounds += 1  # the agent only acted, and has yet to say something
            asked = TurnRequested(kind="tool")
            self._begin(call, self._turn(call, asked), asked)

    # What goes out

    def hang_up(self, code: int) -> None:
        """Close the socket, once what is to be said was sent."""
        self.send_queue.close(code)

    def refuse(self, refusal: RequestError) -> None:
        """Nothing more is taken from this socket: it has no place here, or there is none for it."""
        self.closed = True
        self.engine.turn_log.refusal(refusal, self.codec.name, "")
        if not isinstance(refusal, TooManyRequests):
            return self.abandon(POLICY)
        words = self.profile.agent.phrases_in(self.profile.language).busy
        if (frames := farewell(self.codec, words)) == b"":
            return self.abandon(LATER)
        self.send_queue.say(frames)
        self._timer = self.loop.call_later(LEAVE, self.hang_up, HUNG_UP)

    def abandon(self, code: int | None = None) -> None:
        """Say and take nothing more: the call has another socket now, or none any more."""
        self.closed = True
        if self.call is not None:
            self._stop(self.call)
        self.hang_up(self.codec.close_code if code is None else code)

    async def write(self) -> int:
        """Send what is due until the socket is to be closed; gives the code to close it with."""
        return await self.send_queue.write(self._due, self._deadline)

    def _due(self) -> bytes:
        """The frames that the present turn has to send now."""
        talk, call = self.playback, self.call
        if talk is None or call is None:
            return b""
        frames = talk.take(self.now())
        if talk.done:
            self._finished(call, talk)
        return frames

    def _deadline(self) -> float | None:
        """When to ask the present turn again; None if there is none."""
        return None if self.playback is None else self.playback.deadline

    def end(self) -> None:
        """The socket is gone: stop the agent, keep what was heard."""
        self.closed = True
        self.send_queue.stop()
        self._keypad.stop()
        if self._timer is not None:
            self._timer.cancel()
        call = self.call
        if call is None:
            return
        self._stop(call, lost=True)
        call.open_sockets -= 1
        if call.on_takeover == self.abandon:
            call.on_takeover = None
        if self.speculative_run is not None:
            self.speculative_run.cancel()
        if not self.profile.is_named:
            self.dispatcher.calls.end(call.id)
        self.timings.ended = self.now()
        platform, agent = self.codec.name, self.profile.agent.name
        self.engine.turn_log.call(self.timings, platform, agent, call.id, self.known_as)


def farewell(codec: CallCodec, words: str) -> bytes:
    """The frames that say these words and end the call."""
    turn = codec.turn(TurnRequested())
    return turn.start(words) + turn.tool_call(ToolCall("", "end_call")) + turn.finish("stop", None)
