"""Between locust and the callers: what is told to its statistics, when a run ends, where results go."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import STATE_STOPPING, MasterRunner, WorkerRunner

from loadtests.callers.options import redact_command
from loadtests.callers.recorder import TurnRecorder, Report, known_times
from loadtests.callers.turn import MeasuredTurn
from loadtests.report.results import Results, describe_environment

WORKER_EXIT_TIMEOUT = 5.0
"""Seconds that workers have to leave, once their callers have hung up."""


class LocustHooks:
    """One process of a load test: alone, the master, or a worker that reports to it."""

    def __init__(self, env: Environment) -> None:
        assert env.runner is not None
        self.env = env
        self.runner = env.runner
        self.recorder = TurnRecorder()
        self.user_count = 0
        self.is_stopping = False
        self.time_limit: gevent.Greenlet | None = None
        self.started_at = time.perf_counter()
        self.cpu_at_start = time.process_time()
        env.events.test_start.add_listener(self.on_test_start)
        env.events.test_stopping.add_listener(self.on_test_stopping)
        env.events.test_stop.add_listener(self.on_test_stop)
        env.events.report_to_master.add_listener(self.on_report_to_master)
        env.events.worker_report.add_listener(self.on_worker_report)
        env.events.quitting.add_listener(self.on_quitting)
        env.events.quit.add_listener(self.on_quit)

    @property
    def options(self) -> Namespace:
        assert isinstance(self.env.parsed_options, Namespace)
        return self.env.parsed_options

    # What callers tell

    def record_turn(self, platform: str, scenario: str, turn: MeasuredTurn, call: str) -> None:
        """A turn that went well: every metric is an event."""
        for name, seconds in turn.metrics():
            self._fire(platform, name, seconds, len(turn.text), None, call)
        row = turn.times() | {"at": turn.asked_at - self.started_at}
        self.recorder.sample(f"{platform} {scenario}").add(known_times(row))

    def record_failure(self, platform: str, scenario: str, why: Exception, seconds: float, call: str) -> None:
        """A turn that did not."""
        self._fire(platform, "turn", seconds, 0, why, call)
        self.recorder.sample(f"{platform} {scenario}").failed[str(why)] += 1

    def _fire(
        self, platform: str, name: str, seconds: float, length: int, why: Exception | None, call: str
    ) -> None:
        self.env.events.request.fire(
            request_type=platform,
            name=name,
            response_time=seconds * 1e3,
            response_length=length if name == "turn" else 0,
            exception=why,
            context={"call": call},
        )

    # What locust tells

    def on_test_start(self, **_: Any) -> None:
        """A run begins; it ends after `--most` seconds, whoever forgets it."""
        self.recorder, self.is_stopping = TurnRecorder(), False
        self.started_at, self.cpu_at_start = time.perf_counter(), time.process_time()
        if not isinstance(self.runner, WorkerRunner):
            end = self.runner.quit if self.options.headless else self.runner.stop
            self.time_limit = gevent.spawn_later(self.options.most, end)

    def on_test_stopping(self, **_: Any) -> None:
        """No new turns from now on. Without a web page a master waits for its workers only here."""
        if self.is_stopping:
            return
        self.is_stopping = True
        self.user_count = self.runner.user_count
        if self.time_limit is not None and self.time_limit is not gevent.getcurrent():
            self.time_limit.kill(block=False)
        if isinstance(self.runner, MasterRunner) and self.options.headless:
            self._quit_workers(self.runner)

    def _quit_workers(self, master: MasterRunner) -> None:
        """Send the workers home, and wait until they have reported their last turns and left."""
        master.update_state(STATE_STOPPING)  # or who leaves first would have its callers moved to the others
        master.send_message("quit")
        with gevent.Timeout(self.env.stop_timeout + WORKER_EXIT_TIMEOUT, False):
            while len(master.clients):
                gevent.sleep(0.1)

    def on_test_stop(self, **_: Any) -> None:
        """The last turn is over. A worker reports now: the master might not wait for its next report."""
        runner = self.runner
        if isinstance(runner, WorkerRunner):
            data: dict[str, Any] = {}
            self.env.events.report_to_master.fire(client_id=runner.client_id, data=data)
            runner.send_message("stats", data)
            return
        if not isinstance(runner, MasterRunner):
            self.recorder.usage["alone"] = self._usage()
        self.write_results()

    def on_report_to_master(self, data: dict[str, Any], **_: Any) -> None:
        """A worker's report is due."""
        if self.recorder.samples:
            data["turns"] = self._take_report()

    def on_worker_report(self, data: dict[str, Any], **_: Any) -> None:
        if "turns" in data:
            self.recorder.add_report(data.pop("turns"))

    def on_quitting(self, **_: Any) -> None:
        """A run in which no turn told anything proves nothing, though nothing failed in it."""
        if self.options.headless and not isinstance(self.runner, WorkerRunner) and not self.has_figures:
            print("void: no turn brought anything", file=sys.stderr)
            self.env.process_exit_code = 1

    @property
    def has_figures(self) -> bool:
        """Whether any figure, or any failure, has come to locust's statistics."""
        return bool(self.env.stats.total.num_requests)

    def on_quit(self, **_: Any) -> None:
        """The process ends; what workers sent last is here now."""
        if isinstance(self.runner, MasterRunner):
            self.write_results()

    def _take_report(self) -> Report:
        assert isinstance(self.runner, WorkerRunner)
        return self.recorder.take_report(self.runner.client_id, *self._usage())

    def _usage(self) -> tuple[float, float]:
        """Seconds of CPU since the run began, and of time."""
        return time.process_time() - self.cpu_at_start, time.perf_counter() - self.started_at

    def write_results(self) -> None:
        """Write the results, if they are wanted."""
        options = self.options
        if options.results:
            about = describe_environment(0, redact_command(sys.argv)) | {"generators": self.recorder.usage}
            runs = self.recorder.runs(options.target, self.user_count)
            Results(about, runs, notes=self.recorder.notes()).write(Path(options.results))
