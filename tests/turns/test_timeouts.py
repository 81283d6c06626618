"""Timeouts become deadlines."""

from __future__ import annotations

from math import inf

import pytest

from voicegw.turns.timeouts import Timeouts


@pytest.mark.parametrize(
    ("timeouts", "has_output", "deadline"),
    [
        (Timeouts(), False, inf),
        (Timeouts(), True, inf),
        (Timeouts(first_token=2.0), False, 12.0),
        (Timeouts(first_token=2.0), True, inf),
        (Timeouts(idle=3.0), False, inf),
        (Timeouts(idle=3.0), True, 18.0),
        (Timeouts(2.0, 3.0, 60.0), False, 12.0),
        (Timeouts(2.0, 3.0, 6.0), True, 16.0),
        (Timeouts(total=60.0), True, 70.0),
    ],
)
def test_deadline_counts_from_the_request_or_from_the_last_event(
    timeouts: Timeouts, has_output: bool, deadline: float
) -> None:
    assert timeouts.deadline(10.0, has_output, 15.0) == deadline
