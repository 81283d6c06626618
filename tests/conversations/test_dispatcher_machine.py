"""Whatever callers, agents and time do to it, the switchboard keeps its promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.actor import Actor, Ear, Part
from tests.support.chat_lint import lint
from tests.support.clock import VirtualLoop
from voicegw.conversations.agent_registry import AgentRegistry
from voicegw.conversations.call_store import CallStore
from voicegw.conversations.dispatcher import Dispatcher
from voicegw.errors import AgentBusy, AgentProtocolError, ShuttingDown
from voicegw.events import Message, Turn
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.run import SUPERSEDE_WAIT, Run
from voicegw.turns.served_agent import ServedAgent

T = TypeVar("T")
CALLS = st.sampled_from(["x/a", "x/b", "y/a"])
TENANTS = st.sampled_from(["x", "y"])
WORDS = st.sampled_from(["Hello?", "Hi!"])
CLOSINGS = st.sampled_from([0.0, 0.05, 0.4, 5.0, inf])
PAUSES = st.sampled_from([0.01, 0.1, SUPERSEDE_WAIT, 0.5, 1.0, 9.0, 11.0, 40.0])
FAILURES = st.sampled_from([AgentBusy("busy"), AgentProtocolError("what?"), RuntimeError("oh")])
IDLE, MOST = 30.0, 10


class Machine(RuleBasedStateMachine):
    """Callers of three calls of two tenants, and anonymous ones, at one switchboard."""

    @initialize(grace=st.sampled_from([0.0, 2.0]))
    def open(self, grace: float) -> None:
        self.loop = VirtualLoop()
        self.actor = Actor(self._started)
        self.line = ServedAgent("desk", self.actor, DIALECTS["voice"])
        self.calls = CallStore(idle=IDLE, max_calls=MOST)
        self.board = Dispatcher(
            AgentRegistry({"desk": self.line}), disconnect_grace=grace, calls=self.calls, now=self.loop.time
        )
        self.count = 0
        self.ears: list[Ear] = []
        self.parts: list[Part] = []
        self.runs: dict[str, Run] = {}
        self.newest: dict[str, Run] = {}
        self.overlaps: list[tuple[Run, Run]] = []
        self.asides: set[Run] = set()
        self.forgotten: set[Run] = set()
        self.alone: dict[Run, float] = {}
        self.excused: set[Run] = set()
        self.ended: dict[str, float] = {}
        self.used: dict[str, float] = {}

    # Time

    def _do(self, step: Callable[[], T], seconds: float = 0.0) -> T:
        """One step inside the loop, and everything that follows from it by then."""

        async def act() -> T:
            done = step()
            await asyncio.sleep(seconds)
            for _ in range(3):
                await self._settle()
                for ear in [ear for ear in self.ears if ear.listener.done]:
                    self._leave(ear)
            return done

        return self.loop.run_until_complete(act())

    async def _settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    def _leave(self, ear: Ear) -> None:
        self.ears.remove(ear)
        ear.run.delivered = ear.run.delivered or ear.listener.done
        self.alone[ear.run] = self.loop.time()
        self.board.unsubscribe(ear.run, ear)

    def _started(self, part: Part) -> None:
        """The agent is asked: what it still does for the same call must be closing, and was waited for."""
        run = self.runs[part.turn.id]
        for other in [part for part in self.parts if not part.closed]:
            old = self.runs[other.turn.id]
            if (
                run.turn.call is not None
                and other.turn.call == run.turn.call
                and not {run, old} & self.asides
            ):
                waited = -1.0 if old.cancelled_at is None else round(self.loop.time() - old.cancelled_at, 9)
                ended = (
                    old.cancelled_at is not None and self.ended.get(run.turn.call, -1.0) >= old.cancelled_at
                )
                self.overlaps += [] if waited >= SUPERSEDE_WAIT or ended else [(old, run)]
        self.parts.append(part)

    # Callers

    def _turn(self, text: str, call: str | None = None, tenant: str = "", after: Any = ()) -> Turn:
        self.count += 1
        tenant = tenant or str(call).partition("/")[0]
        return Turn(f"t{self.count}", (*after, Message("user", text)), call=call, tenant=tenant)

    def _ask(self, turn: Turn, start: bool = True, **how: Any) -> Run:
        def step() -> Run:
            run = self.board.dispatch(self.line, turn, **how)
            self.runs.setdefault(run.turn.id, run)
            if run.turn.id == turn.id and how.get("background"):
                self.asides.add(run)
            self.ears.append(Ear(run, paused=not start))
            if start:
                run.start()
                self.ears[-1].wake()
            return run

        call = str(turn.call)
        if call in self.newest and not self._remembered(call):
            self.forgotten.add(self.newest[call])
        self.used[call] = self.loop.time()
        run = self._do(step)
        assert (run.turn.messages, run.turn.call, run.turn.tenant) == (turn.messages, turn.call, turn.tenant)
        return run

    def _remembered(self, call: str) -> bool:
        """Is this call known for sure: not idle for long, or busy?"""
        newest = self.newest[call]
        fresh = self.loop.time() < self.used[call] + IDLE or not newest.closed
        return fresh and newest not in self.forgotten

    def _newer(self, turn: Turn, start: bool) -> None:
        assert turn.call is not None
        older = [run for run in self.runs.values() if run.turn.call == turn.call and run not in self.asides]
        self.excused.update(older)
        run = self._ask(turn, start)
        assert run.turn is turn, "a newer turn has a run of its own"
        self.newest[turn.call] = run

    @rule(call=CALLS, start=st.booleans(), closing=CLOSINGS)
    def begin(self, call: str, start: bool, closing: float) -> None:
        """The next turn of a call."""
        self.actor.closing = closing
        before = self.newest[call].turn.messages if call in self.newest else ()
        self._newer(self._turn(f"word {self.count}", call, after=before), start)

    @rule(call=CALLS, start=st.booleans())
    def revise(self, call: str, start: bool) -> None:
        """The caller went on speaking: the last message is another."""
        before = self.newest[call].turn.messages[:-1] if call in self.newest else ()
        self._newer(self._turn(f"word {self.count}", call, after=before), start)

    @precondition(lambda self: self.newest)
    @rule(data=st.data(), retried=st.booleans(), background=st.booleans())
    def repeat(self, data: st.DataObject, retried: bool, background: bool) -> None:
        newest = data.draw(st.sampled_from(list(self.newest.values())))
        live = not newest.event_log.ended
        turn = self._turn(newest.turn.said, newest.turn.call, after=newest.turn.messages[:-1])
        run = self._ask(turn, retried=retried, background=background)
        assert run is newest or not live, "what runs is joined"
        if not background:
            self.newest[str(turn.call)] = run

    @precondition(lambda self: any(len(run.turn.messages) > 1 for run in self.newest.values()))
    @rule(data=st.data(), retried=st.booleans())
    def be_late(self, data: st.DataObject, retried: bool) -> None:
        """A retry of a turn that is long past; long after the newest one, a wish to go back."""
        known = [run for run in self.newest.values() if len(run.turn.messages) > 1]
        before = data.draw(st.sampled_from(known))
        newest = before.turn
        parts, *old = len(self.parts), *newest.messages[:-1]
        recent = before.closed_at is None or self.loop.time() - before.closed_at <= self.board.replay_window
        late = recent and self._remembered(str(newest.call))
        run = self._ask(self._turn(old[-1].text, newest.call, after=old[:-1]), retried=retried)
        if late or run.closed:
            self.excused.add(run)
            assert (run.begun, run.closed, len(self.parts)) == (False, True, parts)
        else:
            self.newest[str(newest.call)] = run

    @rule(call=CALLS, text=WORDS, retried=st.booleans())
    def ask_aside(self, call: str, text: str, retried: bool) -> None:
        known = [run for run in self.asides - self.forgotten if not run.event_log.ended]
        live = [run for run in known if run.turn.call == call]
        run = self._ask(self._turn(text, call), background=True, retried=retried)
        assert run in live or text not in [run.turn.said for run in live if len(run.turn.messages) == 1]

    @rule(tenant=TENANTS, text=WORDS, retried=st.booleans(), start=st.booleans())
    def ask_without_a_call(self, tenant: str, text: str, retried: bool, start: bool) -> None:
        turn = self._turn(text, tenant=tenant)
        run = self._ask(turn, start, retried=retried, fingerprint=text.encode())
        assert retried or run.turn is turn, "only a retry signal joins the anonymous"

    @precondition(lambda self: self.ears)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        ear = data.draw(st.sampled_from(self.ears))
        self._do(lambda: self._leave(ear))

    @precondition(lambda self: self.ears)
    @rule(data=st.data(), paused=st.booleans())
    def read(self, data: st.DataObject, paused: bool) -> None:
        """A client stops reading, or reads on; then its run starts at the latest."""
        ear = data.draw(st.sampled_from(self.ears))

        def step() -> None:
            ear.paused = paused
            if not paused:
                ear.run.start()
                ear.wake()

        self._do(step)

    @rule(call=CALLS)
    def end(self, call: str) -> None:
        runs = {run for run in self.runs.values() if run.turn.call == call}
        self.forgotten |= runs
        self.excused |= runs
        self.ended[call] = self.loop.time()
        self._do(lambda: self.calls.end(call))
        run = self.newest.pop(call, None)
        assert run is None or run.event_log.ended

    @rule()
    def hang_up(self) -> None:
        live = {run for run in self.board.runs if not run.event_log.ended}
        self.excused |= live
        superseded = {old for run in live for old in run.earlier_closing}
        self._do(self.board.stop_all)
        assert all(isinstance(run.event_log.failure, ShuttingDown) for run in live - superseded)

    # The agent, and time

    @precondition(lambda self: self.parts)
    @rule(data=st.data(), failure=st.none() | FAILURES, words=st.integers(0, 3), ends=st.booleans())
    def act(self, data: st.DataObject, failure: Exception | None, words: int, ends: bool) -> None:
        """The agent speaks, and may then finish or fail."""
        part = data.draw(st.sampled_from(self.parts))
        cues = [f"{part.turn.id}:{len(part.said) + n} " for n in range(words)]
        last = [failure] if ends else []

        def step() -> None:
            for cue in [*cues, *last]:
                part.cues.put_nowait(cue)

        self._do(step)

    @rule(seconds=PAUSES)
    def wait(self, seconds: float) -> None:
        self._do(lambda: None, seconds)

    # What always holds

    @invariant()
    def nothing_is_lost_or_foreign(self) -> None:
        for part in self.parts:
            run = self.runs[part.turn.id]
            assert run.event_log.events == part.said[: len(run.event_log.events)]
            assert run.cancelled_at is not None or run.event_log.events == part.said
        for ear in self.ears:
            told = "".join(str(event) for event in ear.run.event_log.events)
            assert told.startswith(ear.text)
            assert ear.paused or ear.text == told

    @invariant()
    def a_call_has_one_live_run(self) -> None:
        live = [run for run in self.board.runs - self.asides if run.begun and not run.event_log.ended]
        calls = [run.turn.call for run in live if run.turn.call is not None]
        assert len(calls) == len(set(calls))
        assert self.overlaps == []

    @invariant()
    def every_run_has_an_owner(self) -> None:
        now, grace = self.loop.time(), self.board.disconnect_grace
        for run in self.board.runs:
            assert run.subscribers or run.event_log.ended or round(now - self.alone[run], 9) <= grace
        owned = {run.turn.id for run in self.board.runs}
        assert {part.turn.id for part in self.parts if not part.closed} <= owned

    @invariant()
    def nobody_is_stopped_without_a_reason(self) -> None:
        for run in self.runs.values():
            if run.cancelled_at is not None and run not in self.excused:
                assert run not in [ear.run for ear in self.ears]
                assert round(run.cancelled_at - self.alone[run], 9) >= self.board.disconnect_grace

    @invariant()
    def what_ended_leaves_nothing_behind(self) -> None:
        for run in self.runs.values():
            if run.closed:
                assert (run.task, run.earlier_closing, run in self.board.runs) == (None, (), False)
        assert set(self.board._tagged.values()) <= self.board.runs
        assert len(self.calls) <= MOST

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        bodies = [ear for ear in self.ears if not ear.paused]
        for part in self.parts:
            part.released.set()
        self._do(lambda: asyncio.ensure_future(self.board.aclose()), 100.0)
        for ear in bodies:
            lint(ear.body)
        assert all(part.closed for part in self.parts)
        assert (self.board.runs, self.board._tagged, asyncio.all_tasks(self.loop)) == (set(), {}, set())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


TestSwitchboard = Machine.TestCase
TestSwitchboard.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
