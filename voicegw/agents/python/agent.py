"""An agent written in Python, in the gateway's process: `async def reply(turn): yield "Hello"`.

It shares the event loop with all calls, so it must await everything slow. A function that blocks runs in a
thread instead (`threads`), and an object of a framework is called by its own API (`frameworks`). The contract
is `voicegw.events`; docs/python-agents.md describes it.
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
from voicegw.wire.json import loads_object

EVENTS = (str, ToolCall, Activity, Usage, Finish)
TARGET = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*"
REASONS = get_args(Reason)
HOOKS: Mapping[str, Sequence[object]] = {"warm": [None], "aclose": [], "call_ended": [""]}
"""The optional methods of an agent, each with arguments that it must accept."""
EVENTS_PER_YIELD = 256
"""Events after which an agent that never waits yields to the event loop, for the sake of other calls."""
EXPECTED = "expected is `async def reply(turn)` with a `yield` in it, or an object or a class that has one"

log = logging.getLogger("voicegw.error")


async def no_op(*_: object) -> None:
    """Stand in for a hook that an agent leaves out."""


@dataclass(frozen=True, slots=True)
class PythonAgent:
    """An agent made of the code at `target`. It checks the events, and turns exceptions into `AgentError`."""

    # The name of the code, "package.module:name", for messages.
    target: str
    # Returns the generator that answers one turn.
    reply_function: Callable[[Turn], AsyncGenerator[Any, None]]
    # The hooks of the code; `no_op` for those that it leaves out.
    warm_hook: Callable[[str | None], Awaitable[None]] = no_op
    aclose_hook: Callable[[], Awaitable[None]] = no_op
    call_ended_hook: Callable[[str], Awaitable[None]] = no_op

    async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Yield the events of the code. Closing the generator closes the code's generator at once.

        Raises `AgentProtocolError` for an event of a wrong type or with wrong values, each `AgentError` of
        the code, and `AgentError` in place of every other exception.
        """
        try:
            async with aclosing(self.reply_function(turn)) as events:
                counter = count(1)
                async for event in events:
                    yield event if type(event) is str else self._check(event)
                    if not next(counter) % EVENTS_PER_YIELD:
                        await asyncio.sleep(0)
        except AgentError:
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            message = f"{self.target} raised {type_name(error)}{location(error)}"
            raise AgentError(message, str(error)) from error

    def _check(self, event: object) -> Event:
        """Return the event if codecs can encode it. A subclass of `str` becomes a plain one."""
        if isinstance(event, str):
            return str.__str__(event)
        if not isinstance(event, EVENTS):
            raise AgentProtocolError(f"{self.target} yielded {type_name(event)}; {expected_events()}")
        if flaw := event_flaw(event):
            raise AgentProtocolError(f"{self.target} yielded {type_name(event)} with {flaw}")
        return event

    async def warm(self, call: str | None = None) -> None:
        """Call the code's `warm`. Raises any exception that the code raises."""
        await self.warm_hook(call)

    async def call_ended(self, call: str) -> None:
        """Call the code's `call_ended`. Raises any exception that the code raises."""
        await self.call_ended_hook(call)

    async def aclose(self) -> None:
        """Call the code's `aclose`. Raises any exception that the code raises."""
        await self.aclose_hook()


def load(target: str, options: Mapping[str, Any] | None = None) -> Agent:
    """Return the agent at `target`, "package.module:name", where `name` may be dotted.

    `options` are keyword arguments: of the class when the agent is made, or of the function at every turn.
    Raises `ConfigError` for a target that cannot answer a turn; the message says what was found.
    """
    if not re.fullmatch(TARGET, target):
        raise ConfigError(f'target "{target}" is not of the form "package.module:name"')
    found, options = import_target(target), dict(options or {})
    if inspect.isclass(found):
        found, options = instantiate(target, found, options), {}
    if not hasattr(found, "reply"):
        if adapt := detect_framework(target, found):
            return PythonAgent(target, adapt(found, options))
        return PythonAgent(target, as_async_generator(target, found, options))
    if options:
        raise ConfigError(f"{target} is an object that is already made: it takes no options")
    hooks = [find_hook(target, found, name, *arguments) for name, arguments in HOOKS.items()]
    return PythonAgent(target, as_async_generator(f"{target}.reply", found.reply, {}), *hooks)


def import_target(target: str) -> Any:
    """Return the object at `target`. Raises `ConfigError` if its module or a name in it does not exist."""
    module, _, path = target.partition(":")
    found: Any = import_module(module)
    for name in path.split("."):
        if not hasattr(found, name):
            close = get_close_matches(name, dir(found), n=1)
            near = f'; did you mean "{close[0]}"?' if close else ""
            owner = getattr(found, "__name__", type_name(found))
            raise ConfigError(f'{target}: there is no "{name}" in {owner}{near}')
        found = getattr(found, name)
    return found


def import_module(module: str) -> object:
    """Return the module of this name.

    Raises `ConfigError` that says why there is none: it is missing, one of its imports is missing, it has the
    name of a module that it imports, or it fails.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module == missing or module.startswith(f"{missing}."):
            hint = "is it installed, or its folder on PYTHONPATH?"
            hint = "leave out .py" if module.endswith(".py") else hint
            raise ConfigError(f'there is no module "{missing}" ({module}); {hint}') from error
        if missing.startswith(f"{module}."):
            raise ConfigError(shadowing_message(module)) from error
        raise ConfigError(f'module "{module}" imports "{missing}", which is not installed') from error
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        if isinstance(error, ImportError) and error.name == module:
            raise ConfigError(shadowing_message(module)) from error
        reason = f"{type_name(error)}{location(error)}: {error}"
        raise ConfigError(f'module "{module}" failed at import: {reason}') from error


def shadowing_message(module: str) -> str:
    """Return the message for a file that has the name of a package which it imports."""
    return f'module "{module}" imports from "{module}" and finds itself; give the file another name'


def instantiate(target: str, cls: type[Any], options: Mapping[str, Any]) -> Any:
    """Return an object of the class. Raises `ConfigError` if it has no `reply` or cannot be made."""
    if not hasattr(cls, "reply"):
        raise ConfigError(f"{target} is a class without `reply`; {EXPECTED}")
    check_options(target, cls, options)
    check_signature(
        target, cls, (), options, "its constructor must accept the options, and need nothing else"
    )
    try:
        return cls(**options)
    except (Exception, SystemExit) as error:
        reason = f"{type_name(error)}{location(error)}: {error}"
        raise ConfigError(f"{target} could not be made: {reason}") from error


def as_async_generator(
    target: str, function: Any, options: Mapping[str, Any]
) -> Callable[[Turn], AsyncGenerator[Any, None]]:
    """Return a function that answers one turn by `function` with its options; a blocking one gets a thread.

    Raises `ConfigError` if the function is of a wrong kind or does not take a turn and the options.
    """
    if inspect.iscoroutinefunction(function) or not inspect.isroutine(function):
        raise ConfigError(f"{target} is {describe(function)}; {EXPECTED}")
    check_options(target, function, options)
    rule = "it must take the turn, and nothing else without a default"
    check_signature(target, function, (None,), options, rule)
    bound = partial(function, **options) if options else function
    # Unwrapped: a decorator may hide the generator in a plain function.
    if inspect.isasyncgenfunction(inspect.unwrap(function)) and not inspect.isgeneratorfunction(function):
        return bound
    log.info("%s blocks: each of its turns runs in a separate thread", target)
    return run_in_thread(bound)


def find_hook(target: str, agent: object, name: str, *arguments: object) -> Callable[..., Awaitable[None]]:
    """Return the hook `name` of an agent, or `no_op`. Raises `ConfigError` for one that does not fit."""
    found: Callable[..., Awaitable[None]] = getattr(agent, name, no_op)
    if not inspect.iscoroutinefunction(found):
        raise ConfigError(f"{target}.{name} is {describe(found)}; expected is `async def {name}`")
    rule = "expected are warm(call), aclose() and call_ended(call)"
    check_signature(f"{target}.{name}", found, arguments, {}, rule)
    return found


def check_options(target: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for an option that the function has no parameter for."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    names = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for option in options:
        if option not in names:
            raise ConfigError(
                f'{target} takes no option "{option}"; its parameters: {", ".join(names) or "none"}'
            )


def check_signature(
    target: str, function: Any, arguments: tuple[object, ...], options: Mapping[str, Any], rule: str
) -> None:
    """Raise `ConfigError`, with `rule` at its end, if the function does not accept these arguments."""
    signature = inspect.signature(function)
    try:
        signature.bind(*arguments, **options)
    except TypeError as error:
        bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        shown = signature.replace(parameters=bare, return_annotation=signature.empty)
        raise ConfigError(f"{target}{shown} does not fit: {error}; {rule}") from error


def location(error: BaseException) -> str:
    """Return " at FILE:LINE" for the innermost frame of an error that has a file, "" if none has."""
    if isinstance(error, SyntaxError):
        return f" at {error.filename}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename[:1] != "<"]
    return f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def event_flaw(event: Event) -> str:
    """Return a description of the fault in the values of an event, "" if there is none."""
    match event:
        case ToolCall(str(), str(), str(arguments)):
            return "" if loads_object(arguments) is not None else "arguments that are no JSON object"
        case Usage(int(), int(), int(), int()) | Activity(str()):
            return ""
        case Finish(str(reason)) if reason in REASONS:
            return ""
    return "values of the wrong type"


def describe(found: object) -> str:
    """Return a description, for messages, of an object that cannot answer."""
    if inspect.iscoroutinefunction(found):
        return "a coroutine function: it has no `yield`"
    if inspect.isgeneratorfunction(found):
        return "a generator function without `async`"
    return "a plain function" if inspect.isroutine(found) else f"an object of type {type_name(found)}"


def type_name(found: object) -> str:
    """Return the name of an object's class."""
    return type(found).__name__


def expected_events() -> str:
    """Return the part of a message that lists the classes of events."""
    return f"expected are {', '.join(event.__name__ for event in EVENTS)}"
