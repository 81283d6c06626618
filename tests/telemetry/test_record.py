"""The record of a turn that has ended."""

from __future__ import annotations

import pytest

from voicegw.telemetry.record import TurnRecord
from voicegw.turns.timings import TurnTimings


@pytest.mark.parametrize(
    ("requested_at", "first_token_at", "seconds"),
    [(1.0, 1.5, 0.5), (None, 1.5, None), (1.0, None, None), (None, None, None)],
)
def test_agent_s_share_is_known_once_the_agent_was_asked_and_answered(
    requested_at: float | None, first_token_at: float | None, seconds: float | None
) -> None:
    turn = TurnRecord("desk", "answered", TurnTimings(0.0), requested_at, first_token_at, {}, {})
    assert turn.agent_seconds == seconds
