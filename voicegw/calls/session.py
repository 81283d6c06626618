"""One call on one websocket, on any platform: decodes its frames, runs its turns and sends the replies.

It knows no frame format: that is the codec's part (`voicegw.calls.codec`).

Two tasks serve a socket. The reader decodes each frame as it arrives, independent of the agent, and acts on
it at once. The writer sends the frames of the current turn. A turn that is interrupted or superseded is
dropped in the step of the event loop in which that frame is decoded: no further frame of the turn is sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from voicegw.calls.caller_input import CallerInput
from voicegw.calls.codec import (
    CallCodec,
    CallEnded,
    CallEvent,
    CallStarted,
    DtmfPressed,
    Interrupted,
    PlatformNotice,
    ProtocolReply,
    TurnRequested,
    UnexpectedFrame,
)
from voicegw.calls.profile import CallProfile
from voicegw.calls.send_queue import TRY_AGAIN_LATER, SendQueue
from voicegw.calls.turn_player import TurnPlayer
from voicegw.conversations.call_record import CallRecord
from voicegw.conversations.engine import TurnEngine
from voicegw.conversations.spoken_reply import SpokenReply
from voicegw.errors import RequestError, TooManyRequests
from voicegw.events import ToolCall
from voicegw.turns.timings import CallTimings

log = logging.getLogger("voicegw.error")

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
        self.now = engine.dispatcher.now  # the monotonic clock, in seconds
        self.loop = asyncio.get_running_loop()
        self.call: CallRecord | None = None  # None until the call is identified
        self.timings = CallTimings(self.now())  # for the log record of the call
        self.send_queue = SendQueue(send)  # the frames that wait to be sent
        self.ignores_frames = False  # True at the end of the call, until the socket is closed
        self.player = TurnPlayer(
            engine, profile, codec, self.send_queue, self.timings, self._on_call_over, self.hang_up
        )
        self.input: CallerInput | None = None  # None until the call is identified
        self._unexpected_frames = 0  # see MAX_UNEXPECTED_LOGGED
        self._hang_up_timer: asyncio.TimerHandle | None = None  # of a rejected call, see HANG_UP_TIMEOUT

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
        if self.input is not None:
            self.input.on_frame()
        event = self.codec.receive(frame)
        if isinstance(event, UnexpectedFrame):
            self._log_unexpected(event.reason)
        elif isinstance(event, ProtocolReply):
            self.send_queue.put(event.frame)
        elif isinstance(event, PlatformNotice):
            log.info('{"event":"notice","platform":"%s","about":"%s"}', self.codec.name, event.about)
        elif isinstance(event, CallStarted):
            self._on_call_started(event)
        elif isinstance(event, CallEnded):
            self._on_call_ended()
        elif event is not None and self.input is not None:
            self._on_input(self.input, event)

    def _log_unexpected(self, reason: str) -> None:
        self._unexpected_frames += 1
        if self._unexpected_frames <= MAX_UNEXPECTED_LOGGED:
            log.info('{"event":"odd","platform":"%s","why":"%s"}', self.codec.name, reason)

    def _on_input(self, caller: CallerInput, event: CallEvent) -> None:
        if isinstance(event, TurnRequested):
            caller.on_turn_requested(event)
        elif isinstance(event, Interrupted):
            caller.on_interrupted(event)
        elif isinstance(event, DtmfPressed):
            caller.on_digit(event.digit)

    def _on_call_ended(self) -> None:
        if self.call is not None:
            self.dispatcher.calls.end(self.call.id)
            self.abandon(NORMAL_CLOSURE)

    def _on_call_started(self, started: CallStarted) -> None:
        if self.call is not None and self.internal_id(started.call_id) != self.call.id:
            return self._log_unexpected("another call on the same socket")
        if refusal := self.refusal_for(started):
            return self.refuse(refusal)
        self.player.metadata = started.metadata
        is_known = self.call is not None or self._attach_call(started.call_id)
        if not is_known and not started.resumed:
            self._record_greeting()
        elif self.input is not None and self.player.playback is None:
            if started.resumed:
                self.input.on_resumed(started.resumed, is_known=is_known)
            else:
                self.input.ask_again()

    def _attach_call(self, platform_call_id: str) -> bool:
        """Take the call over from the socket that had it; return whether the call is known already."""
        self.player.platform_call_id = platform_call_id
        self.call = call = self.dispatcher.calls.get(self.internal_id(platform_call_id), self.now())
        if call.on_takeover is not None:
            call.on_takeover()
        call.on_takeover = self._on_taken_over
        call.open_sockets += 1
        known = bool(call.transcript.messages) or call.unanswered is not None
        self.input = CallerInput(
            call, self.profile, self.codec, self.player, self.send_queue, self._log_unexpected
        )
        if not known:
            self.dispatcher.warm_agent(self.profile.agent, call.id)
        return known

    def _record_greeting(self) -> None:
        """Add the greeting to the transcript: the platform or the first frame has spoken it."""
        if self.call is not None:
            self.call.transcript.add_assistant(SpokenReply(self.profile.greeting))

    def _on_call_over(self, is_transferred: bool) -> None:
        """Forget the call after the agent ended it; a transferred one may come back."""
        self.ignores_frames = True
        if self.call is not None and not is_transferred:
            self.dispatcher.calls.end(self.call.id)

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
        words = self.player.phrases_for(None).busy
        speech, end = encode_hang_up(self.codec, words)
        if not speech:
            return self.abandon(TRY_AGAIN_LATER)
        self.send_queue.put(speech)
        speed = self.profile.chars_per_second
        seconds = len(self.profile.greeting + words) / speed if end and speed else 0.0
        self._hang_up_timer = self.loop.call_later(seconds, self._end_refused, end)

    def _end_refused(self, end: bytes) -> None:
        """End a refused call after its last words; close the socket if the platform does not."""
        self.send_queue.put(end)
        self._hang_up_timer = self.loop.call_later(HANG_UP_TIMEOUT, self.hang_up, NORMAL_CLOSURE)

    def abandon(self, code: int | None = None) -> None:
        """Stop the turn and close the socket: the call is over.

        `code` is the websocket close code, None for the codec's code on shutdown.
        """
        self._leave(lost=False)
        self.hang_up(self.codec.close_code if code is None else code)

    def _on_taken_over(self) -> None:
        """Close the socket: another one serves the call, and nobody knows what of the turn was heard."""
        self._leave(lost=True)
        self.hang_up(self.codec.close_code)

    def _leave(self, *, lost: bool) -> None:
        self.ignores_frames = True
        if self.input is not None and self.call is not None:
            self.input.stop()
            self.player.stop(self.call, lost=lost)

    async def write(self) -> int:
        """Send frames until the socket has to be closed; return the close code. Raises what `send` raises."""
        return await self.send_queue.write(lambda: self.player.due_frames(self.call), self.player.deadline)

    def close(self) -> None:
        """Stop the run and log the call, after the socket was closed; the transcript is kept."""
        self._leave(lost=True)
        self.send_queue.cancel_timer()
        if self._hang_up_timer is not None:
            self._hang_up_timer.cancel()
        call = self.call
        if call is None or self.input is None:
            return
        self.input.close()
        call.open_sockets -= 1
        self.dispatcher.calls.update_size(call, self.now())
        if call.on_takeover == self._on_taken_over:
            call.on_takeover = None
        self.player.cancel_speculation()
        if not self.profile.is_named:
            self.dispatcher.calls.end(call.id)
        self.timings.ended_at = self.now()
        platform, agent = self.codec.name, self.profile.agent.name
        self.engine.turn_log.record_call(self.timings, platform, agent, call.id, self.player.platform_call_id)


def encode_hang_up(codec: CallCodec, words: str) -> tuple[bytes, bytes]:
    """Return the frames that say these words, and the one that ends the call after them.

    The second is b"" where the first ends the call; both are b"" if the protocol has none for that.
    """
    turn = codec.begin_turn(TurnRequested())
    turn.holds_end = True
    speech = turn.start(words) + turn.tool_call(ToolCall("", "end_call")) + turn.finish("stop", None)
    return speech, turn.hang_up()
