"""Publishing points that tests of live formats ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sidecar.live.model import IncomingTrack
from tests.support.live_feed import LADDER, SINCE_1970, Feed


@pytest.fixture
def ladder() -> Sequence[IncomingTrack]:
    """The tracks of ``feed`` and ``dated``."""
    return LADDER


@pytest.fixture
def feed(tmp_path: Path, ladder: Sequence[IncomingTrack]) -> Feed:
    """A point that has received nothing."""
    return Feed(tmp_path, ladder)


@pytest.fixture
def dated(tmp_path: Path, ladder: Sequence[IncomingTrack]) -> Feed:
    """Times since 1970, and a hole: fragments 10 and 11."""
    made = Feed(tmp_path, ladder, begin=SINCE_1970, epoch_ms=0)
    made.push(*range(10), *range(12, 20))
    return made
