"""Sends turns at their moments, over connections used again, whatever became of the turns before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from loadtests.generate.closed_loop import Caller, Stream, dial, unconnected
from loadtests.generate.precise_timer import Alarm
from loadtests.generate.target import Door
from loadtests.generate.workload import HUNG_UP, Turn

DRAIN = 5.0
"""Seconds that turns may take to end after their time; then they are cut and count as failed."""
MOST = 4000
"""Turns that may be open at a time; one more fails."""
EVERY = 0.25
"""Seconds between two looks at the server."""

Watch: TypeAlias = Callable[[float, int], None]
"""Called now and then with the seconds since the start and the number of open turns."""


def unwatched(at: float, streams: int) -> None: ...


class Dialer:
    """Sends the turns of one run, in the order in which they are due, over connections used again."""

    def __init__(self, door: Door, turns: Sequence[Turn], watch: Watch = unwatched) -> None:
        self.door = door
        self.turns = turns
        self.watch = watch
        self.loop = asyncio.get_running_loop()
        self.over = self.loop.create_future()
        self.callers: set[Caller] = set()
        self.idle: list[Caller] = []
        self.dialling: set[asyncio.Task[None]] = set()
        self.sent = self.ended = 0
        self.start = 0.0

    async def run(self) -> None:
        """Until all turns have ended; cancelling it hangs up on those that have not."""
        alarm = self.alarm = Alarm(self._ring)
        self.start = time.perf_counter() + 0.01
        alarm.set(self.start + self.turns[0].at)
        longest = max(turn.at + min(turn.plan.seconds, turn.leave) for turn in self.turns)
        limit = self.loop.call_later(longest + DRAIN, self._give_up)
        looking = self.loop.create_task(self._look())
        try:
            await self.over
        finally:
            alarm.close()
            limit.cancel()
            for task in (looking, *self.dialling):
                task.cancel()
            await asyncio.gather(looking, *self.dialling, return_exceptions=True)
            for caller in self.callers:
                caller.transport.abort()
            await asyncio.sleep(0)  # until the sockets are closed

    def _ring(self) -> None:
        while self.sent < len(self.turns):
            turn = self.turns[self.sent]
            due, now = self.start + turn.at, time.perf_counter()
            if now < due:
                self.alarm.set(due)
                return
            self.sent += 1
            turn.late = now - due
            self._send(turn)

    def _send(self, turn: Turn) -> None:
        if turn.barges is not None and turn.barges.stream is None:
            turn.barges.barged = turn.at + turn.late - turn.barges.at
        while self.idle:
            caller = self.idle.pop()
            if not caller.transport.is_closing():
                return self._ask(turn, caller)
            self.callers.discard(caller)
        if self.sent - self.ended > MOST:
            return self._end(turn, Stream(failed=f"{MOST} turns were open already"))
        task = self.loop.create_task(self._dial(turn))
        self.dialling.add(task)
        task.add_done_callback(self.dialling.discard)

    async def _dial(self, turn: Turn) -> None:
        try:
            caller = await dial(self.door)
        except (OSError, UnicodeError) as error:  # the latter of a name that can be none
            self._end(turn, Stream(failed=unconnected(error)))
        else:
            self.callers.add(caller)
            self._ask(turn, caller)

    def _ask(self, turn: Turn, caller: Caller) -> None:
        due = self.start + turn.at
        ended = caller.ask(turn.request, due)
        leave = None
        if turn.leave < 3600:
            wait = due + turn.leave - time.perf_counter()
            leave = self.loop.call_later(max(wait, 0.0), caller.fail, HUNG_UP)
        ended.add_done_callback(partial(self._ended, turn, caller, leave))

    def _ended(
        self,
        turn: Turn,
        caller: Caller,
        leave: asyncio.TimerHandle | None,
        ended: asyncio.Future[Stream],
    ) -> None:
        if leave:
            leave.cancel()
        if not caller.transport.is_closing():
            self.idle.append(caller)
        else:
            self.callers.discard(caller)
        self._end(turn, ended.result())

    def _end(self, turn: Turn, stream: Stream) -> None:
        turn.stream = stream
        self.ended += 1
        if self.ended == len(self.turns) and not self.over.done():
            self.over.set_result(None)

    def _give_up(self) -> None:
        for caller in list(self.callers):
            caller.fail("did not end in time")
        for task in self.dialling:
            task.cancel()
        if not self.over.done():
            self.over.set_result(None)

    async def _look(self) -> None:
        while True:
            self.watch(time.perf_counter() - self.start, self.sent - self.ended)
            await asyncio.sleep(EVERY)
