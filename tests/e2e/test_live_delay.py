"""Pictures that are reordered more later on: what was served before is what is served then."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.live.model import Fragment
from sidecar.live.parser import StreamParser
from tests.support.f4m import read_manifest
from tests.support.frames import decode
from tests.support.live_media import REORDERED, pushed
from tests.support.live_origin import Origin, opened, pieces
from tests.support.live_players import FORMATS

SOURCE = replace(REORDERED, seconds=14, unlike=7)
KINDS = {
    "transport streams": ("hls", ""),
    "fragmented MP4": ("hls", "hls_fmp4"),
    "DASH": ("dash", ""),
    "Smooth Streaming": ("smooth", ""),
}


def sent() -> list[tuple[float, bytes]]:
    return pieces(pushed(SOURCE))


def test_the_encoder_reorders_more_later_on() -> None:
    least = [
        int(part.samples.composition_offset.min())
        for one in StreamParser().feed(pushed(SOURCE))
        if isinstance(one, Fragment)
        for part in one.tracks
        if part.samples.composition_offset is not None
    ]
    picture = 512
    assert set(least[:7]) == {-picture}
    assert set(least[7:]) == {-2 * picture}


def urls(point: Origin, now: float) -> Iterator[tuple[str, str]]:
    """(format, URL) of all that is listed."""
    for kind, (form, query) in KINDS.items():
        for more in ("", "vbegin=0"):
            given = "&".join(filter(None, (query, more)))
            for one in FORMATS[form](lambda url: point.get(url).body, given):
                yield from ((kind, url) for url in (one.init, *one.urls) if url)
    manifest = read_manifest(point.get(f".f4m?vbegin=0&vend={int(now - 1)}").body)
    for media in manifest.media:
        yield from (("HDS", url) for url in media.fragments())


def grown(point: Origin) -> dict[tuple[str, str], bytes]:
    """All that is listed while it grows, as it was when it was listed first."""
    first: dict[tuple[str, str], bytes] = {}
    for now, piece in sent():
        point.push(piece, now=now)
        if now < 4:
            continue
        for key in urls(point, now):
            if key not in first:
                first[key] = point.get(key[1]).body
    return first


def unordered(point: Origin) -> None:
    """The same, but what began it, and something further on, comes late by another encoder."""
    (_, header), *fragments = sent()
    late = [at for at, (end, _) in enumerate(fragments) if end <= 1.1 or 5.1 < end <= 6.1]
    point.push(header, now=0)
    point.push(header, now=0, encoder="2")
    held: list[tuple[float, bytes]] = []
    for at, (now, piece) in enumerate(fragments):
        if at in late:
            held.append((now, piece))
            continue
        if held and now > held[-1][0] + 1:
            for _, missing in held:
                point.push(missing, now=now, encoder="2")
            held = []
            if now > 6:
                point.drop(encoder="2")
        point.push(piece, now=now)
    assert not held


def test_what_was_served_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is older than some seconds has to be read from the index again.
    monkeypatch.setattr("sidecar.live.kept._MARGIN", 2)
    options = {"archiving": "true", "dvr_window_length": 4}
    with (
        opened(tmp_path / "one", **options) as one,
        opened(tmp_path / "two", **options) as two,
    ):
        first = grown(one)
        assert {kind for kind, _ in first} == {*KINDS, "HDS"}
        unordered(two)
        for kind, url in first:
            assert one.get(url).body == first[kind, url], url
        # Nothing in memory; and another origin.
        one.reopen()
        for kind, url in first:
            assert one.get(url).body == first[kind, url], url
            # Its players have been told that there is nothing before the second fragments: what has
            # sound and pictures stays what it was then.
            if not re.search(r"audio.*video.*-1\.ts|audio.*video.*Frag1$", url):
                assert two.get(url).body == first[kind, url], url
            if not re.search(r"-[0-9]+\.|\(|Frag", url):
                # An init segment of what is long gone from memory.
                path, _, query = url.partition("?")
                for clip in ("vbegin=0&vend=3", "vbegin=9&vend=12"):
                    again = one.get(f"{path}?{'&'.join(filter(None, (query, clip)))}")
                    assert again.body == first[kind, url]
        check_pictures(first, tmp_path)


def check_pictures(first: dict[tuple[str, str], bytes], folder: Path) -> None:
    """That ``first`` has all pictures that were sent, and nothing is wrong with their times."""
    source = folder / "source.mp4"
    source.write_bytes(pushed(SOURCE))
    (expected,) = decode(str(source), "0:v:0", ignore_edits=True)
    for kind in ("transport streams", "fragmented MP4", "DASH"):
        of_kind = [(url, body) for (one, url), body in first.items() if one == kind]
        numbered = [
            (int(found[1]) if (found := re.search(r"-([0-9]+)\.\w+$", url)) else -1, body)
            for url, body in of_kind
            if "video" in url
        ]
        file = folder / "served"
        file.write_bytes(b"".join(body for _, body in sorted(numbered)))
        (frames,) = decode(str(file), "0:v:0")
        assert [frame.hash for frame in frames] == [frame.hash for frame in expected], kind
        assert complaints(file) == "", kind


def complaints(file: Path) -> str:
    """Of a copy of all of it, which goes by decode times."""
    command = ["ffmpeg", "-nostdin", "-v", "warning", "-i", str(file), "-map", "0:v", "-c", "copy"]
    run = subprocess.run([*command, "-f", "framemd5", "-"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    times = [
        (int(dts), int(pts))
        for dts, pts in (line.split(",")[1:3] for line in run.stdout.splitlines() if line[0] != "#")
    ]
    assert all(dts <= pts for dts, pts in times)
    ascending = [dts for dts, _ in times]
    assert ascending == sorted(set(ascending))
    return run.stderr
