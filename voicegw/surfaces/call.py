"""A call on a websocket, of whatever platform: the one shell around every call codec.

Two tasks serve a socket. The reader takes the platform's frames as they come, whatever the agent does,
and decides at once; the writer sends what the present turn has to say. A turn that was interrupted or
superseded is dropped in the very step in which that is read: nothing of it is sent any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from voicegw.calls.memory import Call
from voicegw.dialects import DIALECTS
from voicegw.errors import Busy, Draining, VoicegwError
from voicegw.events import Turn
from voicegw.ledger import Replays, last_reply, part_heard
from voicegw.listener import Listener
from voicegw.run import Run
from voicegw.surfaces.keypad import Keypad
from voicegw.surfaces.outbox import Outbox
from voicegw.surfaces.route import House, Route
from voicegw.surfaces.talk import Talk
from voicegw.trace import CallStamps, Stamps
from voicegw.wire import ticket
from voicegw.wire.phone import (
    Answered,
    Asked,
    CallCodec,
    Happening,
    Interrupted,
    Odd,
    Opened,
    Pressed,
    Transcribed,
)

log = logging.getLogger("voicegw.calls")

REPLAYED = 5.0
"""Seconds after a reconnect in which the platform may repeat what it sent before."""
PRESSED = "(The caller pressed {digits} on the keypad.)"
MOST_ROUNDS = 4
"""How often an agent that only acts is asked to go on, within one turn."""


class Conversation:
    """One socket of one call. `send` takes a frame; `name` gives a platform's id its place in the house."""

    def __init__(
        self,
        house: House,
        route: Route,
        codec: CallCodec,
        send: Callable[[str], Awaitable[None]],
        name: Callable[[str], str],
        admit: Callable[[Opened], bool] = lambda opened: True,
    ) -> None:
        self.house = house
        self.route = route
        self.codec = codec
        self.name = name
        self.admit = admit
        self.switchboard = house.switchboard
        self.loop = asyncio.get_running_loop()
        self.call: Call | None = None
        self.talk: Talk | None = None
        self.guess: Run | None = None
        self.facts: Mapping[str, Any] = {}
        self.stamps = CallStamps(self.now())
        self.out = Outbox(send)
        self._keypad = Keypad(self._dialled)
        self._replays = Replays()
        self._rounds = 0
        self._told = False  # does the platform keep the conversation, and answer for one frame only?

    @property
    def now(self) -> Callable[[], float]:
        return self.switchboard.now

    # What comes in

    def open(self, call: str | None) -> None:
        """The socket is open; `call` is the platform's id of the call where its path told it."""
        if call is None:
            self.out.say(self.codec.open(""))
            return
        known = self._find(call)
        self.out.say(self.codec.open(self.route.greeting, again=known))
        if not known:
            self._greet()

    def receive(self, frame: str | bytes) -> None:
        """One frame of the platform's."""
        happening = self.codec.receive(frame)
        if isinstance(happening, Odd):
            log.info('{"event":"odd","platform":"%s","why":"%s"}', self.codec.name, happening.why)
        elif isinstance(happening, Answered):
            self.out.say(happening.frame)
        elif isinstance(happening, Opened):
            self._opened(happening)
        elif happening is not None and self.call is not None:
            self._happened(self.call, happening)

    def _happened(self, call: Call, happening: Happening) -> None:
        if isinstance(happening, Asked):
            if happening.final:
                self._asked(call, happening)
            else:
                self._perhaps(call, happening)
        elif isinstance(happening, Interrupted):
            self._interrupted(call, happening)
        elif isinstance(happening, Pressed):
            self._keypad.press(happening.digit)
        elif isinstance(happening, Transcribed):
            self._transcribed(call, happening)

    def _opened(self, opened: Opened) -> None:
        if not self.admit(opened):
            return self.hang_up(1008)
        self.facts = ticket.without(opened.facts)
        if self.call is None and not self._find(opened.call):
            self._greet()

    def _find(self, name: str) -> bool:
        """Take up the call of that name; tells whether it was known."""
        self.call = self.switchboard.calls.get(self.name(name), self.now())
        self.call.open += 1
        book = self.call.ledger
        self._replays = Replays(book, self.now() + REPLAYED)
        if not book.messages:
            self.switchboard.warm(self.route.line, self.call.id)
        return bool(book.messages)

    def _greet(self) -> None:
        """What the platform, or our first frame, has said by now."""
        if self.call is not None:
            self.call.ledger.answered(self.route.greeting)

    def _interrupted(self, call: Call, happening: Interrupted) -> None:
        self.stamps.interruptions += 1
        self._stop(call)
        if happening.heard is not None:
            call.ledger.cut(happening.heard)

    def _transcribed(self, call: Call, happening: Transcribed) -> None:
        reply = last_reply(happening.history)
        if reply is not None and self.talk is None:
            call.ledger.heard = part_heard(last_reply(call.ledger.messages) or "", reply)

    def _dialled(self, digits: str) -> None:
        if self.call is not None:
            self._asked(self.call, Asked(PRESSED.format(digits=digits), kind="keypad"))

    # Turns

    def _asked(self, call: Call, asked: Asked) -> None:
        """The caller wants an answer: stop what is said, and ask the agent."""
        if asked.history is None and self._replays.repeated(asked.said, self.now()):
            return
        self._stop(call)
        self.stamps.turns += 1
        self._rounds, self._told = 0, asked.history is not None
        turn = self._turn(call, asked)
        if asked.history is None and asked.said:
            call.ledger.asked(asked.said)
        self._begin(call, turn, asked)

    def _perhaps(self, call: Call, asked: Asked) -> None:
        """The caller may still go on: ask the agent already, if that is wanted, and say nothing yet."""
        if not self.route.speculate or self.talk is not None or not asked.said.strip():
            return
        try:
            guess = self.switchboard.begin(self.route.line, self._turn(call, asked))
        except VoicegwError:
            return
        self.guess = guess
        guess.start()

    def _turn(self, call: Call, asked: Asked) -> Turn:
        board = self.switchboard
        return self.route.turn(board.id(), call, asked, board.calls.said(call.id), self.facts)

    def _begin(self, call: Call, turn: Turn, asked: Asked) -> None:
        """Send the first words, then ask the agent."""
        codec, now = self.codec.turn(asked), self.now()
        words = self.route.line.words(turn.language)
        try:
            self.house.limits.begin(self.route.key, now)
        except Busy:
            return self.out.say(codec.begin(words.busy) + codec.end("stop", None))
        try:
            run = self.switchboard.begin(self.route.line, turn)
        except VoicegwError as failure:
            self.house.limits.end()
            going = isinstance(failure, Draining)
            sorry = words.closing if going else str(getattr(words, failure.spoken))
            self.out.say(codec.begin(sorry) + codec.end("stop", None))
            return self.hang_up(self.codec.close_code) if going else None
        self.house.journal.running.inc()
        listener = Listener(
            run.record,
            codec,
            self.route.line.acknowledgement(
                run.turn, DIALECTS["voice"], turn.messages, quiet=run.spoke or run.record.over
            ),
            Stamps(now),
            lambda failure: str(getattr(words, failure.spoken)),
            remember=lambda said: self.switchboard.calls.remember(call.id, said),
        )
        self.guess = None
        self.talk = talk = Talk(run, listener, codec, self.out.wake)
        run.followers.append(talk)
        self.out.say(talk.begin(now))
        self.out.wake()  # an answer that was prepared wakes nobody
        run.start()

    def _stop(self, call: Call) -> None:
        """Whatever we say, or prepared to say, ends here."""
        talk, self.talk = self.talk, None
        if talk is not None:
            self.out.say(talk.codec.stop())
            self._leave(call, talk)

    def _leave(self, call: Call, talk: Talk) -> None:
        """A turn is over for its caller: write down what was said."""
        call.ledger.answered(talk.codec.spoken, talk.actions)
        run = talk.run
        run.delivered = run.delivered or talk.done
        self.switchboard.leave(run, talk)
        stamps = talk.listener.stamps
        self.stamps.silence = max(self.stamps.silence, stamps.gap)
        self.house.limits.end()
        self.house.journal.running.dec()
        run.when_closed(
            lambda: self.house.journal.turn(run, stamps, self.route.line.name, self.codec.name),
            self.switchboard.stop_within,
        )

    def _finished(self, call: Call, talk: Talk) -> None:
        """Everything of this turn was sent."""
        self.talk = None
        self._leave(call, talk)
        if talk.codec.last:
            self.switchboard.calls.end(call.id)
        elif talk.actions and not talk.codec.spoken and self._rounds < MOST_ROUNDS and not self._told:
            self._rounds += 1  # the agent only acted, and has yet to say something
            asked = Asked(kind="tool")
            self._begin(call, self._turn(call, asked), asked)

    # What goes out

    def hang_up(self, code: int) -> None:
        """Close the socket, once what is to be said was sent."""
        self.out.hang_up(code)

    async def write(self) -> int:
        """Send what is due until the socket is to be closed; gives the code to close it with."""
        return await self.out.write(self._due, self._deadline)

    def _due(self) -> bytes:
        """The frames that the present turn has to send now."""
        talk, call = self.talk, self.call
        if talk is None or call is None:
            return b""
        frames = talk.take(self.now())
        if talk.done:
            self._finished(call, talk)
        return frames

    def _deadline(self) -> float | None:
        """When to ask the present turn again; None if there is none."""
        return None if self.talk is None else self.talk.deadline

    def end(self) -> None:
        """The socket is gone: stop the agent, keep what was said."""
        self.out.stop()
        self._keypad.stop()
        if self.call is None:
            return
        self._stop(self.call)
        self.call.open -= 1
        if self.guess is not None:
            self.guess.cancel()
        self.stamps.over = self.now()
        self.house.journal.call(self.stamps, self.codec.name, self.route.line.name, self.call.id)
