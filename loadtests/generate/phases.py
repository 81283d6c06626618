"""The phases of `loadtests.load`: overhead, knee, storm and faults on one server in front of one upstream.

docs/load-testing.md has a table of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from loadtests.generate.open_loop import describe_knee, new_run, run_workload, search_knee
from loadtests.generate.progress import Progress
from loadtests.generate.response_plan import FAULTS, ResponsePlan
from loadtests.generate.target import Target
from loadtests.generate.turn_sender import Observer
from loadtests.generate.workload import Thresholds, Workload
from loadtests.report.overhead import estimate_overheads, pair_turns
from loadtests.report.results import Check, Results, Run
from loadtests.servers.leak_checks import Processes, check_cancelled, wait_for_rest
from loadtests.servers.server_stats import read_state, take_sample

LONG_ANSWER = "first=0.3,every=0.02,tokens=3000"
"""A minute of words, so that an agent that nothing stopped is still talking when the check looks."""
SHORT_ANSWER = "first=0.05,every=0.01,tokens=20"
FAULT_RATE = 20.0
"""Turns per second to agents that break."""
CANCEL_TIMEOUT = 2.0
"""Seconds after a caller has left within which its agent run must end."""


@dataclass(frozen=True, slots=True)
class PhaseLengths:
    """The lengths of the phases.

    `run_seconds` is how long new turns start in one run, `rounds` the number of paired rounds, `knee_steps`
    the steps of the search. `settle_seconds` is the longest wait for rest. `answer_model` is the model of a
    usual answer.
    """

    run_seconds: float = 3.0
    rounds: int = 4
    knee_steps: int = 6
    settle_seconds: float = 10.0
    answer_model: str = "voice"

    @classmethod
    def for_duration(cls, seconds: float) -> PhaseLengths:
        """Return the lengths of a load test that takes about `seconds`."""
        length = max(0.25, 3.0 * seconds / 120)
        return cls(length) if seconds >= 60 else cls(length, 2, 2, 5.0, SHORT_ANSWER)

    @property
    def expected_seconds(self) -> dict[str, float]:
        """The phases, each with the seconds that it should take."""
        pairs = 2 * self.rounds
        answers = self.run_seconds + ResponsePlan.from_model_name(self.answer_model).seconds + 0.1
        steps = {
            "knee": self.knee_steps * answers,
            "storm": self.run_seconds + 3,
            "faults": self.run_seconds + 4,
        }
        return {
            "warm-up": answers,
            "S1": pairs * self.run_seconds + 1,
            "S2": pairs * answers + 1,
            **steps,
            "rest": 3.0,
        }


class LoadTest:
    """One load test.

    `direct` is the upstream, `target` the server in front of it, `processes` are that of the server and that
    of an idle uvicorn. Without that of the server, memory, CPU and files are not measured.
    """

    def __init__(
        self,
        direct: Target,
        target: Target,
        processes: Processes,
        lengths: PhaseLengths,
        seed: int,
        results: Results,
    ) -> None:
        self.direct = direct
        self.target = target
        self.processes = processes
        self.lengths = lengths
        self.seed = seed
        self.results = results
        self.progress = Progress(lengths.expected_seconds)

    async def run(self) -> None:
        """Run all phases. The results have every finished measurement, also when this raises.

        Raises OSError when the upstream or the server is gone.
        """
        with self.progress as progress:
            progress.start_phase("warm-up")
            warm_up = self._workload("warm-up", self.lengths.answer_model, 50)
            await run_workload(self.target, warm_up, new_run(self.target, warm_up), self.direct)
            base = await read_state(self.target, self.direct, self.processes.server)
            phases: dict[str, Callable[[], Awaitable[None]]] = {
                "S1": lambda: self.measure_overhead(replace(self._workload("S1", "quick", 100), steady=True)),
                "S2": lambda: self.measure_overhead(self._workload("S2", self.lengths.answer_model, 90)),
                "knee": self.find_knee,
                "storm": self.run_storm,
                "faults": self.run_faults,
            }
            for name, phase in phases.items():
                progress.start_phase(name)
                await phase()
            progress.start_phase("rest")
            checks = await wait_for_rest(
                self.target, self.direct, self.processes, base, self.lengths.settle_seconds
            )
            self.results.runs[-1].checks += checks

    def _workload(self, scenario: str, model: str, rate: float) -> Workload:
        return Workload(scenario, (model,), rate, self.lengths.run_seconds, self.seed)

    def _new_run(self, target: Target, workload: Workload) -> Run:
        self.results.runs.append(run := new_run(target, workload))
        return run

    def observe(self, run: Run) -> Observer:
        """Return an observer that samples the target and moves the progress bar.

        Direct runs are not sampled.
        """
        first_cpu: float | None = None

        def observer(at: float, streams: int) -> None:
            nonlocal first_cpu
            self.progress.refresh()
            pid = self.processes.server
            if pid and run.target == self.target.name:
                now = take_sample(pid, at, streams)
                first_cpu = now.cpu if first_cpu is None else first_cpu
                now.cpu -= first_cpu
                run.samples.append(now)

        return observer

    async def measure_overhead(self, workload: Workload) -> None:
        """Measure the same turns directly and through the server; the order changes from round to round.

        Each round has separate runs. A round in which a run is void is left out of the overhead.
        """
        rounds = []
        for number in range(self.lengths.rounds):
            round_workload = replace(workload, seed=workload.seed + number)
            runs, turns = {}, {}
            for target in (self.direct, self.target)[:: -1 if number % 2 else 1]:
                run = runs[target] = self._new_run(target, round_workload)
                turns[target] = await run_workload(
                    target, round_workload, run, self.direct, self.observe(run)
                )
            if not any(run.void for run in runs.values()):
                rounds.append(pair_turns(turns[self.direct], turns[self.target]))
        self.results.overheads += estimate_overheads(rounds, self.target.name, workload.scenario, self.seed)

    async def find_knee(self) -> None:
        thresholds, workload = Thresholds(), self._workload("knee", self.lengths.answer_model, 100)
        held = await search_knee(
            self.target,
            workload,
            thresholds,
            self.lengths.knee_steps,
            self.results,
            self.direct,
            self.observe,
        )
        self.results.notes.append(describe_knee(held, workload, thresholds, self.results.runs))

    async def run_storm(self) -> None:
        """Let every caller interrupt or hang up in a long answer, and check that the agents stop."""
        workload = replace(self._workload("storm", LONG_ANSWER, 50), barge_in=0.5, hang_up=1.0)
        run = self._new_run(self.target, workload)
        await run_workload(self.target, workload, run, self.direct, self.observe(run))
        run.checks.append(await check_cancelled(self.direct, CANCEL_TIMEOUT))

    async def run_faults(self) -> None:
        """Let agents break in every known way, and check that each caller hears words and a proper end."""
        models = tuple(f"{SHORT_ANSWER},fault={fault}" if fault else SHORT_ANSWER for fault in FAULTS)
        # Long enough for each fault to occur at least once.
        seconds = max(self.lengths.run_seconds, len(models) / FAULT_RATE)
        workload = replace(
            self._workload("faults", SHORT_ANSWER, FAULT_RATE), models=models, seconds=seconds, steady=True
        )
        run = self._new_run(self.target, workload)
        await run_workload(self.target, workload, run, self.direct, self.observe(run))
        succeeded = run.turns - sum(run.failed.values())
        name = "turns of breaking agents that ended in words"
        run.checks.append(Check(name, succeeded == run.turns, str(succeeded), f"all {run.turns}"))
