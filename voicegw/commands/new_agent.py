"""The starting point that `voicegw new-agent` writes: an agent in Python, with everything that it may do."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path

from voicegw.errors import ConfigError

SOURCE = '''"""An agent for voicegw. Start it with a file voicegw.toml beside this one:

    [agents.{name}]
    kind = "python"
    target = "{name}:reply"

and `voicegw serve --config voicegw.toml`; `voicegw doctor voicegw.toml` tries it first.
"""

import asyncio
from collections.abc import AsyncGenerator

from voicegw.events import Activity, Event, Turn


async def reply(turn: Turn) -> AsyncGenerator[Event, None]:
    """Answer one turn: yield words as soon as you have them, every piece is spoken at once.

    `turn.said` is what the caller said last, `turn.messages` the whole conversation, `turn.call` the id of
    the call, None if it has none, `turn.language` the caller's, `turn.heard` what they heard of your last
    answer if they interrupted it. All calls share one event loop: `await` what takes long. Where you cannot,
    write a plain `def reply(turn)` with `yield` or `return`: each turn of it has a thread of its own.
    """
    try:
        if "weather" in turn.said.lower():
            yield Activity("looking at the sky")  # never spoken; tells that you are at work
            await asyncio.sleep(1.0)  # a tool, a database, a model
            yield "It is sunny, "
        yield f"and you said: {{turn.said}}"
    finally:
        pass  # reached when the caller interrupts, too: tell a remote side to stop here


# What may follow, if you need it. An object or a class with these methods does as well:
#
#   async def warm(self, call): ...    a call began, or, with None, the gateway started
#   async def call_ended(self, call): ...   the call is over
#   async def aclose(self): ...        the gateway stops
#
# A tool that the platform offers (`turn.tools`) is called by
#   yield ToolCall("call_1", "end_call", '{{"reason": "done"}}')
'''


def write_agent(path: Path) -> str:
    """Write the starting point to a new file; gives what to do next. Raises `ConfigError`."""
    name = path.stem
    if path.suffix != ".py" or not name.isidentifier() or iskeyword(name):
        raise ConfigError(f"{path}: the name must be one that Python can import, such as my_agent.py")
    if not path.exists() and (name in sys.modules or find_spec(name)):
        raise ConfigError(
            f"{path}: there is a module of this name already; take another, such as my_agent.py"
        )
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(SOURCE.format(name=name))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return (
        f"{path} is an agent. Put this into a file voicegw.toml beside it:\n\n"
        f'[agents.{name}]\nkind = "python"\ntarget = "{name}:reply"\n\n'
        f"then: voicegw doctor {path.with_name('voicegw.toml')}"
    )
