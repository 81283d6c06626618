"""Detects the framework of an object by the names of its classes and of their modules.

It imports no framework for that: one that is not installed costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from voicegw.errors import ConfigError
from voicegw.events import Turn

FrameworkAdapter = Callable[[Any, Mapping[str, Any]], Callable[[Turn], AsyncGenerator[Any, None]]]
"""Makes the function that answers a turn from an object and its options. Raises `ConfigError`."""

FRAMEWORKS = {
    ("langgraph", "Pregel"): ("langgraph", "a LangGraph graph"),
    ("pydantic_ai", "AbstractAgent"): ("pydantic_ai", "an agent of Pydantic AI"),
    ("agents.agent", "Agent"): ("openai_agents", "an agent of the OpenAI Agents SDK"),
    ("langchain_core", "Runnable"): ("langchain", "a LangChain runnable"),
}
"""By package and class: the module here that adapts it, and its name in messages.

The first match in the order of an object's base classes decides. The class of the OpenAI SDK needs its whole
module, because many projects have a package `agents`.
"""


def detect_framework(target: str, found: object) -> FrameworkAdapter | None:
    """Return the adapter for `found`, None if it is of no known framework. `target` names it in errors.

    Raises `ConfigError` for a graph that is not compiled, or if a package of the framework is missing.
    """
    base_classes = [
        (module, cls.__name__)
        for cls in type(found).__mro__
        for module in (cls.__module__, cls.__module__.partition(".")[0])
    ]
    if ("langgraph", "StateGraph") in base_classes:
        raise ConfigError(f"{target} is a graph that is not compiled; name what its `compile()` returns")
    name, label = next((FRAMEWORKS[one] for one in base_classes if one in FRAMEWORKS), ("", ""))
    if not name:
        return None
    try:
        adapter = importlib.import_module(f"voicegw.agents.python.frameworks.{name}")
    except ImportError as error:
        extra = f"pip install 'voicegw[{name.replace('_', '-')}]'"
        raise ConfigError(f"{target} is {label}, but {error}; {extra} brings what is needed") from error

    def adapt(found: Any, options: Mapping[str, Any]) -> Callable[[Turn], AsyncGenerator[Any, None]]:
        try:
            reply: Callable[[Turn], AsyncGenerator[Any, None]] = adapter.adapt(found, options)
        except ConfigError as error:
            raise ConfigError(f"{target} is {label}, but {error}") from error
        return reply

    return adapt


def reject_unknown_options(options: Mapping[str, Any], *known: str) -> None:
    """Raise `ConfigError` for an option that is none of `known`."""
    for option in options:
        if option not in known:
            raise ConfigError(
                f'there is no option "{option}" for it; its options: {", ".join(known) or "none"}'
            )
