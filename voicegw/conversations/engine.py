"""What all calls and requests share: dispatcher, rate limiter, turn log."""

from __future__ import annotations

from dataclasses import dataclass

from voicegw.conversations.dispatcher import Dispatcher
from voicegw.security.rate_limits import RateLimiter
from voicegw.telemetry.turn_log import TurnLog


@dataclass(frozen=True, slots=True)
class TurnEngine:
    """What all calls share."""

    dispatcher: Dispatcher
    rate_limiter: RateLimiter
    turn_log: TurnLog
