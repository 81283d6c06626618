"""The parts that serve turns and that all calls and requests share. It holds no logic."""

from __future__ import annotations

from dataclasses import dataclass

from voicegw.conversations.dispatcher import Dispatcher
from voicegw.security.rate_limits import RateLimiter
from voicegw.telemetry.turn_log import TurnLog


@dataclass(frozen=True, slots=True)
class TurnEngine:
    """The three parts that every call shares, handed on together."""

    dispatcher: Dispatcher
    """Finds or starts the run of each turn."""
    rate_limiter: RateLimiter
    """Limits the turns of each key and of the process."""
    turn_log: TurnLog
    """Writes the access log and counts the metrics."""
