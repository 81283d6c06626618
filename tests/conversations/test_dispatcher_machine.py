"""A state machine test: random callers and agents, and the invariants of the dispatcher after each step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.chat_lint import lint
from tests.support.clock import VirtualLoop
from tests.support.controlled_agent import ControlledAgent, ControlledReply, StreamReader
from voicegw.conversations.agent_registry import AgentRegistry
from voicegw.conversations.call_store import CallStore
from voicegw.conversations.dispatcher import Dispatcher
from voicegw.conversations.idempotency import IdempotencyKey
from voicegw.conversations.turn_relation import Client
from voicegw.errors import AgentBusy, AgentProtocolError, ShuttingDown, UnprocessableContent
from voicegw.events import Message, Turn
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.run import SUPERSEDE_WAIT, Run
from voicegw.turns.served_agent import ServedAgent

T = TypeVar("T")
CALLS = st.sampled_from(["x/a", "x/b", "y/a"])
TENANTS = st.sampled_from(["x", "y"])
WORDS = st.sampled_from(["Hello?", "Hi!"])
CLOSE_SECONDS = st.sampled_from([0.0, 0.05, 0.4, 5.0, inf])
PAUSES = st.sampled_from([0.01, 0.1, SUPERSEDE_WAIT, 0.5, 1.0, 9.0, 11.0, 40.0])
FAILURES = st.sampled_from([AgentBusy("busy"), AgentProtocolError("what?"), RuntimeError("oh")])
CLIENTS = st.sampled_from([Client.VOICE, Client.CHAT, Client.PROGRAM])
IDLE, MAX_CALLS = 30.0, 10


class DispatcherMachine(RuleBasedStateMachine):
    """Callers of three calls of two tenants, and anonymous callers, at one dispatcher."""

    @initialize(grace=st.sampled_from([0.0, 2.0]))
    def set_up(self, grace: float) -> None:
        self.loop = VirtualLoop()
        self.agent = ControlledAgent(self._on_reply)
        self.served_agent = ServedAgent("desk", self.agent, DIALECTS["voice"])
        self.calls = CallStore(idle_timeout=IDLE, max_calls=MAX_CALLS)
        self.dispatcher = Dispatcher(
            AgentRegistry({"desk": self.served_agent}),
            disconnect_grace=grace,
            calls=self.calls,
            now=self.loop.time,
        )
        self.count = 0
        self.readers: list[StreamReader] = []
        self.replies: list[ControlledReply] = []
        self.runs: dict[str, Run] = {}
        self.newest: dict[str, Run] = {}
        self.keyed: dict[tuple[str, bytes], Run] = {}
        self.overlaps: list[tuple[Run, Run]] = []
        self.background_runs: set[Run] = set()
        self.forgotten: set[Run] = set()
        self.last_unsubscribed: dict[Run, float] = {}
        self.may_be_cancelled: set[Run] = set()
        self.call_ended_at: dict[str, float] = {}
        self.call_used_at: dict[str, float] = {}

    # Time

    def _run(self, step: Callable[[], T], seconds: float = 0.0) -> T:
        """Run one step inside the loop, and everything that follows from it within `seconds`."""

        async def act() -> T:
            done = step()
            await asyncio.sleep(seconds)
            for _ in range(3):
                await self._settle()
                for reader in [reader for reader in self.readers if reader.stream.is_done]:
                    self._disconnect(reader)
            return done

        return self.loop.run_until_complete(act())

    async def _settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    def _disconnect(self, reader: StreamReader) -> None:
        self.readers.remove(reader)
        reader.run.was_delivered = reader.run.was_delivered or reader.stream.is_done
        self.last_unsubscribed[reader.run] = self.loop.time()
        self.dispatcher.unsubscribe(reader.run, reader)

    def _on_reply(self, reply: ControlledReply) -> None:
        """The agent is asked: an older run of the same call must be closing, and was waited for."""
        run = self.runs[reply.turn.id]
        for other in [reply for reply in self.replies if not reply.is_closed]:
            old = self.runs[other.turn.id]
            if (
                run.turn.call is not None
                and other.turn.call == run.turn.call
                and not {run, old} & self.background_runs
            ):
                waited = -1.0 if old.cancelled_at is None else round(self.loop.time() - old.cancelled_at, 9)
                ended = (
                    old.cancelled_at is not None
                    and self.call_ended_at.get(run.turn.call, -1.0) >= old.cancelled_at
                )
                self.overlaps += [] if waited >= SUPERSEDE_WAIT or ended else [(old, run)]
        self.replies.append(reply)

    # Callers

    def _turn(self, text: str, call: str | None = None, tenant: str = "", after: Any = ()) -> Turn:
        self.count += 1
        tenant = tenant or str(call).partition("/")[0]
        return Turn(f"t{self.count}", (*after, Message("user", text)), call=call, tenant=tenant)

    def _ask(self, turn: Turn, start: bool = True, **options: Any) -> Run:
        def step() -> Run:
            run = self.dispatcher.dispatch(self.served_agent, turn, **options)
            self.runs.setdefault(run.turn.id, run)
            if run.turn.id == turn.id and run.turn.background:
                self.background_runs.add(run)
            self.readers.append(StreamReader(run, is_paused=not start))
            if start:
                run.start()
                self.readers[-1].wake()
            return run

        call = str(turn.call)
        if call in self.newest and not self._is_remembered(call):
            self.forgotten.add(self.newest[call])
        self.call_used_at[call] = self.loop.time()
        run = self._run(step)
        assert (run.turn.messages, run.turn.call, run.turn.tenant) == (turn.messages, turn.call, turn.tenant)
        return run

    def _is_remembered(self, call: str) -> bool:
        """Is this call certainly remembered: not idle for long, or busy?"""
        newest = self.newest[call]
        fresh = self.loop.time() < self.call_used_at[call] + IDLE or not newest.is_closed
        return fresh and newest not in self.forgotten

    def _ask_newer(self, turn: Turn, start: bool) -> None:
        assert turn.call is not None
        older = [
            run
            for run in self.runs.values()
            if run.turn.call == turn.call and run not in self.background_runs
        ]
        self.may_be_cancelled.update(older)
        run = self._ask(turn, start)
        assert run.turn is turn, "a newer turn has a run of its own"
        self.newest[turn.call] = run

    @rule(call=CALLS, start=st.booleans(), close_seconds=CLOSE_SECONDS)
    def ask_next(self, call: str, start: bool, close_seconds: float) -> None:
        """Ask the next turn of a call."""
        self.agent.close_seconds = close_seconds
        before = self.newest[call].turn.messages if call in self.newest else ()
        self._ask_newer(self._turn(f"word {self.count}", call, after=before), start)

    @rule(call=CALLS, start=st.booleans())
    def replace_last_message(self, call: str, start: bool) -> None:
        """The caller spoke on: the last message is another one."""
        before = self.newest[call].turn.messages[:-1] if call in self.newest else ()
        self._ask_newer(self._turn(f"word {self.count}", call, after=before), start)

    @precondition(lambda self: self.newest)
    @rule(data=st.data(), is_retry=st.booleans(), client=CLIENTS)
    def ask_again(self, data: st.DataObject, is_retry: bool, client: Client) -> None:
        newest = data.draw(st.sampled_from(list(self.newest.values())))
        live = not newest.event_log.has_ended
        turn = self._turn(newest.turn.said, newest.turn.call, after=newest.turn.messages[:-1])
        run = self._ask(turn, is_retry=is_retry, client=client)
        assert run is newest or not live, "a live run is joined"
        if run not in self.background_runs:
            self.newest[str(turn.call)] = run

    @precondition(lambda self: any(not run.event_log.has_ended for run in self.newest.values()))
    @rule(data=st.data(), client=CLIENTS, model=st.sampled_from(["alpha", "beta"]), start=st.booleans())
    def ask_side_by_side(self, data: st.DataObject, client: Client, model: str, start: bool) -> None:
        """Ask another model, or as a chat client or program with other words, while the newest run runs."""
        live = [run for run in self.newest.values() if not run.event_log.has_ended]
        newest = data.draw(st.sampled_from(live))
        said = newest.turn.said if client is Client.VOICE or data.draw(st.booleans()) else "Other words."
        turn = self._turn(said, newest.turn.call, after=newest.turn.messages[:-1])
        run = self._ask(replace(turn, model=model), start, client=client)
        assert run in self.background_runs
        assert (run.turn.model, run.turn.said) == (model, said)

    @precondition(lambda self: any(len(run.turn.messages) > 1 for run in self.newest.values()))
    @rule(data=st.data(), is_retry=st.booleans())
    def ask_earlier_turn(self, data: st.DataObject, is_retry: bool) -> None:
        """Ask an earlier turn again: a late retry, or long after the newest turn a new request."""
        known = [run for run in self.newest.values() if len(run.turn.messages) > 1]
        before = data.draw(st.sampled_from(known))
        newest = before.turn
        reply_count, *old = len(self.replies), *newest.messages[:-1]
        recent = (
            before.closed_at is None or self.loop.time() - before.closed_at <= self.dispatcher.replay_window
        )
        late = recent and self._is_remembered(str(newest.call))
        background = set(self.background_runs)
        run = self._ask(self._turn(old[-1].text, newest.call, after=old[:-1]), is_retry=is_retry)
        if run in background:
            return  # a program asked the same, and its run is joined or replayed
        if late or run.is_closed:
            self.may_be_cancelled.add(run)
            assert (run.has_started, run.is_closed, len(self.replies)) == (False, True, reply_count)
        else:
            self.newest[str(newest.call)] = run

    @rule(call=CALLS, text=WORDS, is_retry=st.booleans())
    def ask_in_background(self, call: str, text: str, is_retry: bool) -> None:
        known = [run for run in self.background_runs - self.forgotten if not run.event_log.has_ended]
        live = [run for run in known if run.turn.call == call]
        run = self._ask(self._turn(text, call), client=Client.PROGRAM, is_retry=is_retry)
        assert run in live or text not in [run.turn.said for run in live if len(run.turn.messages) == 1]

    @rule(tenant=TENANTS, text=WORDS, is_retry=st.booleans(), start=st.booleans())
    def ask_without_a_call(self, tenant: str, text: str, is_retry: bool, start: bool) -> None:
        turn = self._turn(text, tenant=tenant)
        run = self._ask(turn, start, is_retry=is_retry)
        assert run.turn is turn, "without a call and a key, every request has a run of its own"

    @rule(tenant=TENANTS, text=WORDS, name=st.sampled_from([b"k", b"l"]))
    def ask_with_a_key(self, tenant: str, text: str, name: bytes) -> None:
        """Send an `Idempotency-Key`: for the same request it finds its run, another request is refused."""
        turn, key = self._turn(text, tenant=tenant), IdempotencyKey(name, text.encode(), 10)
        known, age = self.keyed.get((tenant, name)), 0.0
        if known is not None and known.closed_at is not None:
            age = round(self.loop.time() - known.closed_at, 6)
        window = self.dispatcher.replay_window
        if age == window:
            return  # the timer that forgets the key is due now
        if known is not None and age < window and known.turn.said != text:
            with pytest.raises(UnprocessableContent):
                self._ask(turn, idempotency_key=key)
            return
        run = self._ask(turn, idempotency_key=key)
        is_usable = (
            known is not None
            and age < window
            and known.cancelled_at is None
            and not isinstance(known.event_log.failure, AgentBusy)
        )
        assert run is known if is_usable else run.turn is turn
        self.keyed[tenant, name] = run

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def disconnect(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from(self.readers))
        self._run(lambda: self._disconnect(reader))

    @precondition(lambda self: self.readers)
    @rule(data=st.data(), paused=st.booleans())
    def pause_or_resume(self, data: st.DataObject, paused: bool) -> None:
        """A client stops reading, or reads again; then its run starts at the latest."""
        reader = data.draw(st.sampled_from(self.readers))

        def step() -> None:
            reader.is_paused = paused
            if not paused:
                reader.run.start()
                reader.wake()

        self._run(step)

    @rule(call=CALLS)
    def end_call(self, call: str) -> None:
        runs = {run for run in self.runs.values() if run.turn.call == call}
        self.forgotten |= runs
        self.may_be_cancelled |= runs
        self.call_ended_at[call] = self.loop.time()
        self._run(lambda: self.calls.end(call))
        run = self.newest.pop(call, None)
        assert run is None or run.event_log.has_ended

    @rule()
    def stop_all(self) -> None:
        live = {run for run in self.dispatcher.runs if not run.event_log.has_ended}
        self.may_be_cancelled |= live
        superseded = {old for run in live for old in run.earlier_runs}
        self._run(self.dispatcher.stop_all)
        assert all(isinstance(run.event_log.failure, ShuttingDown) for run in live - superseded)

    # The agent, and time

    @precondition(lambda self: self.replies)
    @rule(data=st.data(), failure=st.none() | FAILURES, words=st.integers(0, 3), ends=st.booleans())
    def command_agent(self, data: st.DataObject, failure: Exception | None, words: int, ends: bool) -> None:
        """Let the agent speak, and then perhaps finish or fail."""
        reply = data.draw(st.sampled_from(self.replies))
        commands = [f"{reply.turn.id}:{len(reply.yielded) + n} " for n in range(words)]
        last = [failure] if ends else []

        def step() -> None:
            for command in [*commands, *last]:
                reply.commands.put_nowait(command)

        self._run(step)

    @rule(seconds=PAUSES)
    def wait(self, seconds: float) -> None:
        self._run(lambda: None, seconds)

    # Invariants

    @invariant()
    def every_reader_gets_the_agent_s_events_in_order(self) -> None:
        for reply in self.replies:
            run = self.runs[reply.turn.id]
            assert run.event_log.events == reply.yielded[: len(run.event_log.events)]
            assert run.cancelled_at is not None or run.event_log.events == reply.yielded
        for reader in self.readers:
            event_text = "".join(str(event) for event in reader.run.event_log.events)
            assert event_text.startswith(reader.text)
            assert reader.is_paused or reader.text == event_text

    @invariant()
    def a_call_has_one_live_run(self) -> None:
        live = [
            run
            for run in self.dispatcher.runs - self.background_runs
            if run.has_started and not run.event_log.has_ended
        ]
        calls = [run.turn.call for run in live if run.turn.call is not None]
        assert len(calls) == len(set(calls))
        assert self.overlaps == []

    @invariant()
    def every_run_has_a_subscriber_or_ends_within_the_grace(self) -> None:
        now, grace = self.loop.time(), self.dispatcher.disconnect_grace
        for run in self.dispatcher.runs:
            assert (
                run.subscribers
                or run.event_log.has_ended
                or round(now - self.last_unsubscribed[run], 9) <= grace
            )
        owned = {run.turn.id for run in self.dispatcher.runs}
        assert {reply.turn.id for reply in self.replies if not reply.is_closed} <= owned

    @invariant()
    def no_run_is_cancelled_without_a_reason(self) -> None:
        for run in self.runs.values():
            if run.cancelled_at is not None and run not in self.may_be_cancelled:
                assert run not in [reader.run for reader in self.readers]
                assert (
                    round(run.cancelled_at - self.last_unsubscribed[run], 9)
                    >= self.dispatcher.disconnect_grace
                )

    @invariant()
    def closed_runs_are_forgotten(self) -> None:
        for run in self.runs.values():
            if run.is_closed:
                assert (run.task, run.earlier_runs, run in self.dispatcher.runs) == (None, (), False)
        remembered = [run for _, run in self.dispatcher.idempotent_runs._runs.values()]
        window = self.dispatcher.replay_window
        assert all(
            run.closed_at is None or self.loop.time() - run.closed_at <= window + 1e-6 for run in remembered
        )
        assert len(self.calls) <= MAX_CALLS

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        bodies = [reader for reader in self.readers if not reader.is_paused]
        for reply in self.replies:
            reply.may_close.set()
        self._run(lambda: asyncio.ensure_future(self.dispatcher.aclose()), 100.0)
        for reader in bodies:
            lint(reader.body)
        assert all(reply.is_closed for reply in self.replies)
        assert (self.dispatcher.runs, asyncio.all_tasks(self.loop)) == (set(), set())
        assert len(self.dispatcher.idempotent_runs) == 0
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


TestDispatcher = DispatcherMachine.TestCase
TestDispatcher.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
