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
    Answered,
    Asked,
    CallCodec,
    Ended,
    Happening,
    Interrupted,
    Odd,
    Opened,
    Pressed,
)
from voicegw.calls.dtmf import Keypad
from voicegw.calls.playback import Talk
from voicegw.calls.profile import Route
from voicegw.calls.send_queue import Outbox
from voicegw.conversations.call_store import Call
from voicegw.conversations.engine import House
from voicegw.conversations.transcript import Replays
from voicegw.errors import Busy, Draining, Refused, VoicegwError
from voicegw.events import ToolCall, Turn
from voicegw.turns.run import Run
from voicegw.turns.stream import Listener
from voicegw.turns.timings import CallStamps, Stamps

log = logging.getLogger("voicegw.error")

PRESSED = "(The caller pressed {digits} on the keypad.)"
MOST_ROUNDS = 4
"""How often an agent that only acts is asked to go on, within one turn."""
MOST_TURNS, WITHIN = 30, 10.0
"""More questions within so many seconds are no caller's; they are dropped."""
MOST_ODD = 20
"""Odd frames of one call that are worth a line in the log."""
LEAVE = 3.0
"""Seconds that a platform gets to hang up a call for which there is no room."""
HUNG_UP = 1000
"""How a socket is closed whose call is over."""
LATER = 1013
"""How a socket is closed for which there is no room, where nothing can be said."""
POLICY = 1008
"""How a socket is closed on which something came that is against the rules."""


class Conversation:
    """One socket of one call. `send` takes a frame; `name` gives a platform's id its place in the house."""

    def __init__(
        self,
        house: House,
        route: Route,
        codec: CallCodec,
        send: Callable[[str], Awaitable[None]],
        name: Callable[[str], str],
        admit: Callable[[Opened], Refused | None] = lambda opened: None,
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
        self.facts = route.facts
        self.stamps = CallStamps(self.now())
        self.out = Outbox(send)
        self._keypad = Keypad(self._dialled)
        self._replays = Replays()
        self.over = False  # nothing that comes counts any more
        self.known_as = ""
        self.language: str | None = None
        self._rounds = 0
        self._acted: set[tuple[str, str]] = set()
        self._told = False  # does the platform keep the conversation, and answer for one frame only?
        self._times: deque[float] = deque(maxlen=MOST_TURNS)
        self._odd = 0
        self._timer: asyncio.TimerHandle | None = None

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
        if self.over:
            return
        happening = self.codec.receive(frame)
        if isinstance(happening, Odd):
            self._wonder(happening.why)
        elif isinstance(happening, Answered):
            self.out.say(happening.frame)
        elif isinstance(happening, Opened):
            self._opened(happening)
        elif happening is not None and self.call is not None:
            self._happened(self.call, happening)

    def _wonder(self, why: str) -> None:
        """Something that means nothing to us; a flood of it is told of in a few lines."""
        self._odd += 1
        if self._odd <= MOST_ODD:
            log.info('{"event":"odd","platform":"%s","why":"%s"}', self.codec.name, why)

    def _happened(self, call: Call, happening: Happening) -> None:
        if isinstance(happening, Asked):
            if happening.final:
                self._asked(call, happening)
            else:
                self._perhaps(call, happening)
        elif isinstance(happening, Interrupted):
            self._interrupted(call, happening)
        elif isinstance(happening, Ended):
            self.switchboard.calls.end(call.id)
            self.give_up(HUNG_UP)
        elif isinstance(happening, Pressed):
            self._keypad.press(happening.digit)

    def _opened(self, opened: Opened) -> None:
        if self.call is not None and self.name(opened.call) != self.call.id:
            return self._wonder("another call on the same socket")
        if refusal := self.admit(opened):
            return self.refuse(refusal)
        self.facts = opened.facts
        if self.call is not None:
            return
        if not self._find(opened.call):
            self._greet()
        elif self.call is not None and (said := self.call.ledger.lost()) is not None:
            self._asked(self.call, Asked(said))

    def _find(self, name: str) -> bool:
        """Take up the call of that name, from the socket that had it before; tells whether it was known."""
        self.known_as = name
        self.call = call = self.switchboard.calls.get(self.name(name), self.now())
        if call.give_up is not None:
            call.give_up()
        call.give_up = self.give_up
        call.open += 1
        known = bool(call.ledger.messages)
        self._replays = Replays(call.ledger, self.now())
        if not known:
            self.switchboard.warm(self.route.line, call.id)
        return known

    def _greet(self) -> None:
        """What the platform, or our first frame, has said by now."""
        if self.call is not None:
            self.call.ledger.answered(self.route.greeting)

    def _interrupted(self, call: Call, happening: Interrupted) -> None:
        if self._replays.going(self.now()):
            return  # of what was said before the call came back
        self.stamps.interruptions += 1
        self._stop(call)
        if self.guess is not None:
            self.guess.cancel()
            self.guess = None
        if happening.heard is not None:
            call.ledger.cut(happening.heard)
        self.out.say(happening.frames)

    def _dialled(self, digits: str) -> None:
        if self.call is not None:
            self._asked(self.call, Asked(PRESSED.format(digits=digits), kind="keypad"))

    # Turns

    def _asked(self, call: Call, asked: Asked) -> None:
        """The caller wants an answer: stop what is said, and ask the agent."""
        if asked.history is None and self._replays.repeated(asked.said, self.now()):
            return
        if self._flooded():
            self._wonder("more questions than a caller can ask")
            return self._decline(call, asked)
        self._stop(call)
        self.stamps.turns += 1
        self._rounds, self._told = 0, asked.history is not None
        self._acted.clear()
        if digits := self._keypad.take():
            call.ledger.asked(PRESSED.format(digits=digits))
        turn = self._turn(call, asked)
        if asked.history is None and asked.said:
            call.ledger.asked(asked.said)
        self._begin(call, turn, asked)

    def _decline(self, call: Call, asked: Asked) -> None:
        """Whoever counts on an answer to each question hears that we are busy."""
        if asked.history is not None:
            self._stop(call)
            codec, words = self.codec.turn(asked), self.route.line.words(self.route.language)
            self.out.say(codec.begin(words.busy) + codec.end("stop", None))

    def _flooded(self) -> bool:
        now = self.now()
        if len(self._times) == MOST_TURNS and now - self._times[0] < WITHIN:
            return True
        self._times.append(now)
        return False

    def _perhaps(self, call: Call, asked: Asked) -> None:
        """The caller may still go on: ask the agent already, if that is wanted, and say nothing yet."""
        if not self.route.speculate or self.talk is not None or not asked.said.strip() or self._flooded():
            return
        try:
            guess = self.switchboard.begin(self.route.line, self._turn(call, asked), live=True)
        except VoicegwError:
            return
        self.guess = guess
        guess.start()

    def _turn(self, call: Call, asked: Asked) -> Turn:
        board = self.switchboard
        self.language = asked.language or self.language
        asked = replace(asked, language=self.language)
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
            run = self.switchboard.begin(self.route.line, turn, live=True)
        except VoicegwError as failure:
            self.house.limits.end()
            going = isinstance(failure, Draining)
            sorry = words.closing if going else str(getattr(words, failure.spoken))
            self.out.say(codec.begin(sorry) + codec.end("stop", None))
            return self.hang_up(self.codec.close_code) if going else None
        self.house.journal.metrics.turns_running.inc()
        listener = Listener(
            run.record,
            codec,
            self.route.line.acknowledgement(
                run.turn, self.route.dialect, turn.messages, quiet=run.spoke or run.record.over
            ),
            Stamps(now),
            lambda failure: str(getattr(words, failure.spoken)),
            remember=lambda words: self._own(call, words),
        )
        codec.known = self._acted
        self.guess = None
        self.talk = talk = Talk(run, listener, codec, self.out.wake)
        run.followers.append(talk)
        self.out.say(talk.begin(now))
        self.out.wake()  # an answer that was prepared wakes nobody
        run.start()

    def _own(self, call: Call, words: str) -> None:
        """Words of ours are said: they are no part of what the agent said."""
        self.switchboard.calls.remember(call.id, words)
        if self.talk is not None:
            self.talk.own += words

    def _stop(self, call: Call, *, lost: bool = False) -> None:
        """Whatever we say, or prepared to say, ends here; if it is `lost`, it was as if nothing was said."""
        talk, self.talk = self.talk, None
        if talk is not None:
            self.out.say(talk.codec.stop())
            self._leave(call, talk, lost=lost)

    def _leave(self, call: Call, talk: Talk, *, lost: bool = False) -> None:
        """A turn is over for its caller: write down what was said."""
        codec, run, stamps = talk.codec, talk.run, talk.listener.stamps
        if not lost:
            done = [action.id for action in codec.done]
            call.ledger.answered(codec.spoken, talk.actions, own=talk.own.strip(), done=done)
        self._acted.update((action.name, action.arguments) for action in codec.done)
        run.delivered = run.delivered or talk.done
        self.switchboard.leave(run, talk)
        self.stamps.silence = max(self.stamps.silence, stamps.gap)
        self.house.limits.end()
        self.house.journal.metrics.turns_running.dec()
        run.when_closed(
            lambda: self.house.journal.turn(run, stamps, self.route.line.name, self.known_as),
            self.switchboard.stop_within,
        )

    def _finished(self, call: Call, talk: Talk) -> None:
        """Everything of this turn was sent."""
        self.talk = None
        codec = talk.codec
        tried = len(talk.actions)
        again = [action for action in talk.actions if (action.name, action.arguments) in self._acted]
        self._leave(call, talk)
        if codec.last and self.codec.ends:
            self.over = True
            self.switchboard.calls.end(call.id)
        elif tried > len(again) and not codec.spoken and self._rounds < MOST_ROUNDS and not self._told:
            self._rounds += 1  # the agent only acted, and has yet to say something
            asked = Asked(kind="tool")
            self._begin(call, self._turn(call, asked), asked)

    # What goes out

    def hang_up(self, code: int) -> None:
        """Close the socket, once what is to be said was sent."""
        self.out.hang_up(code)

    def refuse(self, refusal: Refused) -> None:
        """Nothing more is taken from this socket: it has no place here, or there is none for it."""
        self.over = True
        self.house.journal.refusal(refusal, self.codec.name, "")
        if not isinstance(refusal, Busy):
            return self.give_up(POLICY)
        words = self.route.line.words(self.route.language).busy
        if (frames := farewell(self.codec, words)) == b"":
            return self.give_up(LATER)
        self.out.say(frames)
        self._timer = self.loop.call_later(LEAVE, self.hang_up, HUNG_UP)

    def give_up(self, code: int | None = None) -> None:
        """Say and take nothing more: the call has another socket now, or none any more."""
        self.over = True
        if self.call is not None:
            self._stop(self.call)
        self.hang_up(self.codec.close_code if code is None else code)

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
        """The socket is gone: stop the agent, keep what was heard."""
        self.over = True
        self.out.stop()
        self._keypad.stop()
        if self._timer is not None:
            self._timer.cancel()
        call = self.call
        if call is None:
            return
        self._stop(call, lost=True)
        call.open -= 1
        if call.give_up == self.give_up:
            call.give_up = None
        if self.guess is not None:
            self.guess.cancel()
        if not self.route.kept:
            self.switchboard.calls.end(call.id)
        self.stamps.over = self.now()
        platform, agent = self.codec.name, self.route.line.name
        self.house.journal.call(self.stamps, platform, agent, call.id, self.known_as)


def farewell(codec: CallCodec, words: str) -> bytes:
    """The frames that say these words and end the call."""
    turn = codec.turn(Asked())
    return turn.begin(words) + turn.call(ToolCall("", "end_call")) + turn.end("stop", None)
