"""Experiments in which workers die or stop, signals come, and files of the gateway change or vanish."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

from loadtests.chaos.callers import ask
from loadtests.chaos.gateway import Gateway, wait_until
from loadtests.chaos.lab import Lab, during, experiment

REPLACE_SECONDS = 8.0
"""Seconds in which a dead worker must have a successor."""
STREAMS, CALLS = 50, 20
"""Callers at a shutdown."""


async def wait_for_workers(gateway: Gateway, wanted: int, gone: int) -> bool:
    """Wait until this many workers run, without the one that is gone."""
    return await wait_until(
        lambda: len(gateway.workers()) == wanted and gone not in gateway.workers(), REPLACE_SECONDS
    )


@experiment("worker killed (SIGKILL)", short=True)
async def run_worker_killed(lab: Lab) -> None:
    limits = lab.counts.limits  # the kernel closes the connections of that worker
    limits.broken = limits.lost = 12
    async with (
        lab.gateway(lab.config(workers=2)) as gateway,
        lab.innocents(gateway, streams=8, calls=4),
    ):
        victim = gateway.workers()[0]
        os.kill(victim, signal.SIGKILL)
        lab.expect(await wait_for_workers(gateway, 2, victim), "the worker has no successor")
        await during(1)


@experiment("worker stopped for a second (SIGSTOP)")
async def run_worker_stopped(lab: Lab) -> None:
    lab.counts.limits.silence = 2.0
    async with (
        lab.gateway(lab.config(workers=2)) as gateway,
        lab.innocents(gateway, streams=8, calls=4),
    ):
        victim = gateway.workers()[0]
        os.kill(victim, signal.SIGSTOP)
        await during(1)
        os.kill(victim, signal.SIGCONT)
        await during(1)


@experiment(f"SIGTERM under {STREAMS} streams and {CALLS} calls", short=True)
async def run_shutdown(lab: Lab) -> None:
    limits = lab.counts.limits
    limits.refused = 10 * STREAMS  # new turns, with 503
    limits.lost = 2 * CALLS  # an open call hears once that the gateway stops, and is closed at the end
    async with (
        lab.gateway(lab.config(grace=3)) as gateway,
        lab.innocents(gateway, streams=STREAMS, calls=CALLS),
    ):
        gateway.process.terminate()
        ended = await wait_until(lambda: not gateway.is_running, 10)
        lab.expect(ended and gateway.process.returncode == 0, "the gateway did not end with exit code 0")


@experiment("second SIGTERM during a shutdown")
async def run_second_signal(lab: Lab) -> None:
    limits = lab.counts.limits
    limits.refused, limits.lost, limits.broken = 100, 100, 100
    async with lab.gateway(lab.config(grace=8)) as gateway, lab.innocents(gateway, streams=4, calls=4):
        gateway.process.terminate()
        await during(0.5)
        gateway.process.terminate()
        lab.expect(
            await wait_until(lambda: not gateway.is_running, 3),
            "the second signal ends nothing at once",
        )


def add_reload(workers: int) -> None:
    @experiment(f"SIGHUP, {workers} worker{'s' * (workers > 1)}")
    async def run(lab: Lab) -> None:
        async with (
            lab.gateway(lab.config(workers=workers)) as gateway,
            lab.innocents(gateway, streams=8, calls=4),
        ):
            gateway.process.send_signal(signal.SIGHUP)
            await during(4)
            lab.expect(gateway.is_running, "the signal ended the gateway")


for worker_count in (1, 2):
    add_reload(worker_count)


@experiment("supervisor killed (SIGKILL)")
async def run_supervisor_killed(lab: Lab) -> None:
    limits = lab.counts.limits
    limits.refused, limits.lost, limits.broken = 100, 100, 100
    async with lab.gateway(lab.config(workers=2)) as gateway, lab.innocents(gateway):
        workers = gateway.workers()
        gateway.process.kill()
        gone = await wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 8)
        lab.expect(gone, "the workers serve on without their supervisor")


@experiment("edited file, then both workers die in turn")
async def run_edited_file(lab: Lab) -> None:
    limits = lab.counts.limits
    limits.broken = limits.lost = 24
    limits.silence = 15.0  # the second worker may die before the successor of the first is ready
    async with lab.gateway(lab.config(workers=2)) as gateway, lab.innocents(gateway):
        edited = gateway.config.read_text().replace(
            "[keys.attacker]", "[keys.renamed]\nmodels = []\n[keys.other]"
        )
        for text in (edited, "[half an edit\n"):
            gateway.config.write_text(text)
            victim, size = gateway.workers()[0], len(gateway.log)
            os.kill(victim, signal.SIGKILL)
            lab.expect(await wait_for_workers(gateway, 2, victim), "the worker has no successor")
            await during(1)
            answers = await asyncio.gather(*(ask(gateway.attacker, "echo") for _ in range(16)))
            statuses = {status for status, _ in answers}
            lab.expect(statuses == {200}, f"workers disagree: statuses {sorted(statuses)}")
            lab.expect("Traceback" not in gateway.log[size:], "a worker that starts fails with a traceback")
            lab.expect(str(victim) in gateway.log[size:], "the log does not name the worker that died")


@experiment("folder of the metrics vanishes")
async def run_metrics_folder(lab: Lab) -> None:
    limits = lab.counts.limits
    limits.broken = limits.lost = 12
    folder = lab.folder / "tmp"
    folder.mkdir(parents=True)
    config = lab.config(workers=2)
    async with (
        lab.gateway(config, environ={"TMPDIR": str(folder)}) as gateway,
        lab.innocents(gateway),
    ):
        for each in folder.glob("voicegw-*"):
            shutil.rmtree(each)
        lab.expect(await gateway.status("/metrics") == 200, "/metrics is not answered")
        victim = gateway.workers()[0]
        os.kill(victim, signal.SIGKILL)
        lab.expect(await wait_for_workers(gateway, 2, victim), "the worker has no successor")
        await during(1)
