"""What a query selects, in HLS: clips, variant sets, trick play."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest

from sidecar.errors import NotFound
from sidecar.media.options import parse_options
from sidecar.media.presentation import Presentation
from sidecar.media.select import select
from sidecar.timeline.clips import clip_of
from tests.support.requests import ask, text
from tests.support.tracks import audio_track, presentation, rendition, video_track

LADDER = presentation(
    rendition(video_track(seconds=30), bitrate=400_000),
    rendition(video_track(seconds=30), bitrate=900_000),
    rendition(video_track(seconds=30), bitrate=2_000_000),
    rendition(audio_track(seconds=30), bitrate=64_000),
)
TRICK = presentation(
    *LADDER.renditions,
    rendition(
        video_track(seconds=30, fps=Fraction(1, 2), all_sync=True), name="trick", bitrate=90_000
    ),
)
KINDS = ("hls_fmp4=true", "hls_client_manifest_version=4", "hls_client_manifest_version=1")


def playlist(path: str, query: str, shown: Presentation = LADDER) -> list[str]:
    options = parse_options({}, query)
    selected = select(shown, options)
    fields = {name: getattr(options, name) for name in options.__slots__}
    answer = ask(shown, path, selected=selected, clip=clip_of(selected, options), **fields)
    return text(answer.plan).splitlines()


def uris(lines: list[str]) -> list[str]:
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("kind", KINDS)
def test_playlists_of_a_clip_list_some_of_the_segments(kind: str) -> None:
    master = playlist(".m3u8", f"{kind}&t=9-13")
    assert all(uri.endswith("vbegin=9&vend=13") for uri in uris(master))
    for uri in uris(master):
        path, _, query = uri.partition("?")
        clip, whole = playlist(path, query), playlist(path, kind)
        listed = uris(clip)
        at = uris(whole).index(listed[0])
        # Segments last 4 s: 9 s lies in the third, 13 s in the fourth.
        assert (at, listed) == (2, uris(whole)[2:4])
        assert "#EXT-X-MEDIA-SEQUENCE:3" in clip
        assert "#EXT-X-ENDLIST" in clip


def test_key_frames_of_a_clip() -> None:
    lines = playlist("keyframes/x-video=400000.m3u8", "hls_fmp4=true&t=9-13")
    assert [re.findall(r"-(\d+)\.m4s", uri) for uri in uris(lines)] == [["5"], ["6"], ["7"]]


def test_a_clip_without_anything_of_a_track() -> None:
    shown = presentation(rendition(video_track(seconds=30)), rendition(audio_track(seconds=5)))
    assert not any("audio" in uri for uri in uris(playlist(".m3u8", "hls_fmp4&t=20", shown)))
    with pytest.raises(NotFound):
        playlist("x-audio=1000.m3u8", "hls_fmp4&t=20", shown)


@pytest.mark.parametrize("kind", KINDS)
def test_variant_sets_order_variants(kind: str) -> None:
    first = "variant_set=systemBitrate==2000000||type!=%22video%22"
    others = "variant_set=systemBitrate!=2000000||type!=%22video%22"
    lines = uris(playlist(".m3u8", f"{kind}&{first}&{others}"))
    order = [found for line in lines for found in re.findall(r"video=(\d+)", line)]
    assert order == ["2000000", "400000", "900000"]
    assert not any("variant_set" in line for line in lines)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_a_sync_sample_track_is_trick_play(kind: str) -> None:
    lines = playlist(".m3u8", kind, TRICK)
    assert not any("trick" in uri for uri in uris(lines))
    streams = [line for line in lines if line.startswith("#EXT-X-I-FRAME-STREAM-INF")]
    assert len(streams) == 1
    found = re.search(r'URI="(keyframes/[^"]*trick=90000\.m3u8)[^"]*"', streams[0])
    assert found is not None
    assert len(uris(playlist(found[1], kind, TRICK))) == 15
    ordinary = playlist(".m3u8", kind)
    assert len([line for line in ordinary if line.startswith("#EXT-X-I-FRAME-STREAM-INF")]) == 3
    assert uris(ordinary) == uris(lines)
