"""What all calls and requests share: dispatcher, rate limiter, turn log."""

from __future__ import annotations

from dataclasses import dataclass

from voicegw.conversations.dispatcher import Switchboard
from voicegw.security.rate_limits import Limits
from voicegw.telemetry.turn_log import Journal


@dataclass(frozen=True, slots=True)
class House:
    """What all calls share."""

    switchboard: Switchboard
    limits: Limits
    journal: Journal
