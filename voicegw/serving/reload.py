"""One ASGI application that changes its configuration while it serves.

Every configuration in force is a `Generation`: its application, agents and calls. New requests and calls go
to the newest one; an older one ends with its last turn and call. This is no restart: the process stays.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

RETIRE_TIMEOUT = 3600.0
"""Seconds that the calls of an older configuration get; then they are closed, and the platform reconnects."""

CHECK_INTERVAL = 0.1
"""Seconds between two looks whether an older configuration is still in use."""


class Generation:
    """The application of one configuration, with its lifespan. `state` holds the lifespan's values."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.state: dict[str, Any] = {}
        self.request_count = 0  # requests and calls now
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the application's lifespan. Raises `RuntimeError` if that fails."""
        scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self.state}
        self._task = asyncio.create_task(self._run_lifespan(scope))
        await self._step("startup")

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or call."""
        self.request_count += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.request_count -= 1

    @property
    def is_busy(self) -> bool:
        """Is a request, a turn or a call served? Turns may run without a task that serves them."""
        return bool(self.request_count or self.state["is_busy"]())

    def drain(self) -> None:
        """Refuse new turns; end the running ones and the calls after the grace."""
        self.state["drain"]()

    async def stop(self) -> None:
        """Close the agents and end the lifespan."""
        await self._step("shutdown")
        if self._task is not None:
            await self._task

    async def _run_lifespan(self, scope: Scope) -> None:
        with suppress(Exception):  # reported by the message before it
            await self.app(scope, self._inbox.get, self._outbox.put)

    async def _step(self, name: str) -> None:
        await self._inbox.put({"type": f"lifespan.{name}"})
        answer = await self._outbox.get()
        if answer["type"] != f"lifespan.{name}.complete":
            raise RuntimeError(f"the application's {name} failed: {answer.get('message', '')}")


class ReloadableApp:
    """The application of the newest generation, for uvicorn."""

    def __init__(self, app: ASGIApp) -> None:
        # The newest generation.
        self.current = Generation(app)
        # The older generations that still have turns or calls.
        self.older: set[Generation] = set()
        # The lifespan's state, which uvicorn hands to every connection.
        self._state: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Serve a request or a call by the newest generation, or run the lifespan of all of them."""
        if scope["type"] == "lifespan":
            return self._run_lifespan(scope, receive, send)
        return self.current.serve(scope, receive, send)

    @property
    def is_busy(self) -> bool:
        """Is a request or a call being served?"""
        return any(generation.is_busy for generation in (self.current, *self.older))

    async def replace(self, app: ASGIApp) -> None:
        """Make `app` the newest generation.

        Raises `RuntimeError` if it does not start; then nothing changes.
        """
        newer = Generation(app)
        await newer.start()
        older, self.current = self.current, newer
        self._publish()
        self.older.add(older)
        task = asyncio.create_task(self._retire(older))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def drain(self) -> None:
        """Refuse new turns in every generation; end the running ones and the calls after the grace."""
        for generation in (self.current, *self.older):
            generation.drain()

    def _publish(self) -> None:
        """Show the state of the newest generation to new connections; the server itself calls `drain`."""
        self._state.update(self.current.state, drain=lambda: None, direct_app=self)

    def accepts(self, scope: Scope) -> bool:
        """Return whether the newest generation answers a request by `begin`, without a task."""
        direct_app = self.current.state.get("direct_app")
        return direct_app is not None and direct_app.accepts(scope)

    def begin(self, scope: Scope, body: bytes, writer: Any) -> Any:
        """Begin the answer to a whole request; return an application that a task must run, or None."""
        direct_app = self.current.state.get("direct_app")
        return self if direct_app is None else direct_app.begin(scope, body, writer)

    async def _retire(self, generation: Generation) -> None:
        """Stop a generation after its last turn and call; they get `RETIRE_TIMEOUT` seconds and the grace."""
        timer = asyncio.get_running_loop().call_later(RETIRE_TIMEOUT, generation.drain)
        try:
            while generation.is_busy:  # noqa: ASYNC110 (the turn path needs no event for this rare wait)
                await asyncio.sleep(CHECK_INTERVAL)
        finally:
            timer.cancel()
        self.older.discard(generation)
        await generation.stop()

    async def _run_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._state = scope["state"]
        await receive()  # lifespan.startup
        await self.current.start()
        self._publish()
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(generation.stop() for generation in (self.current, *self.older)))
        await send({"type": "lifespan.shutdown.complete"})


def import_anew(folder: Path, build: Callable[[], ASGIApp]) -> ASGIApp:
    """Return what `build` returns; it imports the modules in `folder` anew. If it raises, the old ones stay.

    Modules of packages that are installed below the folder, as in a virtual environment, stay too.
    """
    forgotten: dict[str, ModuleType] = {}
    for name, module in [*sys.modules.items()]:
        file = getattr(module, "__file__", None)
        if file and name != "__main__" and _is_code_of(folder, Path(file)):
            forgotten[name] = sys.modules.pop(name)
    importlib.invalidate_caches()
    try:
        return build()
    except BaseException:
        sys.modules.update(forgotten)
        raise


def _is_code_of(folder: Path, file: Path) -> bool:
    is_ours = file.is_relative_to(Path(__file__).parents[1])
    is_installed = {"site-packages", "dist-packages"} & {*file.parts}
    return file.is_relative_to(folder) and not is_ours and not is_installed
