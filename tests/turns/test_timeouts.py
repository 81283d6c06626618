"""Patience: when it ends."""

from __future__ import annotations

from math import inf

import pytest

from voicegw.turns.timeouts import Patience


@pytest.mark.parametrize(
    ("patience", "useful", "until"),
    [
        (Patience(), False, inf),
        (Patience(), True, inf),
        (Patience(first_token=2.0), False, 12.0),
        (Patience(first_token=2.0), True, inf),
        (Patience(idle=3.0), False, inf),
        (Patience(idle=3.0), True, 18.0),
        (Patience(2.0, 3.0, 60.0), False, 12.0),
        (Patience(2.0, 3.0, 6.0), True, 16.0),
        (Patience(total=60.0), True, 70.0),
    ],
)
def test_patience_is_counted_from_the_question_or_from_the_last_sign_of_life(
    patience: Patience, useful: bool, until: float
) -> None:
    assert patience.until(10.0, useful, 15.0) == until
