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

from loadtests.callers.options import command
from loadtests.callers.recorder import Book, Report, known
from loadtests.callers.turn import Turn
from loadtests.report.results import Results, environment

LEAVING = 5.0
"""Seconds that workers have to leave, once their callers have hung up."""


class Desk:
    """One process of a load test: alone, the master, or a worker that reports to it."""

    def __init__(self, env: Environment) -> None:
        assert env.runner is not None
        self.env = env
        self.runner = env.runner
        self.book = Book()
        self.offered = 0
        self.stopping = False
        self.limit: gevent.Greenlet | None = None
        self.began = time.perf_counter()
        self.cpu = time.process_time()
        env.events.test_start.add_listener(self.start)
        env.events.test_stopping.add_listener(self.stop)
        env.events.test_stop.add_listener(self.stopped)
        env.events.report_to_master.add_listener(self.report)
        env.events.worker_report.add_listener(self.reported)
        env.events.quitting.add_listener(self.quitting)
        env.events.quit.add_listener(self.quit)

    @property
    def options(self) -> Namespace:
        assert isinstance(self.env.parsed_options, Namespace)
        return self.env.parsed_options

    # What callers tell

    def tell(self, platform: str, scenario: str, turn: Turn, call: str) -> None:
        """A turn that went well: every metric is an event."""
        for name, seconds in turn.metrics():
            self._fire(platform, name, seconds, len(turn.text), None, call)
        row = turn.row() | {"at": turn.asked - self.began}
        self.book.page(f"{platform} {scenario}").add(known(row))

    def fail(self, platform: str, scenario: str, why: Exception, seconds: float, call: str) -> None:
        """A turn that did not."""
        self._fire(platform, "turn", seconds, 0, why, call)
        self.book.page(f"{platform} {scenario}").failed[str(why)] += 1

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

    def start(self, **_: Any) -> None:
        """A run begins; it ends after `--most` seconds, whoever forgets it."""
        self.book, self.stopping = Book(), False
        self.began, self.cpu = time.perf_counter(), time.process_time()
        if not isinstance(self.runner, WorkerRunner):
            end = self.runner.quit if self.options.headless else self.runner.stop
            self.limit = gevent.spawn_later(self.options.most, end)

    def stop(self, **_: Any) -> None:
        """No new turns from now on. Without a web page a master waits for its workers only here."""
        if self.stopping:
            return
        self.stopping = True
        self.offered = self.runner.user_count
        if self.limit is not None and self.limit is not gevent.getcurrent():
            self.limit.kill(block=False)
        if isinstance(self.runner, MasterRunner) and self.options.headless:
            self._dismiss(self.runner)

    def _dismiss(self, master: MasterRunner) -> None:
        """Send the workers home, and wait until they have reported their last turns and left."""
        master.update_state(STATE_STOPPING)  # or who leaves first would have its callers moved to the others
        master.send_message("quit")
        with gevent.Timeout(self.env.stop_timeout + LEAVING, False):
            while len(master.clients):
                gevent.sleep(0.1)

    def stopped(self, **_: Any) -> None:
        """The last turn is over. A worker reports now: the master might not wait for its next report."""
        runner = self.runner
        if isinstance(runner, WorkerRunner):
            data: dict[str, Any] = {}
            self.env.events.report_to_master.fire(client_id=runner.client_id, data=data)
            runner.send_message("stats", data)
            return
        if not isinstance(runner, MasterRunner):
            self.book.used["alone"] = self._used()
        self.write()

    def report(self, data: dict[str, Any], **_: Any) -> None:
        """A worker's report is due."""
        if self.book.pages:
            data["turns"] = self._report()

    def reported(self, data: dict[str, Any], **_: Any) -> None:
        if "turns" in data:
            self.book.take(data.pop("turns"))

    def quitting(self, **_: Any) -> None:
        """A run in which no turn told anything proves nothing, though nothing failed in it."""
        if self.options.headless and not isinstance(self.runner, WorkerRunner) and not self.told:
            print("void: no turn brought anything", file=sys.stderr)
            self.env.process_exit_code = 1

    @property
    def told(self) -> bool:
        """Whether any figure, or any failure, has come to locust's statistics."""
        return bool(self.env.stats.total.num_requests)

    def quit(self, **_: Any) -> None:
        """The process ends; what workers sent last is here now."""
        if isinstance(self.runner, MasterRunner):
            self.write()

    def _report(self) -> Report:
        assert isinstance(self.runner, WorkerRunner)
        return self.book.report(self.runner.client_id, *self._used())

    def _used(self) -> tuple[float, float]:
        """Seconds of CPU since the run began, and of time."""
        return time.process_time() - self.cpu, time.perf_counter() - self.began

    def write(self) -> None:
        """Write the results, if they are wanted."""
        options = self.options
        if options.results:
            about = environment(0, command(sys.argv)) | {"generators": self.book.used}
            runs = self.book.runs(options.target, self.offered)
            Results(about, runs, notes=self.book.notes()).write(Path(options.results))
