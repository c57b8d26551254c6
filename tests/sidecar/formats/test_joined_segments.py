"""Init and segments, joined without a server, decode to the source's frames at the same times."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from lxml import etree

from sidecar.media.build import presentation_from_media
from sidecar.media.index import index_media
from sidecar.media.presentation import Presentation
from sidecar.media.track import Kind
from sidecar.storage.local import open_local
from tests.support.frames import decode, dropped
from tests.support.isobmff import boxes
from tests.support.media import generated
from tests.support.plans import body
from tests.support.requests import ask, text

NS = {"m": "urn:mpeg:dash:schema:mpd:2011"}


def opened(path: Path) -> Presentation:
    source = open_local(str(path))
    try:
        return presentation_from_media("clip", index_media(source))
    finally:
        source.close()


def hls_urls(shown: Presentation, selector: str) -> list[str]:
    playlist = text(ask(shown, f"clip-{selector}.m3u8", hls_fmp4=True).plan)
    init = re.findall(r'#EXT-X-MAP:URI="([^"]+)"', playlist)
    return [unquote(url) for url in init + re.findall(r"^[^#\n].*$", playlist, re.MULTILINE)]


def dash_urls(shown: Presentation, selector: str) -> list[str]:
    root = etree.fromstring(text(ask(shown, ".mpd").plan).encode())
    for adaptation_set in root.iterfind(".//m:AdaptationSet", NS):
        for representation in adaptation_set.iterfind("m:Representation", NS):
            if unquote(representation.get("id", "")) != selector:
                continue
            template = next(adaptation_set.iterfind(".//m:SegmentTemplate", NS))
            named = template.get("media", "").replace("$RepresentationID$", selector)
            init = template.get("initialization", "").replace("$RepresentationID$", selector)
            urls, time = [init], 0
            for entry in template.iterfind("m:SegmentTimeline/m:S", NS):
                time = int(entry.get("t", time))
                for _ in range(int(entry.get("r", "0")) + 1):
                    urls.append(named.replace("$Time$", str(time)))
                    time += int(entry.get("d", ""))
            return [f"dash/{url}" for url in urls]
    raise AssertionError(f"{selector} is not in the MPD")


@pytest.mark.parametrize(
    "file",
    [
        "bframes_closed.mp4",
        "bframes_open.mp4",
        "variable_rate.mp4",
        "frag_sidx.mp4",
        "frag_partial.mp4",
        "two_audio.mp4",
    ],
)
def test_joined_segments_are_the_source(file: str, tmp_path: Path) -> None:
    path = generated(file)
    shown = opened(path)
    audio = 0
    for rendition in shown.renditions:
        # Audio tracks of different bitrates: the n-th in the file is the n-th by track number.
        stream = "0:v:0"
        if rendition.kind is Kind.AUDIO:
            numbers = sorted(r.track.track_id for r in shown.of_kind(Kind.AUDIO))
            stream = f"0:a:{numbers.index(rendition.track.track_id)}"
            audio += 1
        (wanted,) = decode(str(path), stream)
        for urls in (hls_urls, dash_urls):
            joined = tmp_path / f"{rendition.name}-{urls.__name__}.mp4"
            joined.write_bytes(
                b"".join(body(ask(shown, url).plan) for url in urls(shown, rendition.selector))
            )
            list(boxes(joined.read_bytes()))
            # In a fragmented file ffmpeg shows priming too, at times before 0.
            found = [frame for frame in decode(str(joined), "0:0")[0] if frame.time >= 0]
            left_out, _ = dropped(wanted, found)
            shift = {a.time - b.time for a, b in zip(found, wanted[left_out:], strict=False)}
            spread = max(shift) - min(shift)
            assert spread <= 0.0001, f"times drift: {shift}"
            assert abs(max(shift, key=abs)) <= 0.0015, "as far as the source's edit lists say"
    assert audio >= 1


def test_key_frames_are_those_pictures(tmp_path: Path) -> None:
    path = generated("bframes_open.mp4")
    shown = opened(path)
    (video,) = shown.of_kind(Kind.VIDEO)
    playlist = text(ask(shown, f"keyframes/clip-{video.selector}.m3u8", hls_fmp4=True).plan)
    names = re.findall(r"^[^#\n].*$", playlist, re.MULTILINE)
    init = body(ask(shown, f"hls/clip-{video.selector}.m4s").plan)
    joined = tmp_path / "keyframes.mp4"
    joined.write_bytes(
        init + b"".join(body(ask(shown, f"keyframes/{unquote(name)}").plan) for name in names)
    )
    (found,) = decode(str(joined), "0:0")
    (every,) = decode(str(path), "0:v:0")
    assert len(found) == len(names) == 5
    by_time = {frame.time: frame.hash for frame in every}
    for frame in found:
        near = min(by_time, key=lambda time: abs(time - frame.time))
        assert abs(near - frame.time) < 0.0015
        assert by_time[near] == frame.hash
