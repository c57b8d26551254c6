"""Child URLs carry those parameters of a manifest's query that change what is behind them, and no
others: caches keep one copy of each segment."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any
from urllib.parse import unquote

import pytest

from sidecar.formats.spec import Answer
from sidecar.media.index import index_media
from sidecar.media.options import Options, parse_options
from sidecar.media.presentation import Presentation
from tests.support import requests
from tests.support.flv_tracks import aac_track, avc_track
from tests.support.memory_source import MemorySource
from tests.support.requests import text
from tests.support.tracks import presentation, rendition

# Of all formats, and some more that concern manifests only.
LENGTHS = {"hls": "hls", "dash": "mpd", "smooth": "iss", "hds": "hds"}
OTHERS = "max_bitrate=9000000&mpd_min_buffer_time=4&hls_no_audio_only&session=5&fixed_gop"
QUERY = "&".join(f"{name}_minimum_fragment_length=6" for name in LENGTHS.values()) + f"&{OTHERS}"


def film() -> Presentation:
    subtitles = MemorySource(b"WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n", "/media/a.vtt")
    (cues,) = index_media(subtitles).tracks
    return presentation(
        rendition(avc_track(seconds=20), bitrate=1_000_000),
        rendition(aac_track(seconds=20), bitrate=64_000),
        rendition(cues),
    )


def ask(path: str, query: str = QUERY) -> Answer:
    options = parse_options({}, query)
    given: dict[str, Any] = {one.name: getattr(options, one.name) for one in fields(Options)}
    return requests.ask(film(), path, **given)


def queries(body: str) -> set[str]:
    return set(re.findall(r"\?([^<\"\s]+)(?=[\"\s<])", body.partition("?>")[2] or body))


@pytest.mark.parametrize(
    ("manifest", "name"),
    [(".mpd", "dash"), ("Manifest", "smooth"), (".f4m", "hds"), ("x-video=1000000.m3u8", "hls"),
     ("x-audio=64000.m3u8", "hls"), ("x-audio=64000-video=1000000.m3u8", "hls"),
     ("x-textstream=1000.m3u8", "hls")],
)  # fmt: skip
def test_segments_carry_the_length_of_their_format_only(manifest: str, name: str) -> None:
    assert queries(text(ask(manifest).plan)) == {f"{LENGTHS[name]}_minimum_fragment_length=6"}
    others = "&".join(part for part in QUERY.split("&") if not part.startswith(LENGTHS[name]))
    assert queries(text(ask(manifest, others).plan)) == set()


@pytest.mark.parametrize(
    "path",
    [
        "hls/x-video=1000000-1.m4s",
        "x-audio=64000-1.aac",
        "x-textstream=1000-1.webvtt",
        "dash/x-video=1000000-0.dash",
        "dash/x-video=1000000-1.m4s",
        "QualityLevels(1000000)/Fragments(video=0)",
        "x-audio=64000-video=1000000-Seg1-Frag1",
    ],
)
def test_the_next_segment_is_asked_for_as_manifests_do(path: str) -> None:
    found = requests.find(path)
    assert found is not None
    ((_, link),) = ask(path).plan.headers
    assert queries(f"{link[1:].partition('>')[0]} ") == {
        f"{LENGTHS[found[0].format]}_minimum_fragment_length=6"
    }


def test_what_does_not_depend_on_the_length_does_not_carry_it() -> None:
    """Init segments, single key frames, and the playlists of these."""
    master = text(ask(".m3u8", f"{QUERY}&hls_fmp4&vend=12").plan)
    (key_frames,) = re.findall(r'URI="(keyframes/[^"]*)"', master)
    assert key_frames.partition("?")[2] == "hls_fmp4=true&vend=12"
    playlist = text(ask("x-video=1000000.m3u8", f"{QUERY}&hls_fmp4").plan)
    assert 'URI="hls/video-video=1000000.m4s"' in playlist
    playlist = text(ask(unquote(key_frames.partition("?")[0]), f"{QUERY}&hls_fmp4").plan)
    assert "?" not in playlist
    assert "?" not in ask("keyframes/x-video=1000000-1.m4s").plan.headers[0][1]
    assert "?" not in ask("dash/keyframes/x-video=1000000-0.dash").plan.headers[0][1]
    root = text(ask(".mpd").plan)
    assert re.findall(r'initialization="[^"]*?(\?.*?)?"', root) == ["", "", "", ""]
    (trick_play,) = re.findall(r'media="keyframes/[^"]*"', root)
    assert "?" not in trick_play


def test_playlists_carry_the_clip_and_the_kind_of_hls() -> None:
    master = text(ask(".m3u8", f"{QUERY}&hls_fmp4&vbegin=2&vend=12").plan)
    found = {line.partition("?")[2] for line in master.splitlines() if not line.startswith("#")}
    carried = "hls_minimum_fragment_length=6&hls_fmp4=true&vbegin=2&vend=12"
    assert found == {"", carried}
