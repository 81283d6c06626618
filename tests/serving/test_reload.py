"""A new configuration serves new requests, an older one its turns and calls to their end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from voicegw.serving.reload import RETIRE_TIMEOUT, ReloadableApp, import_anew


class App:
    """An ASGI application. Requests wait until `answer` is set; `log` holds what happened to all of them."""

    def __init__(self, name: str, log: list[str], *, fails: bool = False) -> None:
        self.name, self.log, self.fails = name, log, fails
        self.answer = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self.answer.wait()
            return self.log.append(f"{self.name} answered")
        await receive()
        if self.fails:
            await send({"type": "lifespan.startup.failed", "message": "no"})
            raise ValueError("no")
        scope["state"].update(drain=self.drain, is_busy=lambda: False, limit=self.name)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.log.append(f"{self.name} stopped")
        await send({"type": "lifespan.shutdown.complete"})

    def drain(self) -> None:
        self.log.append(f"{self.name} drains")
        self.answer.set()


@asynccontextmanager
async def serving(app: ReloadableApp) -> AsyncIterator[dict[str, Any]]:
    """Run the lifespan as a server does; yield its state."""
    state: dict[str, Any] = {}
    received, sent = asyncio.Queue[Any](), asyncio.Queue[Any]()
    task = asyncio.ensure_future(app({"type": "lifespan", "state": state}, received.get, sent.put))
    for step in ("startup", "shutdown"):
        await received.put({"type": f"lifespan.{step}"})
        assert (await sent.get())["type"] == f"lifespan.{step}.complete"
        if step == "startup":
            yield state
    await task


def request(app: ReloadableApp) -> asyncio.Future[None]:
    return asyncio.ensure_future(app({"type": "http"}, None, None))  # type: ignore[arg-type]


async def test_older_generation_answers_what_it_began_and_then_stops() -> None:
    log: list[str] = []
    first, second = App("first", log), App("second", log)
    app = ReloadableApp(first)
    async with serving(app) as state:
        running = request(app)
        await asyncio.sleep(1)
        assert app.is_busy
        await app.replace(second)
        assert state["limit"] == "second"
        newer = request(app)
        second.answer.set()
        await newer
        assert log == ["second answered"]
        first.answer.set()
        await running
        await asyncio.sleep(1)
        assert log == ["second answered", "first answered", "first stopped"]
        assert not app.is_busy
    assert log[3:] == ["second stopped"]


async def test_generation_that_does_not_start_changes_nothing() -> None:
    log: list[str] = []
    first = App("first", log)
    app = ReloadableApp(first)
    async with serving(app) as state:
        with pytest.raises(RuntimeError, match=r"^the application's startup failed: no$"):
            await app.replace(App("second", log, fails=True))
        first.answer.set()
        await request(app)
        assert (state["limit"], app.older) == ("first", set())
    assert log == ["first answered", "first stopped"]


async def test_call_of_an_older_generation_ends_after_the_timeout() -> None:
    log: list[str] = []
    app = ReloadableApp(App("first", log))
    async with serving(app):
        call = request(app)
        await asyncio.sleep(0)
        await app.replace(App("second", log))
        await asyncio.sleep(RETIRE_TIMEOUT - 1)
        assert log == []
        await asyncio.sleep(2)
        assert log == ["first drains", "first answered", "first stopped"]
        await call


async def test_shutdown_drains_and_stops_every_generation() -> None:
    log: list[str] = []
    app = ReloadableApp(App("first", log))
    async with serving(app) as state:
        calls = [request(app)]
        await asyncio.sleep(0)
        await app.replace(App("second", log))
        calls.append(request(app))
        await asyncio.sleep(1)
        state["drain"]()
        assert log == [], "connections that close do not drain: the server does"
        app.drain()
        await asyncio.gather(*calls)
    assert sorted(log) == sorted(
        f"{name} {what}" for name in ("first", "second") for what in ("drains", "answered", "stopped")
    )


def test_modules_of_the_folder_are_imported_anew_unless_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    installed = tmp_path / "lib" / "site-packages"
    installed.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(installed))
    (installed / "reload_library.py").write_text("", "utf-8")
    code = tmp_path / "reload_agents.py"

    def load() -> Any:
        module: Any = __import__("reload_agents")
        __import__("reload_library")
        return module.answer

    def write(text: str) -> None:
        code.write_text(text, "utf-8")

    write("answer = 1")
    assert load() == 1
    library, module = sys.modules["reload_library"], sys.modules["reload_agents"]
    write("answer = 'a longer text, because a cache compares size and time'")
    assert import_anew(tmp_path, load) == "a longer text, because a cache compares size and time"
    assert sys.modules["reload_library"] is library
    assert sys.modules["reload_agents"] is not module
    newer = sys.modules["reload_agents"]
    write("answer = (")
    with pytest.raises(SyntaxError):
        import_anew(tmp_path, load)
    assert sys.modules["reload_agents"] is newer
    for name in ("reload_agents", "reload_library"):
        del sys.modules[name]
