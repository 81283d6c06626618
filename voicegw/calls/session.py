"""One call on one websocket, on any platform: decodes its frames, runs its turns and sends the replies.

It knows no frame format: that is the codec's part (`voicegw.calls.codec`).

Two tasks serve a socket. The reader decodes each frame as it arrives, independent of the agent, and acts on
it at once. The writer sends the frames of the current turn. A turn that is interrupted or superseded is
dropped in the step of the event loop in which that frame is decoded: no further frame of the turn is sent.
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
from voicegw.calls.send_queue import TRY_AGAIN_LATER, SendQueue
from voicegw.conversations.call_store import CallRecord
from voicegw.conversations.engine import TurnEngine
from voicegw.conversations.transcript import ReplayDetector
from voicegw.errors import RequestError, ServiceUnavailable, TooManyRequests, VoicegwError
from voicegw.events import ToolCall, Turn
from voicegw.turns.run import Run
from voicegw.turns.stream import ResponseStream
from voicegw.turns.timings import CallTimings, TurnTimings

log = logging.getLogger("voicegw.error")

DTMF_PROMPT = "(The caller pressed {digits} on the keypad.)"
MAX_TOOL_ROUNDS = 4
"""Further runs within one turn if the agent calls actions and says nothing."""
MAX_TURNS, TURN_WINDOW = 30, 10.0
"""Turns that a call may request within `TURN_WINDOW` seconds. Callers ask less often; more are dropped."""
MAX_UNEXPECTED_LOGGED = 20
"""Unexpected frames of one call that are logged; further ones are not."""
HANG_UP_TIMEOUT = 3.0
"""Seconds in which a platform may hang up a rejected call itself; then the gateway closes the socket."""
NORMAL_CLOSURE = 1000
"""The websocket close code for a call that is over."""
POLICY_VIOLATION = 1008
"""The websocket close code for a socket that is not authorized or never identifies its call."""


class CallSession:
    """Serves one socket of one call, from the handshake to the end."""

    def __init__(
        self,
        engine: TurnEngine,
        profile: CallProfile,
        codec: CallCodec,
        send: Callable[[str], Awaitable[None]],
        internal_id: Callable[[str], str],
        refusal_for: Callable[[CallStarted], RequestError | None] = lambda started: None,
    ) -> None:
        """Make the session of an accepted socket; `send` sends one text frame."""
        self.engine = engine  # the dispatcher, the rate limiter and the turn log of all calls
        self.profile = profile  # how this call is served
        self.codec = codec  # decodes and encodes the frames of this socket
        self.internal_id = internal_id  # the id in the call store for the platform's id of a call
        self.refusal_for = refusal_for  # the reason to refuse an identified call; None to serve it
        self.dispatcher = engine.dispatcher  # starts the runs of the agents
        self.loop = asyncio.get_running_loop()
        self.call: CallRecord | None = None  # None until the call is identified
        self.playback: TurnPlayback | None = None  # the turn that is being spoken
        self.speculative_run: Run | None = None  # runs for words that are not final yet
        self.metadata = profile.metadata  # the platform's description of the call
        self.timings = CallTimings(self.now())  # for the log record of the call
        self.send_queue = SendQueue(send)  # the frames that wait to be sent
        self.ignores_frames = False  # True at the end of the call, until the socket is closed
        self.platform_call_id = ""  # "" until the call is identified
        self.language: str | None = None  # the last one that the platform reported
        self._dtmf = DtmfCollector(self._on_digits)
        self._replay_detector = ReplayDetector()  # finds prompts that a platform repeats after a reconnect
        self._tool_rounds = 0  # of the current turn, see MAX_TOOL_ROUNDS
        self._executed_actions: set[tuple[str, str]] = set()  # names and arguments, of the current turn
        self._platform_keeps_history = False  # it then takes one reply for each request, and no tool rounds
        self._turn_times: deque[float] = deque(maxlen=MAX_TURNS)  # when the last turns were requested
        self._unexpected_frames = 0  # see MAX_UNEXPECTED_LOGGED
        self._hang_up_timer: asyncio.TimerHandle | None = None  # of a rejected call, see HANG_UP_TIMEOUT

    @property
    def now(self) -> Callable[[], float]:
        """The monotonic clock, in seconds."""
        return self.dispatcher.now

    # Frames of the platform

    def start(self, call: str | None) -> None:
        """Send the first frames; `call` is the platform's id of the call, None if the path has none."""
        if call is None:
            self.send_queue.put(self.codec.open(""))
            return
        known = self._attach_call(call)
        self.send_queue.put(self.codec.open(self.profile.greeting, reconnected=known))
        if not known:
            self._record_greeting()

    def receive(self, frame: str | bytes) -> None:
        """Decode one frame of the platform and act on it; does not wait for the agent."""
        if self.ignores_frames:
            return
        event = self.codec.receive(frame)
        if isinstance(event, UnexpectedFrame):
            self._log_unexpected(event.reason)
        elif isinstance(event, ProtocolReply):
            self.send_queue.put(event.frame)
        elif isinstance(event, CallStarted):
            self._on_call_started(event)
        elif event is not None and self.call is not None:
            self._on_event(self.call, event)

    def _log_unexpected(self, reason: str) -> None:
        self._unexpected_frames += 1
        if self._unexpected_frames <= MAX_UNEXPECTED_LOGGED:
            log.info('{"event":"odd","platform":"%s","why":"%s"}', self.codec.name, reason)

    def _on_event(self, call: CallRecord, event: CallEvent) -> None:
        if isinstance(event, TurnRequested):
            if event.final:
                self._on_turn_requested(call, event)
            else:
                self._speculate(call, event)
        elif isinstance(event, Interrupted):
            self._on_interrupted(call, event)
        elif isinstance(event, CallEnded):
            self.dispatcher.calls.end(call.id)
            self.abandon(NORMAL_CLOSURE)
        elif isinstance(event, DtmfPressed):
            self._dtmf.press(event.digit)

    def _on_call_started(self, started: CallStarted) -> None:
        if self.call is not None and self.internal_id(started.call_id) != self.call.id:
            return self._log_unexpected("another call on the same socket")
        if refusal := self.refusal_for(started):
            return self.refuse(refusal)
        self.metadata = started.metadata
        if self.call is not None:
            return
        if not self._attach_call(started.call_id):
            self._record_greeting()
        elif self.call is not None and (text := self.call.transcript.pop_unanswered()) is not None:
            self._on_turn_requested(self.call, TurnRequested(text))

    def _attach_call(self, platform_call_id: str) -> bool:
        """Take the call over from the socket that had it; return whether the call is known already."""
        self.platform_call_id = platform_call_id
        self.call = call = self.dispatcher.calls.get(self.internal_id(platform_call_id), self.now())
        if call.on_takeover is not None:
            call.on_takeover()
        call.on_takeover = self.abandon
        call.open_sockets += 1
        known = bool(call.transcript.messages)
        self._replay_detector = ReplayDetector(call.transcript, self.now())
        if not known:
            self.dispatcher.warm_agent(self.profile.agent, call.id)
        return known

    def _record_greeting(self) -> None:
        """Add the greeting to the transcript: the platform or the first frame has spoken it."""
        if self.call is not None:
            self.call.transcript.add_assistant(self.profile.greeting)

    def _on_interrupted(self, call: CallRecord, event: Interrupted) -> None:
        if self._replay_detector.may_repeat(self.now()):
            return  # it interrupts a turn from before the reconnect
        self.timings.interruption_count += 1
        self._stop_turn(call)
        if self.speculative_run is not None:
            self.speculative_run.cancel()
            self.speculative_run = None
        if event.heard_text is not None:
            call.transcript.truncate(event.heard_text)
        self.send_queue.put(event.frames)

    def _on_digits(self, digits: str) -> None:
        if self.call is not None:
            self._on_turn_requested(
                self.call, TurnRequested(DTMF_PROMPT.format(digits=digits), kind="keypad")
            )

    # Turns

    def _on_turn_requested(self, call: CallRecord, request: TurnRequested) -> None:
        """Stop the current turn and start one for these words."""
        if request.history is None and self._replay_detector.is_repeated(request.user_text, self.now()):
            return
        if self._exceeds_turn_rate():
            self._log_unexpected("too many turns in a short time")
            return self._reject_turn(call, request)
        self._stop_turn(call)
        self.timings.turn_count += 1
        self._tool_rounds, self._platform_keeps_history = 0, request.history is not None
        self._executed_actions.clear()
        if digits := self._dtmf.take():
            call.transcript.add_user(DTMF_PROMPT.format(digits=digits))
        turn = self._build_turn(call, request)
        if request.history is None and request.user_text:
            call.transcript.add_user(request.user_text)
        self._start_turn(call, turn, request)

    def _reject_turn(self, call: CallRecord, request: TurnRequested) -> None:
        """Answer with the busy phrase, if the platform waits for a reply to each request."""
        if request.history is not None:
            self._stop_turn(call)
            encoder = self.codec.begin_turn(request)
            phrases = self.profile.agent.phrases_in(self.profile.language)
            self.send_queue.put(encoder.start(phrases.busy) + encoder.finish("stop", None))

    def _exceeds_turn_rate(self) -> bool:
        now = self.now()
        if len(self._turn_times) == MAX_TURNS and now - self._turn_times[0] < TURN_WINDOW:
            return True
        self._turn_times.append(now)
        return False

    def _speculate(self, call: CallRecord, request: TurnRequested) -> None:
        """Start a run for words that may still change; the final words take it over if they are the same."""
        if (
            not self.profile.speculate
            or self.playback is not None
            or not request.user_text.strip()
            or self._exceeds_turn_rate()
        ):
            return
        try:
            run = self.dispatcher.dispatch(self.profile.agent, self._build_turn(call, request), in_order=True)
        except VoicegwError:
            return
        self.speculative_run = run
        run.start()

    def _build_turn(self, call: CallRecord, request: TurnRequested) -> Turn:
        self.language = request.language or self.language
        request = replace(request, language=self.language)
        return self.profile.build_turn(
            self.dispatcher.new_turn_id(),
            call,
            request,
            self.dispatcher.calls.own_phrases(call.id),
            self.metadata,
        )

    def _start_turn(self, call: CallRecord, turn: Turn, request: TurnRequested) -> None:
        """Send the first words, then start the run."""
        encoder, now = self.codec.begin_turn(request), self.now()
        phrases = self.profile.agent.phrases_in(turn.language)
        try:
            self.engine.rate_limiter.acquire(self.profile.key, now)
        except TooManyRequests:
            return self.send_queue.put(encoder.start(phrases.busy) + encoder.finish("stop", None))
        try:
            run = self.dispatcher.dispatch(self.profile.agent, turn, in_order=True)
        except VoicegwError as failure:
            self.engine.rate_limiter.release()
            shutting_down = isinstance(failure, ServiceUnavailable)
            apology = phrases.shutdown if shutting_down else str(getattr(phrases, failure.phrase))
            self.send_queue.put(encoder.start(apology) + encoder.finish("stop", None))
            return self.hang_up(self.codec.close_code) if shutting_down else None
        self.engine.turn_log.metrics.turns_running.inc()
        stream = ResponseStream(
            run.event_log,
            encoder,
            self.profile.agent.ack_schedule(
                run.turn, self.profile.dialect, turn.messages, quiet=run.has_spoken or run.event_log.has_ended
            ),
            TurnTimings(now),
            lambda failure: str(getattr(phrases, failure.phrase)),
            on_own_words=lambda words: self._on_own_words(call, words),
        )
        encoder.already_executed = self._executed_actions
        self.speculative_run = None
        self.playback = playback = TurnPlayback(run, stream, encoder, self.send_queue.wake)
        run.subscribers.append(playback)
        self.send_queue.put(playback.start(now))
        self.send_queue.wake()  # a speculative run that has ended wakes no subscriber
        run.start()

    def _on_own_words(self, call: CallRecord, words: str) -> None:
        """Note the gateway's own words: they are no part of the agent's reply."""
        self.dispatcher.calls.add_own_phrase(call.id, words)
        if self.playback is not None:
            self.playback.own_text += words

    def _stop_turn(self, call: CallRecord, *, lost: bool = False) -> None:
        """End the current turn; `lost`: its words did not reach the caller and are not recorded."""
        playback, self.playback = self.playback, None
        if playback is not None:
            self.send_queue.put(playback.encoder.stop())
            self._close_turn(call, playback, lost=lost)

    def _close_turn(self, call: CallRecord, playback: TurnPlayback, *, lost: bool = False) -> None:
        """Record the turn in the transcript, the timings and the log; give its place to the next one."""
        encoder, run, timings = playback.encoder, playback.run, playback.stream.timings
        if not lost:
            executed = [action.id for action in encoder.executed]
            call.transcript.add_assistant(
                encoder.spoken_text, playback.actions, own_words=playback.own_text.strip(), executed=executed
            )
        self._executed_actions.update((action.name, action.arguments) for action in encoder.executed)
        run.was_delivered = run.was_delivered or playback.done
        self.dispatcher.unsubscribe(run, playback)
        self.timings.longest_gap = max(self.timings.longest_gap, timings.longest_gap)
        self.engine.rate_limiter.release()
        self.engine.turn_log.metrics.turns_running.dec()
        run.on_closed(
            lambda: self.engine.turn_log.record_turn(
                run, timings, self.profile.agent.name, self.platform_call_id
            ),
            self.dispatcher.stop_timeout,
        )

    def _finish_turn(self, call: CallRecord, playback: TurnPlayback) -> None:
        """End a turn whose last frame was read; ask an agent again that only called actions."""
        self.playback = None
        encoder = playback.encoder
        repeated = [
            action for action in playback.actions if (action.name, action.arguments) in self._executed_actions
        ]
        self._close_turn(call, playback)
        if encoder.ends_call and self.codec.end_call_is_final:
            self.ignores_frames = True
            self.dispatcher.calls.end(call.id)
        elif (
            len(playback.actions) > len(repeated)
            and not encoder.spoken_text
            and self._tool_rounds < MAX_TOOL_ROUNDS
            and not self._platform_keeps_history
        ):
            self._tool_rounds += 1  # the agent has said nothing yet
            request = TurnRequested(kind="tool")
            self._start_turn(call, self._build_turn(call, request), request)

    # Frames to the platform, and the end

    def hang_up(self, code: int) -> None:
        """Close the socket with this code after the current turn and the queued frames were sent."""
        self.send_queue.close(code)

    def refuse(self, refusal: RequestError) -> None:
        """Log the refusal, say that the gateway is busy if that is the reason, and close the socket."""
        self.ignores_frames = True
        self.engine.turn_log.record_refusal(refusal, self.codec.name, "")
        if not isinstance(refusal, TooManyRequests):
            return self.abandon(POLICY_VIOLATION)
        words = self.profile.agent.phrases_in(self.profile.language).busy
        if (frames := encode_hang_up(self.codec, words)) == b"":
            return self.abandon(TRY_AGAIN_LATER)
        self.send_queue.put(frames)
        self._hang_up_timer = self.loop.call_later(HANG_UP_TIMEOUT, self.hang_up, NORMAL_CLOSURE)

    def abandon(self, code: int | None = None) -> None:
        """Stop the turn and close the socket: the call is over, or another socket serves it.

        `code` is the websocket close code, None for the codec's code on shutdown.
        """
        self.ignores_frames = True
        if self.call is not None:
            self._stop_turn(self.call)
        self.hang_up(self.codec.close_code if code is None else code)

    async def write(self) -> int:
        """Send frames until the socket has to be closed; return the close code. Raises what `send` raises."""
        return await self.send_queue.write(self._due_frames, self._deadline)

    def _due_frames(self) -> bytes:
        """Return the frames of the current turn that are due now."""
        playback, call = self.playback, self.call
        if playback is None or call is None:
            return b""
        frames = playback.read(self.now())
        if playback.done:
            self._finish_turn(call, playback)
        return frames

    def _deadline(self) -> float | None:
        """Return when to ask the current turn again; None if there is none."""
        return None if self.playback is None else self.playback.deadline

    def close(self) -> None:
        """Stop the run and log the call, after the socket was closed; the transcript is kept."""
        self.ignores_frames = True
        self.send_queue.cancel_timer()
        self._dtmf.cancel_timer()
        if self._hang_up_timer is not None:
            self._hang_up_timer.cancel()
        call = self.call
        if call is None:
            return
        self._stop_turn(call, lost=True)
        call.open_sockets -= 1
        if call.on_takeover == self.abandon:
            call.on_takeover = None
        if self.speculative_run is not None:
            self.speculative_run.cancel()
        if not self.profile.is_named:
            self.dispatcher.calls.end(call.id)
        self.timings.ended_at = self.now()
        platform, agent = self.codec.name, self.profile.agent.name
        self.engine.turn_log.record_call(self.timings, platform, agent, call.id, self.platform_call_id)


def encode_hang_up(codec: CallCodec, words: str) -> bytes:
    """Return the frames that say these words and end the call; b"" if the protocol has none for that."""
    turn = codec.begin_turn(TurnRequested())
    return turn.start(words) + turn.tool_call(ToolCall("", "end_call")) + turn.finish("stop", None)
