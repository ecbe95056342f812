"""Loading from the hub is quiet."""

from __future__ import annotations

import logging

import pytest

from lanser_cli.models.hub import loading


def test_tries_that_are_made_again_are_silent(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.utils import logging as of_hub

    library = logging.getLogger("huggingface_hub")
    monkeypatch.setattr(library, "propagate", True)
    of_hub.set_verbosity_warning()
    logger = of_hub.get_logger("huggingface_hub.utils._http")
    logger.warning("Retrying in 1s [Retry 1/5].")
    with loading("x", ""):
        logger.warning("Retrying in 2s [Retry 2/5].")
    assert [record.getMessage() for record in caplog.records] == ["Retrying in 1s [Retry 1/5]."]
