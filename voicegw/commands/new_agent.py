"""`voicegw new-agent`: writes a commented agent in Python to start from. It does not load or run it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path

from voicegw.errors import ConfigError

TEMPLATE = '''"""An agent for voicegw. Write this into a file voicegw.toml beside it:

    [agents.{name}]
    kind = "python"
    target = "{name}:reply"

Try the agent with `voicegw doctor voicegw.toml`, and serve it with `voicegw serve --config voicegw.toml`.
"""

import asyncio
from collections.abc import AsyncGenerator

from voicegw.events import Activity, Event, Turn


async def reply(turn: Turn) -> AsyncGenerator[Event, None]:
    """Answer one turn. Yield words as soon as you have them: each piece is spoken at once.

    `turn.said` is the last message of the caller, and `turn.messages` is the whole conversation.
    `turn.call` is the id of the call, None if there is none. `turn.language` is the caller's language.
    `turn.heard` is the part of your last answer that the caller heard, None if that was all of it.

    All calls share one event loop, so `await` everything that takes long. If you cannot, write a plain
    `def reply(turn)` with `yield` or `return` instead: each of its turns runs in a thread.
    """
    try:
        if "weather" in turn.said.lower():
            yield Activity("looking at the sky")  # shows that you work; it is never spoken
            await asyncio.sleep(1.0)  # a tool, a database, a model
            yield "It is sunny, "
        yield f"and you said: {{turn.said}}"
    finally:
        pass  # also runs when the caller interrupts: stop your remote work here


# An object or a class with `reply` works as well. It may have these methods, too:
#
#   async def warm(self, call): ...         a call begins; with None, the gateway starts
#   async def call_ended(self, call): ...   the call has ended
#   async def aclose(self): ...             the gateway stops
#
# Yield a ToolCall to call a tool that the platform offers in `turn.tools`:
#   yield ToolCall("call_1", "end_call", '{{"reason": "done"}}')
'''


def write_agent(path: Path) -> str:
    """Write the agent to a new file; return what the operator does next.

    Raises ConfigError if Python cannot import the file's name, if a module of that name exists, or if the
    file exists or cannot be written.
    """
    name = path.stem
    if path.suffix != ".py" or not name.isidentifier() or iskeyword(name):
        raise ConfigError(f"{path}: the file name must be one that Python can import, such as my_agent.py")
    if not path.exists() and (name in sys.modules or find_spec(name)):
        raise ConfigError(
            f"{path}: a module of this name exists already; take another name, such as my_agent.py"
        )
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE.format(name=name))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return (
        f"Wrote the agent {path}. Put this into a file voicegw.toml beside it:\n\n"
        f'[agents.{name}]\nkind = "python"\ntarget = "{name}:reply"\n\n'
        f"Then try it: voicegw doctor {path.with_name('voicegw.toml')}"
    )
