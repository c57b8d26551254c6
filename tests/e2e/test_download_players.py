"""The browser's own player plays and seeks in downloads."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.browser import Job, missing, play
from tests.support.media import FRAME_RATE
from tests.support.stack import Stack

pytestmark = pytest.mark.browser

# The frame on screen at time 0.
FILES = {
    "/bframes_closed.mp4": 0,
    "/bframes_closed.mp4?start=2": 50,
    "/ladder.ism/download.mp4": 0,
    "/frag_piff.ism/download.mp4": 0,
}


@pytest.fixture(scope="module")
def reports(stack: Stack) -> dict[str, dict[str, Any]]:
    """Every file played in one browser."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    jobs = [Job(player="file", url=stack.base + path) for path in FILES]
    return dict(zip(FILES, play(jobs), strict=True))


@pytest.mark.parametrize("path", FILES)
def test_plays_seeks_and_shows_the_right_pictures(
    reports: dict[str, dict[str, Any]], path: str
) -> None:
    report = reports[path]
    assert not report["failed"], "\n".join(report["failed"])
    assert report["errors"] == []
    assert report["ended"]
    assert len(report["seeks"]) == 2
    assert abs(report["end"] - report["duration"]) < 0.1
    for time, number in report["stills"]:
        late = time * FRAME_RATE - (number - FILES[path])
        assert 0 <= late < 1, f"paused at {time}: picture {number}"
