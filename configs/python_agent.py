"""An agent in ten lines that tells the time. The gateway speaks every `str` that it yields."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime

from voicegw.events import Event, Turn


async def reply(turn: Turn, polite: bool = False) -> AsyncGenerator[Event, None]:
    """Answer one turn. `polite` comes from `options` in the configuration."""
    if polite:
        yield "Thank you for asking. "
    if "time" in turn.said:
        yield f"It is {datetime.now():%H:%M}."
    else:
        yield "Ask me for the time."
