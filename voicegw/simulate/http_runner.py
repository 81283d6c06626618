"""Plays a script by HTTP requests: posts what the platform would, reads the answers, and tapes what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from voicegw.simulate.call_runner import BACK, PACE, PARTIAL
from voicegw.simulate.connection import Over
from voicegw.simulate.http_checks import Exchanged, Streamed
from voicegw.simulate.http_exchange import Asking, Post
from voicegw.simulate.http_platform import Poster, Request
from voicegw.simulate.recording import Taped, Wrong
from voicegw.simulate.script import Script, Step

ROUNDS = 8
"""Requests of one turn: a question, and the results of tools."""
SHUT = frozenset({401, 403, 404, 405})
"""Statuses that no further request changes: the key or the address is wrong."""


class Exchange:
    """One rehearsed call. `proof`: a wrong key is tried first, which a gateway has to refuse."""

    def __init__(self, poster: Poster, script: Script, post: Post, *, proof: bool = False) -> None:
        self.poster = poster
        self.script = script
        self.proof = proof
        self.tape = Exchanged()
        self.asking = Asking(post, self.tape, poster.offered)
        self._tasks: list[asyncio.Task[Any]] = []
        self._twin: asyncio.Task[Streamed] | None = None

    @property
    def now(self) -> float:
        """Seconds since the rehearsal began."""
        return self.asking.now

    async def play(self) -> Exchanged:
        """Play the script to its end, or as far as the gateway lets it; then try the rest of the list."""
        try:
            if self.proof:
                await self.asking.look(self.poster.forged(), self.script.patience.answer)
            for number, step in enumerate(self.script.turns, 1):
                await self._turn(number, step)
                if self.tape.over or step.hang_up is not None:
                    break
            await self._hang_up()
            for probe in self.poster.probes():
                await self.asking.look(probe, self.script.patience.answer)
        except Over as over:
            self.tape.failure = str(over)
        finally:
            with suppress(Over):
                await self._hang_up()
        return self.tape

    # The tasks that ask

    def _begin(self, asking: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(asking)
        task.add_done_callback(lambda task: self.asking.news.set())
        self._tasks.append(task)
        return task

    async def _hang_up(self) -> None:
        """Close the connections of what is still being answered. Raises what went wrong in there."""
        tasks, self._tasks, self._twin = self._tasks, [], None
        for task in tasks:
            task.cancel()
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(found, Exception):
                raise found

    @property
    def _quiet(self) -> bool:
        return all(task.done() for task in self._tasks)

    async def _answered(self, found: Callable[[], bool] = lambda: False) -> None:
        """Until something is found, or all is answered."""
        within = self.script.patience.answer
        if not await self._until(lambda: found() or self._quiet, within):
            raise Over(f"turn {self.tape.turns[-1].number} was not answered within {within:g} s")
        if self._quiet:
            await self._hang_up()

    async def _until(self, found: Callable[[], bool], within: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(within, 0.0)):
                while not found():
                    self.asking.news.clear()
                    await self.asking.news.wait()
        return found()

    async def _listen(self, seconds: float) -> None:
        if seconds > 0:
            await self._until(lambda: self.tape.over, seconds)

    # Turns

    async def _turn(self, number: int, step: Step) -> None:
        await self._listen(step.wait)
        if self.tape.over:
            return
        if step.kind in self.poster.ways.without:
            self.tape.skipped.append((number, step))
            return
        await self._break_off()
        for words in step.partial:
            self._begin(self.asking.ask(self.poster.partial(words), "words that may still change"))
            await self._listen(PARTIAL)
            await self._hang_up()
        place, self.asking.stream = len(self.tape.turns), None
        turn = Taped(step, self.now, number, mutes=self.poster.ways.mutes)
        self.tape.turns.append(turn)
        try:
            self._begin(self._answer(place, self.poster.ask(step.say, odd=step.nonsense)))
            if step.again is not None and not await self._until(lambda: self._quiet, step.again):
                twin = self.asking.ask(self.poster.again(lost=False), f"turn {number}, asked again")
                self._twin = self._begin(twin)
            await self._go_on(step, place)
        finally:
            turn.left = self.now
        if self.tape.opened is None and self._quiet:
            self._give_up()

    def _give_up(self) -> None:
        """Nothing will come of further requests if the first one was not let in, or nobody was there."""
        last = self.tape.streams[-1]
        if last.failure:
            raise Over(f"no answer: {last.failure}")
        if last.status in SHUT:
            self.tape.body = last.body
            raise Over(f"the request was refused with status {last.status}")

    async def _go_on(self, step: Step, number: int) -> None:
        """What happens while the agent answers."""
        turn = self.tape.turns[number]
        if step.interrupt is not None:
            await self._answered(lambda: turn.first is not None)
            await self._listen(step.interrupt)
            if not self.tape.over and turn.first is not None and not turn.why:
                await self._interrupt(turn)
        elif step.next is not None:
            await self._listen(turn.asked + step.next - self.now)
        elif step.hang_up is not None:
            await self._listen(turn.asked + step.hang_up - self.now)
            turn.hung_up = not self.tape.over
        else:
            if step.drop is not None:
                await self._drop(step.drop, number)
            await self._answered()

    async def _break_off(self) -> None:
        """Something newer comes: what is not answered yet never will be."""
        if not self._quiet:
            await self._interrupt(self.tape.turns[-1])
        else:
            await self._hang_up()

    async def _interrupt(self, turn: Taped) -> None:
        heard = self._heard()
        turn.stopped = self.now
        await self._hang_up()
        self.poster.heard(heard)

    def _heard(self) -> str:
        """How much of the present answer was spoken by now."""
        stream = self.asking.stream
        if stream is None or not stream.said:
            return ""
        begun = next((at for at, text in stream.said if text.strip()), self.now)
        part = stream.text[: int(PACE * (self.now - begun))]
        return part if len(part) == len(stream.text) else part.rpartition(" ")[0]

    async def _drop(self, after: float, number: int) -> None:
        turn = self.tape.turns[number]
        await self._until(lambda: self._quiet, turn.asked + after - self.now)
        if self._quiet:
            return  # there is no connection any more
        self.asking.note("!", "the connection is lost")
        turn.lost = self.now
        await self._hang_up()
        await asyncio.sleep(BACK)
        turn.anew = self.now
        self._begin(self._answer(number, self.poster.again(lost=True)))

    async def _answer(self, number: int, request: Request) -> None:
        """Ask, and go on with the results of tools until there are none."""
        turn = self.tape.turns[number]
        for _ in range(ROUNDS):
            first = await self.asking.ask(request, f"turn {turn.number}", number)
            stream = await self._better(first, turn)
            turn.status = stream.status
            if not stream.well:
                turn.why = stream.why
                return self.poster.heard(stream.text)
            following = self.poster.follow(stream.text, stream.calls)
            if following is None:
                turn.ends.append(self.now if stream.done is None else stream.done)
                self.tape.over = self.poster.ended(stream.calls)
                return
            request = following
        self.tape.wrongs.append(
            Wrong("tools", f"tools are called {ROUNDS} times, without an end", f"turn {turn.number}")
        )

    async def _better(self, stream: Streamed, turn: Taped) -> Streamed:
        """Of two answers to the same request, the one that the caller hears."""
        twin, self._twin = self._twin, None
        if twin is None:
            return stream
        other = await twin
        self.tape.twins.append((stream, other))
        if other.well and (not stream.well or len(other.text) > len(stream.text)):
            turn.words, turn.acted, self.asking.stream = other.said, other.acted, other
            return other
        return stream
