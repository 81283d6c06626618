"""The turns of one socket: starts them, speculates, asks an agent again that only acted, and records them.

It decodes no frames and knows no platform: `voicegw.calls.session` decides which turn begins or ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from voicegw.calls.codec import CallCodec, TurnEncoder, TurnRequested
from voicegw.calls.languages import choose_language
from voicegw.calls.playback import TurnPlayback
from voicegw.calls.profile import CallProfile
from voicegw.calls.send_queue import SendQueue
from voicegw.conversations.call_record import CallRecord
from voicegw.conversations.engine import TurnEngine
from voicegw.conversations.spoken_reply import SpokenReply
from voicegw.conversations.turn_relation import Client
from voicegw.errors import ServiceUnavailable, VoicegwError
from voicegw.events import Message, ToolCall, Turn
from voicegw.turns.phrases import Phrases
from voicegw.turns.run import Run
from voicegw.turns.served_agent import Voice
from voicegw.turns.stream import ResponseStream
from voicegw.turns.timings import CallTimings, TurnTimings
from voicegw.wire.json import loads_object

MAX_TOOL_ROUNDS = 4
"""Further runs within one turn if the agent calls actions and says nothing, or if an action is refused."""


class TurnPlayer:
    """Plays the turns of one socket, one at a time."""

    def __init__(
        self,
        engine: TurnEngine,
        profile: CallProfile,
        codec: CallCodec,
        send_queue: SendQueue,
        timings: CallTimings,
        on_call_over: Callable[[bool], None],
        hang_up: Callable[[int], None],
    ) -> None:
        """`on_call_over` is called after the agent ended the call, with whether it transferred the call.

        `hang_up` is called with a close code to send.
        """
        self.engine = engine  # the dispatcher, the rate limiter and the turn log of all calls
        self.profile = profile  # how this call is served
        self.codec = codec  # encodes the turns
        self.send_queue = send_queue  # the frames that wait to be sent
        self.timings = timings  # for the log record of the call
        self.on_call_over = on_call_over
        self.hang_up = hang_up
        self.dispatcher = engine.dispatcher  # starts the runs of the agents
        self.loop = asyncio.get_running_loop()
        self.platform_call_id = ""  # "" until the call is identified
        self.metadata: Mapping[str, Any] = profile.metadata  # the platform's description of the call
        self.language: str | None = None  # the last one that the platform reported
        self.playback: TurnPlayback | None = None  # the turn that is being spoken
        self.speculative_run: Run | None = None  # runs for words that are not final yet
        self.request = TurnRequested()  # of the current turn, or of its last round
        self.rounds = 0  # of the current turn, see MAX_TOOL_ROUNDS
        self._spoken_until = 0.0  # when the words of the earlier rounds can have been spoken
        self._has_spoken = False  # did the agent say anything in the earlier rounds of the turn?
        self._earlier_actions: dict[tuple[str, str], str] = {}  # results by name and arguments, in this turn

    # Start

    def begin_turn(self, call: CallRecord, request: TurnRequested) -> None:
        """Start the turn that answers these words; the caller has stopped the turn before."""
        self.timings.turn_count += 1
        self.rounds, self._has_spoken, self._spoken_until = 0, False, 0.0
        self._earlier_actions = {}
        turn = self._build_turn(call, request)
        if request.history is None and request.user_text:
            call.transcript.add_user(request.user_text)
        self._start(call, turn, request)

    def speculate(self, call: CallRecord, request: TurnRequested) -> None:
        """Start a run for words that may still change; the final words take it over if they are the same."""
        try:
            turn = self._build_turn(call, request)
            run = self._dispatch(call, turn)
        except VoicegwError:
            return
        self.speculative_run = run
        run.start()

    def cancel_speculation(self) -> None:
        """Cancel the run for words that are not final, if there is one."""
        if self.speculative_run is not None:
            self.speculative_run.cancel()
            self.speculative_run = None

    def reject(self, call: CallRecord, request: TurnRequested) -> None:
        """Stop the current turn and answer with the busy phrase."""
        self.stop(call)
        self._say(call, request, self.phrases_for(call).busy)

    def phrases_for(self, call: CallRecord | None) -> Phrases:
        """Return the gateway's phrases in the language of the voice."""
        return self.profile.agent.phrases_in(self._voice_language(call))

    def _voice_language(self, call: CallRecord | None) -> str:
        """Return the language of the voice, which the agent switches or, by the profile, the caller."""
        if self.language and self.profile.speaks_callers_language:
            return self.language
        return (call.language if call is not None else None) or self.profile.language

    def _language_after(self, call: CallRecord, action: ToolCall) -> str | None:
        """Return the language of the voice after this action; None if it is no switch of the language."""
        fields = loads_object(action.arguments) if action.name == "switch_language" else None
        if not fields or not isinstance(tag := fields.get("language"), str):
            return None
        return choose_language(tag, self.profile.languages, self._voice_language(call))

    def _dispatch(self, call: CallRecord, turn: Turn) -> Run:
        """Return the run of a turn, whose speech is in the language of the voice."""
        voice = Voice(self._voice_language(call), partial(self._language_after, call))
        return self.dispatcher.dispatch(self.profile.agent, turn, client=Client.SOCKET, voice=voice)

    def _build_turn(self, call: CallRecord, request: TurnRequested) -> Turn:
        self.language = choose_language(request.language, self.profile.languages, self.language)
        return self.profile.build_turn(
            self.dispatcher.new_turn_id(),
            call,
            replace(request, language=self.language or self._voice_language(call)),
            self.dispatcher.calls.own_phrases(call.id),
            self.metadata,
        )

    def _start(self, call: CallRecord, turn: Turn, request: TurnRequested) -> None:
        """Send the first words, then start the run."""
        now = self.dispatcher.now()
        phrases = self.phrases_for(call)
        try:
            active = self.engine.open(
                self.profile.key,
                self.profile.agent.name,
                lambda: self._dispatch(call, turn),
                TurnTimings(now),
                self.platform_call_id,
            )
        except VoicegwError as failure:
            shutting_down = isinstance(failure, ServiceUnavailable)
            apology = phrases.shutdown if shutting_down else str(getattr(phrases, failure.phrase))
            self._say(call, request, apology)
            return self.hang_up(self.codec.close_code) if shutting_down else None
        run = active.run
        self.request, self.speculative_run, call.unanswered = request, None, request
        encoder = self._begin_encoder(call, request)
        encoder.actions.earlier, encoder.may_stay_open = self._earlier_actions, True
        stream = self._open_stream(call, run, encoder, request, active.timings)
        self.playback = playback = TurnPlayback(
            active,
            stream,
            encoder,
            self.send_queue.wake,
            self.profile.chars_per_second,
            self._spoken_until,
        )
        run.subscribers.append(playback)
        self.send_queue.put(playback.start(now))
        self.send_queue.wake()  # a speculative run that has ended wakes no subscriber
        run.start()

    def _open_stream(
        self, call: CallRecord, run: Run, encoder: TurnEncoder, request: TurnRequested, timings: TurnTimings
    ) -> ResponseStream:
        phrases, turn = self.phrases_for(call), replace(run.turn, language=self._voice_language(call))
        is_own_reminder = request.kind == "reminder" and request.history is None
        return ResponseStream(
            run.event_log,
            encoder,
            self.profile.agent.ack_schedule(
                turn,
                self.profile.dialect,
                turn.messages,
                quiet=run.has_spoken or run.event_log.has_ended or is_own_reminder,
            ),
            timings,
            lambda failure: str(getattr(phrases, failure.phrase)),
            on_own_words=lambda words, events, calls: self._on_own_words(call, run, words, events),
        )

    def _on_own_words(self, call: CallRecord, run: Run, words: str, event_count: int) -> None:
        """Note the gateway's own words: they are no part of the agent's reply."""
        self.dispatcher.calls.add_own_phrase(call.id, run, words, event_count)
        if self.playback is not None:
            self.playback.note_own_words(words)

    def _begin_encoder(self, call: CallRecord, request: TurnRequested) -> TurnEncoder:
        return self.codec.begin_turn(replace(request, language=self._voice_language(call)))

    def _say(self, call: CallRecord, request: TurnRequested, words: str) -> None:
        """Answer a request with words of the gateway alone."""
        encoder = self._begin_encoder(call, request)
        self.send_queue.put(encoder.start(words) + encoder.finish("stop", None))

    # End

    def due_frames(self, call: CallRecord | None) -> bytes:
        """Return the frames of the current turn that are due now."""
        playback = self.playback
        if playback is None or call is None:
            return b""
        frames = playback.read(self.dispatcher.now())
        if playback.done:
            self._finish(call, playback)
        return frames

    def deadline(self) -> float | None:
        """Return when to ask the current turn again; None if there is none."""
        return None if self.playback is None else self.playback.deadline

    def is_meant(self, heard_text: str | None, last_spoken: SpokenReply) -> bool:
        """Return whether an interruption with these heard words means the current turn, not an older reply.

        `last_spoken` is the older reply. A turn of which nothing was sent yet cannot have been interrupted.
        """
        if self.playback is None or self.rounds:
            return True
        spoken = self.playback.spoken
        if not spoken.text.strip():
            return False
        is_older = bool(heard_text and heard_text.strip()) and last_spoken.has_beginning(heard_text or "")
        return spoken.has_beginning(heard_text or "") or not is_older

    def stop(self, call: CallRecord, *, lost: bool = False) -> None:
        """End the current turn; `lost`: its words did not reach the caller and are not recorded."""
        playback, self.playback = self.playback, None
        if playback is not None:
            self.send_queue.put(playback.encoder.stop())
            if lost:
                self._record_lost(call, playback)
            else:
                self._record(call, playback)
            self._close(playback)

    def _record(self, call: CallRecord, playback: TurnPlayback) -> tuple[Message, ...]:
        """Add the turn to the transcript; follow a switch of the language. Return the messages."""
        actions, calls = playback.encoder.actions, playback.actions
        call.unanswered = None
        actions.merge_into(self._earlier_actions, calls)
        for action in actions.executed:
            if (language := self._language_after(call, action)) is not None:
                call.language, self.language = language, None
        return call.transcript.add_assistant(playback.spoken, calls, actions.by_id)

    def _record_lost(self, call: CallRecord, playback: TurnPlayback) -> None:
        """Keep the actions that were executed, so that the turn that is asked again does not repeat them."""
        actions = playback.encoder.actions
        if actions.executed and self.request.history is None:
            call.transcript.add_assistant(SpokenReply(), actions.executed, actions.by_id)
            call.unanswered = _next_round(self.request, None)

    def _close(self, playback: TurnPlayback) -> None:
        """Leave the run, and record the turn in the timings and the log."""
        playback.active.close(playback, was_delivered=playback.done)
        self.timings.longest_gap = max(self.timings.longest_gap, playback.active.timings.longest_gap)

    def _finish(self, call: CallRecord, playback: TurnPlayback) -> None:
        """End a turn whose last frame was read; ask the agent to go on, or apologize, if that is needed."""
        self.playback = None
        encoder, request = playback.encoder, self.request
        added = self._record(call, playback)
        self._close(playback)
        if encoder.ends_call and self.codec.end_call_is_final:
            return self.on_call_over("transfer_call" in {call.name for call in encoder.actions.executed})
        self._has_spoken = self._has_spoken or bool(encoder.spoken_text.strip())
        self._spoken_until = playback.spoken_until
        if self._needs_round(encoder):
            self.rounds += 1
            history = None if request.history is None else (*request.history, *added)
            request = _next_round(request, history)
            self._start(call, self._build_turn(call, request), request)
        elif encoder.stays_open or (encoder.actions.has_refused and not self._has_spoken):
            words = "" if self._has_spoken else self.phrases_for(call).failure
            log = playback.run.event_log
            self.dispatcher.calls.add_own_phrase(call.id, playback.run, words, len(log.events))
            self._say(call, request, words)

    def _needs_round(self, encoder: TurnEncoder) -> bool:
        """Is the agent asked to go on? It said nothing after an action, or an action was refused."""
        if not encoder.actions.has_new or self.rounds >= MAX_TOOL_ROUNDS:
            return False
        if self.request.history is not None:
            return encoder.stays_open  # else the platform has its one reply
        return encoder.actions.has_refused or not encoder.spoken_text


def _next_round(request: TurnRequested, history: tuple[Message, ...] | None) -> TurnRequested:
    """Return the request that asks the agent to go on after its actions, in the language of the call."""
    return replace(request, user_text="", kind="tool", language=None, history=history)
