"""The set-up of every experiment: an agent that counts, a gateway, and innocent callers around a fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from loadtests.chaos.agent import CountingAgent
from loadtests.chaos.callers import InnocentCallers, ask
from loadtests.chaos.counts import Counts
from loadtests.chaos.gateway import Gateway, key_sections, run_gateway, wait_until

STEADY = "first=0.05,every=0.05,tokens=20"
"""The answers that innocent callers hear: a word every 50 ms for a second."""
SETTLE_SECONDS = 15.0
"""Seconds in which memory may return to its base: a worker that was replaced ends in this time, too."""
CONFIG = """\
[server]
workers = {workers}
shutdown_grace = {grace}
{limits}
[retell]
{keys}
[agents.steady]
kind = "openai"
url = "{url}"
model = "{plan}"
ack.after = 0
[agents.echo]
kind = "scripted"
script = "echo"
ack.after = "off"
"""


class Lab:
    """The place of one experiment. `counts` takes its results, `folder` holds the files of its gateways."""

    def __init__(self, folder: Path, agent: CountingAgent, counts: Counts) -> None:
        self.folder, self.agent, self.counts = folder, agent, counts
        self.gateway_count = 0

    def expect(self, holds: object, claim: str) -> None:
        """Note that the claim does not hold, unless it does."""
        if not holds:
            self.counts.failures.append(claim)

    def config(
        self, sections: str = "", *, workers: int = 1, grace: float = 2.0, limits: str = "", keys: bool = True
    ) -> str:
        """Return a configuration with the steady agent, an echo, and more sections."""
        return (
            CONFIG.format(
                workers=workers,
                grace=grace,
                limits=f"[limits]\n{limits}" if limits else "",
                keys=key_sections() if keys else "",
                url=self.agent.url,
                plan=STEADY,
            )
            + sections
        )

    @asynccontextmanager
    async def gateway(self, config: str, **options: Any) -> AsyncIterator[Gateway]:
        """Run a gateway; the options are those of `run_gateway`."""
        self.gateway_count += 1
        async with run_gateway(self.folder / str(self.gateway_count), config, **options) as gateway:
            yield gateway

    @asynccontextmanager
    async def innocents(self, gateway: Gateway, *, streams: int = 4, calls: int = 2) -> AsyncIterator[None]:
        """Run innocent callers within the block, and measure the memory that remains after it."""
        await ask(gateway.target, "steady", f"warm-up of {self.counts.name}")
        base = gateway.memory
        callers = InnocentCallers(
            gateway, self.counts, self.agent.asked, "steady", STEADY, streams=streams, calls=calls
        )
        async with callers:
            await callers.until_all_ask()
            yield
        self.counts.growth = await self._growth(gateway, base)

    async def _growth(self, gateway: Gateway, base: int) -> float:
        """Return the bytes above the base, once few or after SETTLE_SECONDS; 0 if the process ended."""
        await wait_until(lambda: gateway.memory - base <= self.counts.limits.growth / 4, SETTLE_SECONDS)
        return float(gateway.memory - base) if gateway.is_running else 0.0


Run: TypeAlias = Callable[[Lab], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Experiment:
    """One fault: its name in the table, and whether the short form of the suite has it."""

    name: str
    run: Run
    is_short: bool = False


EXPERIMENTS: list[Experiment] = []
"""All experiments, in the order of the table; the modules beside this one add them when they are imported."""


def experiment(name: str, *, short: bool = False) -> Callable[[Run], Run]:
    """Return a decorator that adds an experiment of this name."""

    def add(run: Run) -> Run:
        EXPERIMENTS.append(Experiment(name, run, short))
        return run

    return add


async def during(seconds: float) -> None:
    """Let the innocent callers talk for a while."""
    await asyncio.sleep(seconds)
