"""Which row answers which virtual path."""

from __future__ import annotations

import pytest

from sidecar.formats.registry import KINDS, find


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (".m3u8", "hls.master"),
        ("foo.m3u8", "hls.master"),
        ("a b-c.m3u8", "hls.master"),
        ("b-video=1000.m3u8", "hls.media_playlist"),
        ("b-audio_zh-Hans=1000.m3u8", "hls.media_playlist"),
        ("keyframes/b-video=1000.m3u8", "hls.key_frame_playlist"),
        ("keyframes/b-video=1000-3.m4s", "hls.key_frame"),
        ("hls/b-video=1000.m4s", "hls.init"),
        ("hls/b-video=1000-1.m4s", "hls.segment"),
        ("hls/-video=1000-0.m4s", "hls.segment"),
        ("hls/b-1-video-2=1000-12.m4s", "hls.segment"),
        ("b-audio=64-video=1000.m3u8", "hls.media_playlist"),
        ("b-audio=64-video=1000-1.ts", "hls.ts_segment"),
        ("b-audio_zh-Hans=64-video=1000-1.ts", "hls.ts_segment"),
        ("keyframes/b-video=1000-1.ts", "hls.ts_key_frame"),
        ("b-audio=64-1.aac", "hls.packed_audio"),
        ("b-audio=64-1.ec3", "hls.packed_audio"),
        (".mpd", "dash.mpd"),
        ("any.mpd", "dash.mpd"),
        ("dash/b-video=1000.dash", "dash.init"),
        ("dash/b-video=1000-0.dash", "dash.segment"),
        ("dash/b-video=1000-48000.dash", "dash.segment"),
        ("dash/b-video=1000-1.m4s", "dash.numbered"),
    ],
)
def test_paths_that_are_answered(path: str, name: str) -> None:
    found = find(path)
    assert found is not None
    assert found[0].name == name


@pytest.mark.parametrize(
    "path",
    [
        "hls/",
        "hls/b.m4s",
        "hls/b-video=1000-01.m4s",
        "hls/b-video=1000--1.m4s",
        "hls/b-video=1000-1.m4s/",
        "hls/b-video=1000-1.m4s\n",
        "hls/b-video=1000-1.dash",
        "hls/b-video=1000-\u0661.m4s",
        "hls/b-video=1000-1000000000000000000.m4s",
        "dash/b-video=1000-1.5.dash",
        "dash/b-video=1000-00.dash",
        "hls/b-video=1000-1.tsv",
        "b-audio=64-01.aac",
        "sub/folder.m3u8",
        "sub/folder.mpd",
        "b.m3u8.bak",
        "keyframes/b-video=1000.m4s",
    ],
)
def test_paths_that_nothing_answers(path: str) -> None:
    assert find(path) is None


def test_a_hostile_path_is_refused_in_no_time() -> None:
    assert find("hls/" + "=1-" * 20_000 + "x") is None


def test_names_are_unique() -> None:
    names = [kind.name for kind in KINDS]
    assert len(set(names)) == len(names)
    assert all(kind.name.startswith(f"{kind.format}.") for kind in KINDS)
