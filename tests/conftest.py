"""Async tests run on the virtual clock, or on a real event loop with the mark `wire`; nothing may leak."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
from typing import Any

import pytest
from hypothesis import settings

from tests.support.clock import VirtualLoop
from tests.support.fake_agent import open_replies

MAX_SETTLE_STEPS = 200
"""Turns of the event loop in which the last tasks of a test must end."""

# With `CI` set, Hypothesis draws the same examples in every run, so that a failure comes from the change;
# without it, new ones each time. No example has a time limit: the machines are noisy.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(autouse=True, scope="module")
def _freeze_existing_objects() -> None:
    """Keep objects that exist before a module's tests out of collections, which would take long otherwise."""
    gc.collect()
    gc.freeze()


async def _run_without_leaks(function: Any, arguments: dict[str, Any]) -> None:
    """Run a test, then assert that no task is left and that every reply of a fake agent is closed."""
    me = asyncio.current_task()
    await function(**arguments)
    for _ in range(MAX_SETTLE_STEPS):
        pending = [task for task in asyncio.all_tasks() if task is not me]
        if not pending:
            break
        await asyncio.sleep(0)
    assert not pending, f"tasks left over: {pending}"
    assert not open_replies, f"agents left open: {open_replies}"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    is_wire = pyfuncitem.get_closest_marker("wire") is not None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    open_replies.clear()
    with asyncio.Runner(loop_factory=None if is_wire else VirtualLoop) as runner:
        runner.run(_run_without_leaks(pyfuncitem.obj, arguments))
    gc.collect()  # a forgotten coroutine or socket warns here, inside its own test
    return True
