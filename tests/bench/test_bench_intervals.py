"""The simulation of intervals, with a third of its tests a row."""

from __future__ import annotations

import pytest
from intervals import covered


@pytest.mark.parametrize("speakers", [5, 12])
def test_an_interval_of_few_speakers_holds_the_truth_as_often_as_it_says(speakers: int) -> None:
    """Of 300 draws, 95 % is 92.5 to 97.5 % in nineteen of twenty; the bootstrap is far below."""
    ours, bootstrap = covered(speakers, sd=0.12, missing=0.2, simulations=300)
    assert 0.92 <= ours <= 0.98
    assert speakers > 5 or bootstrap < 0.88
