"""Makes turns of what the caller does: words, keys, interruptions, silence, and the return to a call.

It decodes no frames (`voicegw.calls.session` does), and runs no turns (`voicegw.calls.turn_player` does).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from voicegw.calls.codec import SESSION_FAILED, CallCodec, Interrupted, TurnRequested
from voicegw.calls.dtmf import DtmfCollector
from voicegw.calls.profile import CallProfile
from voicegw.calls.send_queue import SendQueue
from voicegw.calls.silence_timer import SilenceTimer
from voicegw.calls.turn_player import TurnPlayer
from voicegw.conversations.call_record import CallRecord
from voicegw.conversations.transcript import ReplayDetector
from voicegw.events import ToolCall
from voicegw.turns.prompts import (
    KEYPAD_PROMPT,
    RESUME_PROMPT,
    SILENCE_PROMPT,
    TRANSFER_FAILED,
    TRANSFER_FAILED_PROMPT,
)
from voicegw.wire.json import dumps

MAX_TURNS, TURN_WINDOW = 30, 10.0
"""Turns that a call may request within `TURN_WINDOW` seconds. Callers ask less often; more are dropped."""


class CallerInput:
    """The caller's side of one call on one socket."""

    def __init__(
        self,
        call: CallRecord,
        profile: CallProfile,
        codec: CallCodec,
        player: TurnPlayer,
        send_queue: SendQueue,
        log_unexpected: Callable[[str], None],
    ) -> None:
        """`log_unexpected` logs the reason why input is dropped."""
        self.call = call
        self.profile = profile  # how the call is served
        self.codec = codec  # encodes the frames that belong to no turn
        self.player = player  # plays the turns
        self.send_queue = send_queue  # the frames that wait to be sent
        self.log_unexpected = log_unexpected
        self.now = player.dispatcher.now  # the monotonic clock, in seconds
        self._replay_detector = ReplayDetector(call.transcript, self.now())
        self._turn_times: deque[float] = deque(maxlen=MAX_TURNS)  # when the last turns were requested
        self._dtmf = DtmfCollector(self._on_digits)
        self._are_digits_repeated = False  # did the platform repeat the first one after a reconnect?
        is_patient = profile.false_interruption == "ignore"
        self._silence_timer = SilenceTimer(
            None if is_patient else profile.false_interruption_timeout, self._on_false_interruption
        )

    def on_frame(self) -> None:
        """Note that a frame of the platform arrived: frames without a pause may be repetitions."""
        self._replay_detector.on_frame(self.now())

    # Words and keys

    def on_turn_requested(self, request: TurnRequested) -> None:
        """Start a turn for words of the caller, unless the platform repeats them after a reconnect."""
        if not request.final:
            self._on_partial_words(request)
        elif request.history is not None or not self._replay_detector.is_repeated(request.user_text):
            self._begin_turn(request)

    def on_digit(self, digit: str) -> None:
        """Collect a key that the caller pressed; keys in a row are one turn."""
        self._silence_timer.cancel()
        if not self._dtmf.digits:
            self._are_digits_repeated = self._replay_detector.in_burst
        self._dtmf.press(digit)

    def _on_digits(self, digits: str) -> None:
        request = _digits_request(digits)
        if not (self._are_digits_repeated and self._replay_detector.is_repeated(request.user_text)):
            self._begin_turn(request)

    def _on_partial_words(self, request: TurnRequested) -> None:
        """Wait longer for the caller's words; start the agent early if the profile says so."""
        self._silence_timer.extend()
        if (
            self.profile.speculate
            and self.player.playback is None
            and request.user_text.strip()
            and not self._exceeds_turn_rate()
        ):
            self.player.speculate(self.call, request)

    def _begin_turn(self, request: TurnRequested) -> None:
        """Stop the current turn and start this one."""
        self._silence_timer.cancel()
        if self._exceeds_turn_rate():
            self.log_unexpected("too many turns in a short time")
            if request.history is not None:  # the platform waits for a reply to each request
                self.player.reject(self.call, request)
            return
        self.player.stop(self.call)
        if digits := self._dtmf.take():
            self.call.transcript.add_user(KEYPAD_PROMPT.format(digits=digits))
        self.player.begin_turn(self.call, request)

    def _exceeds_turn_rate(self) -> bool:
        now = self.now()
        if len(self._turn_times) == MAX_TURNS and now - self._turn_times[0] < TURN_WINDOW:
            return True
        self._turn_times.append(now)
        return False

    # Interruptions

    def on_interrupted(self, event: Interrupted) -> None:
        """Stop the turn that is meant; an older reply is only cut in the transcript."""
        if self._replay_detector.in_burst:
            return  # it interrupts a turn from before the reconnect
        self.player.timings.interruption_count += 1
        self.player.cancel_speculation()
        transcript, is_certain = self.call.transcript, self.codec.names_interrupted_turn
        if is_certain or self.player.is_meant(event.heard_text, transcript.last_spoken):
            self.player.stop(self.call)
        if event.heard_text is not None:
            transcript.truncate(event.heard_text)
        self.send_queue.put(event.frames)
        if not is_certain and self.player.playback is None:
            self._silence_timer.start()

    def _on_false_interruption(self) -> None:
        """Break the silence after an interruption without words."""
        if self.player.playback is None:
            prompt = RESUME_PROMPT if self.profile.false_interruption == "resume" else SILENCE_PROMPT
            self._begin_turn(TurnRequested(kind="reminder", prompt=prompt))

    # The return to a call

    def ask_again(self) -> None:
        """Start the turn again whose reply a lost socket cut off, if the platform takes it."""
        request, self.call.unanswered = self.call.unanswered, None
        if self.codec.asks_again and isinstance(request, TurnRequested):
            if request.history is None and request.user_text:
                self.call.transcript.pop_unanswered()
            self._begin_turn(request)

    def on_resumed(self, reason: str, *, is_known: bool) -> None:
        """Go on with a call that the platform connects in a new session, in the language that it had.

        `reason` is `CallStarted.resumed`; `is_known` is False if another process had the call.
        """
        if self.call.language is not None:
            arguments = dumps({"language": self.call.language}).decode()
            switch = ToolCall("", "switch_language", arguments)
            self.send_queue.put(self.codec.begin_turn(TurnRequested()).tool_call(switch))
        if reason != SESSION_FAILED:
            result = TRANSFER_FAILED.format(status=reason)
            if self.call.transcript.replace_result("transfer_call", result):
                return self._begin_turn(TurnRequested(kind="tool"))
            if not is_known:
                prompt = TRANSFER_FAILED_PROMPT.format(status=reason)
                return self._begin_turn(TurnRequested(kind="reminder", prompt=prompt))
        self.ask_again()

    # The end

    def stop(self) -> None:
        """Begin no further turn by itself."""
        self._silence_timer.cancel()

    def close(self) -> None:
        """Keep keys that are not delivered yet for the next socket of the call."""
        if digits := self._dtmf.take():
            request = _digits_request(digits)
            self.call.transcript.add_user(request.user_text)
            self.call.unanswered = request


def _digits_request(digits: str) -> TurnRequested:
    return TurnRequested(KEYPAD_PROMPT.format(digits=digits), kind="keypad")
