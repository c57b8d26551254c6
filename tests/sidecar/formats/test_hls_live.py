"""What playlists say of a presentation that grows: nothing that may turn out otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.live_feed import LADDER, Feed, audio

INDEPENDENT = "#EXT-X-INDEPENDENT-SEGMENTS"
PICTURES = ("ch-video=400000.m3u8", "ch-audio_eng=128000-video=400000.m3u8", ".m3u8")
SOUND = "ch-audio_eng=128000.m3u8"


def test_segments_are_independent_until_a_group_is_open(tmp_path: Path) -> None:
    feed = Feed(tmp_path, LADDER, dvr_window_length=10)
    feed.push(*range(20))

    def check(said: bool) -> None:
        for one in PICTURES:
            assert (INDEPENDENT in feed.body(one).decode()) == said
        assert INDEPENDENT in feed.body(SOUND).decode()
        assert ('startWithSAP="3"' in feed.body(".mpd").decode()) != said

    check(True)
    feed.push(20, leading=True)
    feed.push(21, 22)
    check(False)
    # What was said does not come back when the open one is gone.
    feed.push(*range(23, 80))
    feed.lose(40)
    check(False)
    feed.stop()
    check(False)


def test_radio_is_independent(tmp_path: Path) -> None:
    feed = Feed(tmp_path, (audio(1, 128_000),))
    feed.push(*range(20))
    for one in (".m3u8", SOUND):
        assert INDEPENDENT in feed.body(one).decode()


@pytest.mark.parametrize(("query", "target"), [("", 2), ("hls_minimum_fragment_length=6", 6)])
def test_all_playlists_have_one_target(tmp_path: Path, query: str, target: int) -> None:
    feed = Feed(tmp_path, LADDER)
    feed.push(*range(20))

    def check() -> None:
        for one in (*PICTURES[:2], SOUND):
            assert f"#EXT-X-TARGETDURATION:{target}\n" in feed.body(one, query).decode()

    check()
    feed.push(20)
    check()
    feed.stop()
    check()
