"""The link between locust and the callers: locust's statistics, the end of a run, and the results file."""

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
from loadtests.callers.recorder import Report, TurnRecorder, known_times
from loadtests.callers.turn import MeasuredTurn
from loadtests.report.results import Results, describe_environment

WORKER_EXIT_TIMEOUT = 5.0
"""Seconds that workers have to exit after their callers have hung up."""


class LocustHooks:
    """The event listeners of one locust process.

    It runs alone, is a master, or is a worker that reports to a master.
    """

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

    # Called by the callers

    def record_turn(self, platform: str, scenario: str, turn: MeasuredTurn, call: str) -> None:
        """Record a successful turn: each of its metrics is an event of locust."""
        for name, seconds in turn.metrics():
            self._fire(platform, name, seconds, len(turn.text), None, call)
        times = turn.times() | {"at": turn.asked_at - self.started_at}
        self.recorder.sample(f"{platform} {scenario}").add(known_times(times))

    def record_failure(
        self, platform: str, scenario: str, error: Exception, seconds: float, call: str
    ) -> None:
        """Record a failed turn, `seconds` after its question."""
        self._fire(platform, "turn", seconds, 0, error, call)
        self.recorder.sample(f"{platform} {scenario}").failed[str(error)] += 1

    def _fire(
        self, platform: str, name: str, seconds: float, length: int, error: Exception | None, call: str
    ) -> None:
        self.env.events.request.fire(
            request_type=platform,
            name=name,
            response_time=seconds * 1e3,
            response_length=length if name == "turn" else 0,
            exception=error,
            context={"call": call},
        )

    # Called by locust

    def on_test_start(self, **_: Any) -> None:
        """Start a run. It ends after `--most` seconds, also when it was started from a web page."""
        self.recorder, self.is_stopping = TurnRecorder(), False
        self.started_at, self.cpu_at_start = time.perf_counter(), time.process_time()
        if not isinstance(self.runner, WorkerRunner):
            end = self.runner.quit if self.options.headless else self.runner.stop
            self.time_limit = gevent.spawn_later(self.options.most, end)

    def on_test_stopping(self, **_: Any) -> None:
        """Start no new turns from now on.

        Without a web page, this is the only event in which a master can wait for its workers.
        """
        if self.is_stopping:
            return
        self.is_stopping = True
        self.user_count = self.runner.user_count
        if self.time_limit is not None and self.time_limit is not gevent.getcurrent():
            self.time_limit.kill(block=False)
        if isinstance(self.runner, MasterRunner) and self.options.headless:
            self._quit_workers(self.runner)

    def _quit_workers(self, master: MasterRunner) -> None:
        """Let the workers quit, and wait until they have reported their last turns and have exited."""
        master.update_state(STATE_STOPPING)  # else locust moves the callers of the first worker that exits
        master.send_message("quit")
        with gevent.Timeout(self.env.stop_timeout + WORKER_EXIT_TIMEOUT, False):
            while len(master.clients):
                gevent.sleep(0.1)

    def on_test_stop(self, **_: Any) -> None:
        """The last turn has ended. A worker reports now: the master may not wait for its next report."""
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
        """Add the turns of this worker to its report."""
        if self.recorder.samples:
            data["turns"] = self._take_report()

    def on_worker_report(self, data: dict[str, Any], **_: Any) -> None:
        if "turns" in data:
            self.recorder.add_report(data.pop("turns"))

    def on_quitting(self, **_: Any) -> None:
        """Set the exit code of a run without any figure: it proves nothing, although nothing failed."""
        if self.options.headless and not isinstance(self.runner, WorkerRunner) and not self.has_figures:
            print("void: no turn brought any figure", file=sys.stderr)
            self.env.process_exit_code = 1

    @property
    def has_figures(self) -> bool:
        """Whether locust's statistics have any figure or failure."""
        return bool(self.env.stats.total.num_requests)

    def on_quit(self, **_: Any) -> None:
        """Write the results on a master: all reports have arrived by now."""
        if isinstance(self.runner, MasterRunner):
            self.write_results()

    def _take_report(self) -> Report:
        assert isinstance(self.runner, WorkerRunner)
        return self.recorder.take_report(self.runner.client_id, *self._usage())

    def _usage(self) -> tuple[float, float]:
        """Return CPU seconds and seconds since the run began."""
        return time.process_time() - self.cpu_at_start, time.perf_counter() - self.started_at

    def write_results(self) -> None:
        """Write the results if `--results` is given. Raises OSError."""
        options = self.options
        if options.results:
            description = describe_environment(0, redact_command(sys.argv)) | {
                "generators": self.recorder.usage
            }
            runs = self.recorder.runs(options.target, self.user_count)
            Results(description, runs, notes=self.recorder.notes()).write(Path(options.results))
