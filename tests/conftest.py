"""Async tests run on the virtual clock, or on the plain loop when marked `wire`; nothing may leak."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
from typing import Any

import pytest
from hypothesis import settings

from tests.support.clock import VirtualLoop
from tests.support.script import open_scripts

SETTLE = 200

# Examples are the same on every run where `CI` is set, so that a change is judged by itself; at home they
# are new each time. No example has a time limit: the machines are noisy.
settings.register_profile("home", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "home")


@pytest.fixture(autouse=True, scope="module")
def _litter() -> None:
    """What exists before a module's tests is no litter of theirs; looking through it each time takes long."""
    gc.collect()
    gc.freeze()


async def _checked(function: Any, arguments: dict[str, Any]) -> None:
    """Run a test, then assert that no task is left and that every scripted agent was closed."""
    me = asyncio.current_task()
    await function(**arguments)
    for _ in range(SETTLE):
        left = [task for task in asyncio.all_tasks() if task is not me]
        if not left:
            break
        await asyncio.sleep(0)
    assert not left, f"tasks left over: {left}"
    assert not open_scripts, f"agents left open: {open_scripts}"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wire = pyfuncitem.get_closest_marker("wire") is not None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    open_scripts.clear()
    with asyncio.Runner(loop_factory=None if wire else VirtualLoop) as runner:
        runner.run(_checked(pyfuncitem.obj, arguments))
    gc.collect()  # a forgotten coroutine or socket warns here, inside its own test
    return True
