"""What `loadtests.load` measures, phase by phase, on one server before one upstream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from loadtests.generate.open_loop import drive, found, opened, step
from loadtests.generate.progress import Progress
from loadtests.generate.response_plan import FAULTS, Plan
from loadtests.generate.target import Door
from loadtests.generate.turn_sender import Watch
from loadtests.generate.workload import Bound, Offer
from loadtests.report.overhead import overheads, paired
from loadtests.report.results import Check, Results, Run
from loadtests.servers.leak_checks import cancelled, settle
from loadtests.servers.server_stats import look, sample

LONG = "first=0.3,every=0.02,tokens=3000"
"""A minute of words, so that an agent that nobody stopped is still talking when we look."""
SHORT = "first=0.05,every=0.01,tokens=20"
FAULTY = 20.0
"""Turns per second of agents that break."""
STOP = 2.0
"""Seconds after which a run of the agent's must be over when its caller has left."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`length` seconds of new turns per run, `rounds` of pairs, `steps` to the knee, a `wait` for rest; the
    model of a usual answer."""

    length: float = 3.0
    rounds: int = 4
    steps: int = 6
    wait: float = 10.0
    voice: str = "voice"

    @classmethod
    def within(cls, seconds: float) -> Pace:
        """A pace that takes about so many seconds."""
        length = max(0.25, 3.0 * seconds / 120)
        return cls(length) if seconds >= 60 else cls(length, 2, 2, 5.0, SHORT)

    @property
    def phases(self) -> dict[str, float]:
        """The phases and the seconds each should take."""
        voice, pairs = self.length + Plan.named(self.voice).seconds + 0.1, 2 * self.rounds
        steps = {"knee": self.steps * voice, "storm": self.length + 3, "faults": self.length + 4}
        return {
            "warm-up": voice,
            "S1": pairs * self.length + 1,
            "S2": pairs * voice + 1,
            **steps,
            "rest": 3.0,
        }


class Session:
    """`direct` is the upstream, `door` the server before it; `pid` its process, if it can be looked at."""

    def __init__(
        self, direct: Door, door: Door, pid: int | None, pace: Pace, seed: int, results: Results
    ) -> None:
        self.direct = direct
        self.door = door
        self.pid = pid
        self.pace = pace
        self.seed = seed
        self.results = results
        self.progress = Progress(pace.phases)

    async def run(self) -> None:
        """All phases. What was measured is in the results whenever this ends."""
        with self.progress as progress:
            progress.phase("warm-up")
            warm = self._offer("warm-up", self.pace.voice, 50)
            await drive(self.door, warm, opened(self.door, warm), self.direct)
            base = await look(self.door, self.direct, self.pid)
            phases: dict[str, Callable[[], Awaitable[None]]] = {
                "S1": lambda: self.overhead(replace(self._offer("S1", "quick", 100), steady=True)),
                "S2": lambda: self.overhead(self._offer("S2", self.pace.voice, 90)),
                "knee": self.knee,
                "storm": self.storm,
                "faults": self.faults,
            }
            for name, phase in phases.items():
                progress.phase(name)
                await phase()
            progress.phase("rest")
            checks = await settle(self.door, self.direct, self.pid, base, self.pace.wait)
            self.results.runs[-1].checks += checks

    def _offer(self, scenario: str, model: str, rate: float) -> Offer:
        return Offer(scenario, (model,), rate, self.pace.length, self.seed)

    def _opened(self, door: Door, offer: Offer) -> Run:
        self.results.runs.append(run := opened(door, offer))
        return run

    def watch(self, run: Run) -> Watch:
        """Notes what the server uses, unless the run is a direct one, and moves the bar."""
        first: float | None = None

        def watch(at: float, streams: int) -> None:
            nonlocal first
            self.progress.tick()
            if self.pid and run.target == self.door.name:
                now = sample(self.pid, at, streams)
                first = now.cpu if first is None else first
                now.cpu -= first
                run.samples.append(now)

        return watch

    async def overhead(self, offer: Offer) -> None:
        """The same turns directly and through the server; who is first changes from round to round.

        Each round has runs of its own, and one in which a run is void says nothing about the overhead.
        """
        rounds = []
        for number in range(self.pace.rounds):
            asked = replace(offer, seed=offer.seed + number)
            runs, turns = {}, {}
            for door in (self.direct, self.door)[:: -1 if number % 2 else 1]:
                run = runs[door] = self._opened(door, asked)
                turns[door] = await drive(door, asked, run, self.direct, self.watch(run))
            if not any(run.void for run in runs.values()):
                rounds.append(paired(turns[self.direct], turns[self.door]))
        self.results.overheads += overheads(rounds, self.door.name, offer.scenario, self.seed)

    async def knee(self) -> None:
        bound, offer = Bound(), self._offer("knee", self.pace.voice, 100)
        held = await step(self.door, offer, bound, self.pace.steps, self.results, self.direct, self.watch)
        self.results.notes.append(found(held, offer, bound, self.results.runs))

    async def storm(self) -> None:
        """Every caller interrupts or hangs up, in the middle of a long answer."""
        offer = replace(self._offer("storm", LONG, 50), barge_in=0.5, hang_up=1.0)
        run = self._opened(self.door, offer)
        await drive(self.door, offer, run, self.direct, self.watch(run))
        run.checks.append(await cancelled(self.direct, STOP))

    async def faults(self) -> None:
        """Agents that break in every way they know: each caller must hear some words, and a proper end."""
        models = tuple(f"{SHORT},fault={fault}" if fault else SHORT for fault in FAULTS)
        seconds = max(self.pace.length, len(models) / FAULTY)  # each fault once, at least
        offer = replace(self._offer("faults", SHORT, FAULTY), models=models, seconds=seconds, steady=True)
        run = self._opened(self.door, offer)
        await drive(self.door, offer, run, self.direct, self.watch(run))
        well = run.turns - sum(run.failed.values())
        name = "turns of breaking agents that ended in words"
        run.checks.append(Check(name, well == run.turns, str(well), f"all {run.turns}"))
