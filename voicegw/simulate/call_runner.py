"""Plays a script on a websocket: does what a caller and the platform would, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from voicegw.simulate.connection import Dial, Gone, Link, Over, Refused, Socket
from voicegw.simulate.platform import Caller
from voicegw.simulate.recording import Tape, Taped
from voicegw.simulate.script import Script, Step

__all__ = ["Call", "Dial", "Gone", "Over", "Refused", "Socket"]

PARTIAL, BACK, SETTLE = 0.05, 0.2, 0.3
"""Seconds between partial words, until a lost platform comes back, and to listen for what comes too late."""
PACE = 15.0
"""Characters of speech per second, to tell what a caller heard before speaking."""


class Late(Over):
    """The patience ended."""


class Call:
    """One rehearsed call. `proof`: a false proof is tried first, which a gateway has to refuse."""

    def __init__(self, caller: Caller, script: Script, url: str, dial: Dial, *, proof: bool = False) -> None:
        self.caller = caller
        self.script = script
        self.proof = proof
        self.tape = Tape()
        self.link = Link(caller, script.patience, caller.address(url), dial, self.tape)

    async def play(self) -> Tape:
        """Play the script to its end, or as far as the gateway lets it."""
        try:
            if self.proof:
                await self.link.try_forged()
            await self.link.connect(again=False)
            await self._greeted()
            await self._play()
        except Over as over:
            self.tape.failure = str(over)
        except Gone as gone:
            self.tape.failure = str(gone)
            self.tape.closed = self.tape.closed or (self.link.now, gone.code)
        finally:
            await self._leave()
        return self.tape

    async def _play(self) -> None:
        for number, step in enumerate(self.script.turns, 1):
            await self._turn(number, step)
            if self.tape.over:
                break
            if step.hang_up is not None:
                return
        await self._settle()

    async def _greeted(self) -> None:
        """What comes before the caller can speak is a greeting, for as long as more of it comes."""
        heard, until = -1, self.link.now + self.script.patience.answer
        while len(self.tape.greeting) > heard and self.link.now < until and not self.tape.over:
            heard = len(self.tape.greeting)
            await self._listen(self.caller.ways.opening)

    async def _settle(self) -> None:
        """Listen for what comes too late; once the agent ended the call, the gateway may hang up too."""
        if not self.tape.over:
            await self._listen(SETTLE)
        else:
            with suppress(Over):
                await self.link.until(lambda: False, SETTLE)

    async def _leave(self) -> None:
        with suppress(Gone):
            await self.link.send(self.caller.leave())
        await self.link.hang_up(farewell=True)

    async def _turn(self, number: int, step: Step) -> None:
        await self._listen(step.wait)
        if self.tape.over:
            return
        if step.kind in self.caller.ways.without:
            self.tape.skipped.append((number, step))
            return
        if step.nonsense:
            self.tape.nonsense.append(number)
            await self.link.send(self.caller.nonsense())
        for words in step.partial:
            await self.link.send(self.caller.partial(words))
            await self._listen(PARTIAL)
        frames = self.caller.ask(step.say) if step.press is None else self.caller.press(step.press)
        turn = self._begin(number, step)
        try:
            await self.link.send(frames)
            await self.link.ping()
            await self._repeat(step, turn)
            await self._go_on(step, turn)
        except (Gone, Over) as lost:
            if not isinstance(lost, Late):
                turn.why = f"{lost}{' in mid-answer' if turn.words else ''}"
            raise
        finally:
            turn.left = self.link.now

    async def _repeat(self, step: Step, turn: Taped) -> None:
        if step.again is not None and not await self._until(lambda: bool(turn.ends), step.again):
            turn.anew = self.link.now if self.caller.ways.renews else None
            await self.link.send(self.caller.repeat())

    def _begin(self, number: int, step: Step) -> Taped:
        now = self.link.now
        for older in self.tape.turns[-1:]:
            if not older.ends and older.stopped is None:
                older.stopped = now
        turn = Taped(step, now, number, mutes=self.caller.ways.mutes)
        self.tape.turns.append(turn)
        return turn

    async def _go_on(self, step: Step, turn: Taped) -> None:
        """What happens while the agent answers."""
        if step.interrupt is not None:
            await self._interrupt(step.interrupt, turn)
        elif step.next is not None:
            await self._listen(turn.asked + step.next - self.link.now)
        elif step.hang_up is not None:
            await self._listen(turn.asked + step.hang_up - self.link.now)
            turn.hung_up = not self.tape.over
        else:
            if step.drop is not None:
                await self._drop(step.drop, turn)
            await self._answered(lambda: bool(turn.ends))
            if self._ambiguous(step):
                await self._listen(SETTLE)  # for a second answer

    def _ambiguous(self, step: Step) -> bool:
        """Might a gateway answer this turn twice?"""
        superseding = any(turn.step.next is not None for turn in self.tape.turns[-2:-1])
        return superseding or step.drop is not None or step.again is not None

    async def _interrupt(self, after: float, turn: Taped) -> None:
        await self._answered(lambda: turn.first is not None or bool(turn.ends))
        await self._listen(after)
        if self.tape.over:
            return
        heard = turn.text[: int(PACE * (self.link.now - turn.asked - (turn.first or 0.0)))]
        heard = turn.text if len(heard) == len(turn.text) else heard.rpartition(" ")[0]
        turn.stopped = self.link.now
        await self.link.send(self.caller.interrupt(heard))
        await self._listen(self.script.patience.stop + SETTLE)

    async def _drop(self, after: float, turn: Taped) -> None:
        await self._listen(turn.asked + after - self.link.now)
        if self.tape.over:
            return
        self.link.note("!", "the connection is lost")
        turn.lost = self.link.now
        await self.link.hang_up(farewell=False)
        await asyncio.sleep(BACK)
        await self.link.connect(again=True)
        turn.anew = self.link.now

    async def _answered(self, found: Callable[[], bool]) -> None:
        within = self.script.patience.answer
        if not await self._until(found, within):
            raise Late(f"turn {self.tape.turns[-1].number} was not answered within {within:g} s")

    async def _until(self, found: Callable[[], bool], within: float) -> bool:
        """Listen until something is found or the agent ended the call, at most so many seconds."""
        return await self.link.until(lambda: found() or self.tape.over, within)

    async def _listen(self, seconds: float) -> None:
        if seconds > 0:
            await self._until(lambda: False, seconds)
