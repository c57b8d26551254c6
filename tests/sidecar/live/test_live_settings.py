"""What options of a publishing point amount to."""

from __future__ import annotations

from fractions import Fraction

from sidecar.live.settings import ArchiveSync, PointSettings, point_settings
from sidecar.media.options import parse_options


def settings(**head: object) -> PointSettings:
    return point_settings(parse_options({name: str(text) for name, text in head.items()}, ""))


def test_a_point_that_says_nothing_is_pure_live() -> None:
    found = settings()
    assert (found.window, found.kept) == (30, 90)
    assert found.file_length == Fraction(90, 8)
    assert found.grace == 10
    assert found.sync is ArchiveSync.SEGMENT
    assert not found.restart


def test_without_an_archive_the_window_stays() -> None:
    found = settings(dvr_window_length=7200, archive_length=86400, time_shift=120)
    assert found.kept == 7200 + 120 + 60
    assert found.file_length == Fraction(7380, 8)
    assert settings(dvr_window_length=2).grace == 2
    assert settings(archive_segment_length=300).file_length == 300


def test_an_archive_keeps_what_it_says() -> None:
    assert settings(archiving=1).kept is None
    assert settings(archiving=1).file_length == 0
    found = settings(archiving=1, archive_length=3600, archive_segment_length=600)
    assert (found.kept, found.file_length) == (3660, 600)
    assert settings(archiving=1, archive_length=86400).file_length == 3600
    # What manifests list can be fetched, whatever the archive says.
    assert settings(archiving=1, archive_length=60, dvr_window_length=600).kept == 660


def test_how_much_a_power_cut_costs() -> None:
    modes = [settings(archive_sync=one).sync.synchronous for one in ("none", "segment", "fragment")]
    assert modes == ["OFF", "NORMAL", "FULL"]
