"""Sends planned turns at their due times over reused connections; a slow server does not delay the next turn.

It does not judge the turns: `workload.void_reason` does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from loadtests.generate.closed_loop import ChatConnection, connect, describe_connect_error
from loadtests.generate.precise_timer import PreciseTimer
from loadtests.generate.streams import Stream
from loadtests.generate.target import Target
from loadtests.generate.workload import HUNG_UP, PlannedTurn

DRAIN_TIMEOUT = 5.0
"""Seconds after the planned end until open turns are cut; they count as failed."""
MAX_OPEN_TURNS = 4000
"""Turns that may be open at a time; one more fails."""
OBSERVE_INTERVAL = 0.25
"""Seconds between two calls of the observer."""

Observer: TypeAlias = Callable[[float, int], None]
"""Called regularly with the seconds since the start and the number of open turns."""


def ignore(at: float, streams: int) -> None: ...


class TurnSender:
    """Sends the turns of one run, which are ordered by due time.

    It writes `lateness`, `interrupted_after` and `stream` into each turn.
    """

    def __init__(self, target: Target, turns: Sequence[PlannedTurn], observer: Observer = ignore) -> None:
        self.target = target
        self.turns = turns
        self.observer = observer
        self.loop = asyncio.get_running_loop()
        self.all_ended = self.loop.create_future()
        self.connections: set[ChatConnection] = set()
        self.idle: list[ChatConnection] = []
        self.connecting: set[asyncio.Task[None]] = set()
        self.sent_count = self.ended_count = 0
        self.started_at = 0.0

    async def run(self) -> None:
        """Send all turns, and return when they have ended.

        If cancelled, close the connections of open turns.
        """
        timer = self.timer = PreciseTimer(self._send_due_turns)
        self.started_at = time.perf_counter() + 0.01
        timer.schedule(self.started_at + self.turns[0].due_at)
        planned_end = max(turn.due_at + min(turn.plan.seconds, turn.hang_up_after) for turn in self.turns)
        limit = self.loop.call_later(planned_end + DRAIN_TIMEOUT, self._time_out)
        observing = self.loop.create_task(self._observe())
        try:
            await self.all_ended
        finally:
            timer.close()
            limit.cancel()
            for task in (observing, *self.connecting):
                task.cancel()
            await asyncio.gather(observing, *self.connecting, return_exceptions=True)
            for connection in self.connections:
                connection.transport.abort()
            await asyncio.sleep(0)  # so that the loop closes the sockets

    def _send_due_turns(self) -> None:
        while self.sent_count < len(self.turns):
            turn = self.turns[self.sent_count]
            due, now = self.started_at + turn.due_at, time.perf_counter()
            if now < due:
                self.timer.schedule(due)
                return
            self.sent_count += 1
            turn.lateness = now - due
            self._send(turn)

    def _send(self, turn: PlannedTurn) -> None:
        if turn.interrupts is not None and turn.interrupts.stream is None:
            turn.interrupts.interrupted_after = turn.due_at + turn.lateness - turn.interrupts.due_at
        while self.idle:
            connection = self.idle.pop()
            if not connection.transport.is_closing():
                return self._start_stream(turn, connection)
            self.connections.discard(connection)
        if self.sent_count - self.ended_count > MAX_OPEN_TURNS:
            return self._finish_turn(turn, Stream(failure=f"{MAX_OPEN_TURNS} turns were already open"))
        task = self.loop.create_task(self._connect(turn))
        self.connecting.add(task)
        task.add_done_callback(self.connecting.discard)

    async def _connect(self, turn: PlannedTurn) -> None:
        try:
            connection = await connect(self.target)
        except (OSError, UnicodeError) as error:  # UnicodeError: the host name is not valid
            self._finish_turn(turn, Stream(failure=describe_connect_error(error)))
        else:
            self.connections.add(connection)
            self._start_stream(turn, connection)

    def _start_stream(self, turn: PlannedTurn, connection: ChatConnection) -> None:
        due = self.started_at + turn.due_at
        ended = connection.send(turn.request, due)
        hang_up = None
        if turn.hang_up_after < 3600:
            wait = due + turn.hang_up_after - time.perf_counter()
            hang_up = self.loop.call_later(max(wait, 0.0), connection.fail, HUNG_UP)
        ended.add_done_callback(partial(self._on_stream_end, turn, connection, hang_up))

    def _on_stream_end(
        self,
        turn: PlannedTurn,
        connection: ChatConnection,
        hang_up: asyncio.TimerHandle | None,
        ended: asyncio.Future[Stream],
    ) -> None:
        if hang_up:
            hang_up.cancel()
        if not connection.transport.is_closing():
            self.idle.append(connection)
        else:
            self.connections.discard(connection)
        self._finish_turn(turn, ended.result())

    def _finish_turn(self, turn: PlannedTurn, stream: Stream) -> None:
        turn.stream = stream
        self.ended_count += 1
        if self.ended_count == len(self.turns) and not self.all_ended.done():
            self.all_ended.set_result(None)

    def _time_out(self) -> None:
        for connection in list(self.connections):
            connection.fail("did not end in time")
        for task in self.connecting:
            task.cancel()
        if not self.all_ended.done():
            self.all_ended.set_result(None)

    async def _observe(self) -> None:
        while True:
            self.observer(time.perf_counter() - self.started_at, self.sent_count - self.ended_count)
            await asyncio.sleep(OBSERVE_INTERVAL)
