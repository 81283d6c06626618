"""An agent written in Python, in the process of the gateway: `async def reply(turn): yield "Hello"`.

It shares the event loop with every other call, so it must await what takes long; a function that blocks has
a thread instead, and what a framework made is asked by the framework's own means.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import re
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from itertools import count
from typing import Any, get_args

from voicegw.agents.python.frameworks.detect import detect_framework
from voicegw.agents.python.threads import run_in_thread
from voicegw.errors import AgentError, AgentProtocolError, ConfigError
from voicegw.events import Activity, Agent, Event, Finish, Reason, ToolCall, Turn, Usage
from voicegw.wire.json import loads

EVENTS = (str, ToolCall, Activity, Usage, Finish)
TARGET = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*"
REASONS = get_args(Reason)
HOOKS: Mapping[str, Sequence[object]] = {"warm": [None], "aclose": [], "call_ended": [""]}
BREATH = 256
"""Events after which the loop gets a turn, also from code that never waits: other calls wait for it."""
EXPECTED = "expected is `async def reply(turn)` with a `yield` in it, or an object or a class that has one"

log = logging.getLogger("voicegw.error")


async def nothing(*_: object) -> None:
    """Stands in for what an agent leaves out."""


@dataclass(frozen=True, slots=True)
class PythonAgent:
    """An agent made of somebody's code: what it yields is checked, what it raises is an `AgentError`."""

    target: str
    replying: Callable[[Turn], AsyncGenerator[Any, None]]
    warming: Callable[[str | None], Awaitable[None]] = nothing
    closing: Callable[[], Awaitable[None]] = nothing
    leaving: Callable[[str], Awaitable[None]] = nothing

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        try:
            async with aclosing(self.replying(turn)) as events:
                told = count(1)
                async for event in events:
                    yield event if type(event) is str else self._checked(event)
                    if not next(told) % BREATH:
                        await asyncio.sleep(0)
        except AgentError:
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            raise AgentError(f"{self.target} raised {kind(error)}{where(error)}", str(error)) from error

    def _checked(self, event: object) -> Event:
        """The event, fit for every codec. Strings with manners of their own become plain ones."""
        if isinstance(event, str):
            return str.__str__(event)
        if not isinstance(event, EVENTS):
            raise AgentProtocolError(f"{self.target} yielded {kind(event)}; {speakable()}")
        if flaw := event_flaw(event):
            raise AgentProtocolError(f"{self.target} yielded {kind(event)} with {flaw}")
        return event

    async def warm(self, call: str | None = None) -> None:
        await self.warming(call)

    async def call_ended(self, call: str) -> None:
        await self.leaving(call)

    async def aclose(self) -> None:
        await self.closing()


def load(target: str, options: Mapping[str, Any] | None = None) -> Agent:
    """The agent at `target`, "package.module:name", where `name` may be dotted.

    `options` are keyword arguments: of the class that is made, or of the function at every turn.
    Raises `ConfigError` for whatever would not answer, saying what was found.
    """
    if not re.fullmatch(TARGET, target):
        raise ConfigError(f'target "{target}" is not of the form "package.module:name"')
    found, options = import_target(target), dict(options or {})
    if inspect.isclass(found):
        found, options = instantiate(target, found, options), {}
    if not hasattr(found, "reply"):
        if adapt := detect_framework(target, found):
            return PythonAgent(target, adapt(found, options))
        return PythonAgent(target, generator(target, found, options))
    if options:
        raise ConfigError(f"{target} is an object that is already made: it takes no options")
    hooks = [hook(target, found, name, *given) for name, given in HOOKS.items()]
    return PythonAgent(target, generator(f"{target}.reply", found.reply, {}), *hooks)


def import_target(target: str) -> Any:
    module, _, path = target.partition(":")
    found: Any = imported(module)
    for name in path.split("."):
        if not hasattr(found, name):
            close = get_close_matches(name, dir(found), n=1)
            near = f'; did you mean "{close[0]}"?' if close else ""
            raise ConfigError(
                f'{target}: there is no "{name}" in {getattr(found, "__name__", kind(found))}{near}'
            )
        found = getattr(found, name)
    return found


def imported(module: str) -> object:
    """The module, or why there is none: it is missing, something that it imports is missing, or it fails."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module == missing or module.startswith(f"{missing}."):
            hint = "is it installed, or its folder on PYTHONPATH?"
            hint = "leave out .py" if module.endswith(".py") else hint
            raise ConfigError(f'there is no module "{missing}" ({module}); {hint}') from error
        if missing.startswith(f"{module}."):
            raise ConfigError(itself(module)) from error
        raise ConfigError(f'module "{module}" imports "{missing}", which is not installed') from error
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        if isinstance(error, ImportError) and error.name == module:
            raise ConfigError(itself(module)) from error
        what = f"{kind(error)}{where(error)}: {error}"
        raise ConfigError(f'module "{module}" failed at import: {what}') from error


def itself(module: str) -> str:
    return f'module "{module}" imports from "{module}" and finds itself; give the file another name'


def instantiate(target: str, cls: type[Any], options: Mapping[str, Any]) -> Any:
    if not hasattr(cls, "reply"):
        raise ConfigError(f"{target} is a class without `reply`; {EXPECTED}")
    check_options(target, cls, options)
    check_signature(target, cls, (), options, "its constructor must be content with the options")
    try:
        return cls(**options)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{target} could not be made: {kind(error)}{where(error)}: {error}") from error


def generator(
    target: str, function: Any, options: Mapping[str, Any]
) -> Callable[[Turn], AsyncGenerator[Any, None]]:
    """The function with its options bound, once it is sure to answer one turn."""
    if inspect.iscoroutinefunction(function) or not inspect.isroutine(function):
        raise ConfigError(f"{target} is {described(function)}; {EXPECTED}")
    check_options(target, function, options)
    check_signature(
        target, function, (None,), options, "it must take the turn, and nothing else without a default"
    )
    bound = partial(function, **options) if options else function
    if inspect.isasyncgenfunction(inspect.unwrap(function)) and not inspect.isgeneratorfunction(function):
        return bound  # also behind a decorator
    log.info("%s blocks: every turn of it runs in a thread of its own", target)
    return run_in_thread(bound)


def hook(target: str, agent: object, name: str, *given: object) -> Callable[..., Awaitable[None]]:
    found: Callable[..., Awaitable[None]] = getattr(agent, name, nothing)
    if not inspect.iscoroutinefunction(found):
        raise ConfigError(f"{target}.{name} is {described(found)}; expected is `async def {name}`")
    check_signature(f"{target}.{name}", found, given, {}, "expected are warm(call), aclose() and call_ended(call)")
    return found


def check_options(target: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    named = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for option in options:
        if option not in named:
            raise ConfigError(
                f'{target} takes no option "{option}"; its parameters: {", ".join(named) or "none"}'
            )


def check_signature(
    target: str, function: Any, given: tuple[object, ...], options: Mapping[str, Any], rule: str
) -> None:
    signature = inspect.signature(function)
    try:
        signature.bind(*given, **options)
    except TypeError as error:
        bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        taken = signature.replace(parameters=bare, return_annotation=signature.empty)
        raise ConfigError(f"{target}{taken} does not fit: {error}; {rule}") from error


def where(error: BaseException) -> str:
    """Where in its code, as far down as we know it."""
    if isinstance(error, SyntaxError):
        return f" at {error.filename}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename[:1] != "<"]
    return f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def event_flaw(event: Event) -> str:
    """What is wrong inside an event, "" if nothing is."""
    match event:
        case ToolCall(str(), str(), str(arguments)):
            return "" if is_object(arguments) else "arguments that are no JSON object"
        case Usage(int(), int(), int(), int()) | Activity(str()):
            return ""
        case Finish(str(reason)) if reason in REASONS:
            return ""
    return "values of the wrong type"


def is_object(text: str) -> bool:
    try:
        return isinstance(loads(text.encode()), dict)
    except ValueError:
        return False


def described(found: object) -> str:
    if inspect.iscoroutinefunction(found):
        return "a coroutine function: it has no `yield`"
    if inspect.isgeneratorfunction(found):
        return "a generator function without `async`"
    return "a plain function" if inspect.isroutine(found) else f"an object of type {kind(found)}"


def kind(found: object) -> str:
    return type(found).__name__


def speakable() -> str:
    return f"expected are {', '.join(event.__name__ for event in EVENTS)}"
