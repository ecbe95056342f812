"""The benchmark of scale generates records that the verbs take; its figures are not for a test."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import scale


@pytest.mark.slow
def test_generated_records_come_out_of_parts_as_out_of_one_run(tmp_path: Path) -> None:
    """The script compares the merger with the file of one run."""
    costs = dict(islice(scale.record_path(tmp_path, 200), 3))
    assert list(costs) == ["manifest", "manifest --part 4/4", "parts --of 4 --merge"]
    assert all(cost.cpu > 0 and 10 < cost.own < 500 for cost in costs.values())
