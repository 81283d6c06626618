"""An agent in ten lines: it tells the time. A `str` that is yielded is spoken."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime

from voicegw.events import Event, Turn


async def reply(turn: Turn, polite: bool = False) -> AsyncGenerator[Event, None]:
    if polite:
        yield "Thank you for asking. "
    if "time" in turn.said:
        yield f"It is {datetime.now():%H:%M}."
    else:
        yield "Ask me for the time."
