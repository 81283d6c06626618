"""What a framework's object is told by: the names of its classes and of where they come from.

Nothing is imported to find out, so that a framework which is not installed costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from voicegw.errors import ConfigError
from voicegw.events import Turn

Adapt = Callable[[Any, Mapping[str, Any]], Callable[[Turn], AsyncGenerator[Any, None]]]

FRAMEWORKS = {
    ("langgraph", "Pregel"): ("langgraph", "a LangGraph graph"),
    ("pydantic_ai", "AbstractAgent"): ("pydantic_ai", "an agent of Pydantic AI"),
    ("agents.agent", "Agent"): ("openai_agents", "an agent of the OpenAI Agents SDK"),
    ("langchain_core", "Runnable"): ("langchain", "a LangChain runnable"),
}
"""Package and class, and which of our modules adapts it. The most special class of an object decides.

Many a project has a package `agents` of its own: there the module counts too.
"""


def detect_framework(target: str, found: object) -> Adapt | None:
    """What makes an agent of `found`, None if it is of no framework that we know.

    Raises `ConfigError` when it is, but cannot be used.
    """
    kin = [
        (place, cls.__name__)
        for cls in type(found).__mro__
        for place in (cls.__module__, cls.__module__.partition(".")[0])
    ]
    if ("langgraph", "StateGraph") in kin:
        raise ConfigError(f"{target} is a graph that is not compiled; name what its `compile()` returns")
    name, what = next((FRAMEWORKS[one] for one in kin if one in FRAMEWORKS), ("", ""))
    if not name:
        return None
    try:
        adapter = importlib.import_module(f"voicegw.agents.python.frameworks.{name}")
    except ImportError as error:
        extra = f"pip install 'voicegw[{name.replace('_', '-')}]'"
        raise ConfigError(f"{target} is {what}, but {error}; {extra} brings what is needed") from error

    def adapt(found: Any, options: Mapping[str, Any]) -> Callable[[Turn], AsyncGenerator[Any, None]]:
        try:
            replying: Callable[[Turn], AsyncGenerator[Any, None]] = adapter.adapt(found, options)
        except ConfigError as error:
            raise ConfigError(f"{target} is {what}, but {error}") from error
        return replying

    return adapt


def only(options: Mapping[str, Any], *known: str) -> None:
    """Raises `ConfigError` for an option that an adapter does not know."""
    for option in options:
        if option not in known:
            raise ConfigError(
                f'there is no option "{option}" for it; its options: {", ".join(known) or "none"}'
            )
