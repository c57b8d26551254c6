"""Fragments that begin a little before or behind the end of those before: what was served of these,
and what was said of them, stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from lxml import etree
from yt_dlp.downloader.f4m import read_bootstrap_info

from sidecar.live.model import Fragment
from sidecar.live.parser import StreamParser
from tests.support.f4m import NS
from tests.support.jitter import moved
from tests.support.live_media import CMAF, SMOOTH, Encoding, pushed
from tests.support.live_origin import Origin, opened, pieces, without_end
from tests.support.live_players import FORMATS, Get

MUXED = Encoding(form="mp4", flags="frag_keyframe+empty_moov+default_base_moof", seconds=8)
ENCODINGS = {
    "muxed": MUXED,
    "smooth": replace(SMOOTH, seconds=8),
    "negative offsets": replace(CMAF, seconds=8),
    "milliseconds": replace(MUXED, more=("-video_track_timescale", "1000", "-r", "30")),
    "open groups": replace(
        MUXED,
        more=(
            "-x264-params",
            "keyint=24:min-keyint=24:scenecut=0:b-adapt=0:bframes=2:open-gop=1",
        ),
    ),
    "chunks": replace(MUXED, flags=MUXED.flags, more=("-frag_duration", "200000")),
    "no reordering": replace(MUXED, more=("-bf", "0")),
}
# By how much fragments are late: in ticks, and in parts of a sample. Two that follow each other are
# never half a sample apart: of chunks, no other could be decoded then.
_SOME = (
    *((1, 0), (-2, 0), (3, 0), (0, Fraction(1, 4)), (0, Fraction(-1, 5))),
    *((0, 0), (-3, 0), (0, Fraction(-2, 5)), (2, 0)),
)


def either_way(number: int, sample: int) -> int:
    late, part = _SOME[number % len(_SOME)]
    return late + int(sample * part)


# What is wrong with the time of a fragment, ticks: of its number and the length of its samples.
Jitter = Callable[[int, int], int]
CLOCKS: dict[str, Jitter] = {
    "slower": lambda number, sample: 3 * number,
    "faster": lambda number, sample: -3 * number,
    "loses some": lambda number, sample: 3 * sample * (number // 3),
    "right": lambda number, sample: 0,
}


def jittered(data: bytes, jitter: Jitter) -> list[tuple[float, bytes]]:
    """``pieces`` of ``data``, the fragments of each track but the first moved by ``jitter``."""
    seen: Counter[int] = Counter()
    found = []
    parser = StreamParser()
    for seconds, piece in pieces(data):
        later = {}
        for fragment in parser.feed(piece):
            if not isinstance(fragment, Fragment):
                continue
            for one in fragment.tracks:
                at = seen[one.track_ID]
                seen[one.track_ID] += 1
                sample = int(one.samples.duration[0])
                later[one.track_ID] = jitter(at + one.track_ID, sample) if at else 0
        found.append((seconds, moved(piece, later)))
    return found


# (format, URL) -> what is said of the segment.
Said = dict[tuple[str, str], tuple[object, ...]]


def hds(get: Get, query: str) -> Iterator[tuple[str, tuple[object, ...]]]:
    root = etree.fromstring(get(f".f4m?{query}"))
    urls = {node.get("id"): node.get("url", "") for node in root.findall("f:bootstrapInfo", NS)}
    for media in root.findall("f:media", NS):
        info = read_bootstrap_info(get(urls[media.get("bootstrapInfoId")]))
        (table,) = info["fragments"]
        count = info["segments"][0]["segment_run"][-1][1]
        entries = [one for one in table["fragments"] if one["first"]]
        begin = entries[0]["first"]
        for number in range(begin, begin + count):
            run = next(one for one in reversed(entries) if one["first"] <= number)
            time = run["ts"] + (number - run["first"]) * run["duration"]
            path, mark, rest = media.get("url", "").partition("?")
            yield (
                f"{path}Seg1-Frag{number}{mark}{rest}",
                (time, run["duration"], not run["duration"]),
            )


# Format, query, manifest.
_KINDS = (
    ("hls", "", ".m3u8"),
    ("hls", "hls_fmp4", ".m3u8"),
    ("dash", "", ".mpd"),
    ("smooth", "", "Manifest"),
)


def listed(point: Origin, more: str = "") -> Said:
    """What is said of each segment, in the formats that list any yet."""

    def get(url: str) -> bytes:
        return point.get(url).body

    found: Said = {}
    for kind, query, manifest in _KINDS:
        if point.ask(manifest).status != 200:
            continue
        for one in FORMATS[kind](get, "&".join(filter(None, (query, more)))):
            number = one.sequence
            for segment in one.segments:
                said = (number, segment.time, segment.duration, segment.gap)
                found[f"{kind} {query}", segment.url] = said
                if number is not None:
                    number += 1
    if point.ask(".f4m").status == 200:
        for url, said in hds(get, more):
            found["hds", url] = said
    return found


def without_query(said: Said) -> Said:
    return {(kind, url.partition("?")[0]): one for (kind, url), one in said.items()}


def batched(sent: list[tuple[float, bytes]]) -> Iterator[list[tuple[float, bytes]]]:
    """In pairs."""
    for at in range(0, len(sent), 2):
        yield sent[at : at + 2]


class Player:
    """Fetches what is listed as soon as it is. ``changes``: what did not stay."""

    def __init__(self, point: Origin) -> None:
        self.point = point
        self.said: Said = {}
        self.bodies: dict[str, bytes] = {}
        self.changes: list[object] = []

    def look(self) -> None:
        for key, said in listed(self.point).items():
            if self.said.setdefault(key, said) != said:
                self.changes.append((key, self.said[key], said))
            url, is_gap = key[1], said[-1]
            if url not in self.bodies and not is_gap:
                self.bodies[url] = self.point.get(url).body

    def compare(self) -> None:
        """Everything once more, from the archive too."""
        for url, data in self.bodies.items():
            if self.point.get(url).body != data:
                self.changes.append(url)
        archive = without_query(listed(self.point, "vbegin=0"))
        for key, said in without_query(self.said).items():
            if archive[key] != said:
                self.changes.append((key, said, archive[key]))


def check(encoding: Encoding, jitter: Jitter, folder: Path, lost: Container[int] = ()) -> None:
    with opened(folder, archiving="true", dvr_window_length=60) as point:
        player = Player(point)
        for at, (seconds, piece) in enumerate(jittered(without_end(pushed(encoding)), jitter)):
            if at not in lost:
                point.push(piece, now=seconds)
            player.look()
        assert {kind for kind, _ in player.said} == {"hds", *(" ".join(one[:2]) for one in _KINDS)}
        assert len(player.bodies) > 40
        player.compare()
        point.reopen()
        player.look()
        player.compare()
        assert player.changes == []


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_was_served_stays(encoding: str, tmp_path: Path) -> None:
    check(ENCODINGS[encoding], either_way, tmp_path / "media")


@pytest.mark.parametrize("clock", CLOCKS)
def test_clocks_of_encoders(clock: str, tmp_path: Path) -> None:
    check(ENCODINGS["open groups"], CLOCKS[clock], tmp_path / "media")


@pytest.mark.parametrize("encoding", ["muxed", "smooth", "chunks"])
def test_what_is_lost(encoding: str, tmp_path: Path) -> None:
    lost = {"muxed": (3, 6), "smooth": (5, 8, 9), "chunks": (9, 16, 17, 23)}[encoding]
    check(ENCODINGS[encoding], either_way, tmp_path / "media", lost)


def test_two_encoders_whose_clocks_differ(tmp_path: Path) -> None:
    """Each of them is away now and then."""
    data = without_end(pushed(ENCODINGS["muxed"]))
    sent = [jittered(data, either_way), jittered(data, lambda number, sample: -sample // 5)]
    with opened(tmp_path / "media", archiving="true", dvr_window_length=60) as point:
        player = Player(point)
        for at, (one, other) in enumerate(zip(*sent, strict=True)):
            for encoder, (seconds, piece) in (("1", one), ("2", other)):
                if not at or at % 3 != int(encoder):
                    point.push(piece, encoder=encoder, now=seconds)
            player.look()
        player.compare()
        assert player.changes == []
        listing = FORMATS["hls"](lambda url: point.get(url).body, "")[0]
        assert len(listing.segments) == 8
        assert not any(one.gap for one in listing.segments)


def test_origins_that_are_fed_the_same_serve_the_same(tmp_path: Path) -> None:
    """Fragments of picture and sound come in another order to the other one."""
    header, *sent = jittered(without_end(pushed(ENCODINGS["smooth"])), either_way)
    first, rest = sent[:2], sent[2:]
    swapped = [one for pair in batched(rest) for one in reversed(pair)]
    found = []
    for name, order in (("one", rest), ("other", swapped)):
        with opened(tmp_path / name, archiving="true", dvr_window_length=60) as point:
            player = Player(point)
            for seconds, piece in (header, *first, *order):
                point.push(piece, now=seconds)
                player.look()
            player.look()
            assert player.changes == []
            found.append((player.said, player.bodies))
    assert len(found[0][0]) > 40
    assert found[0] == found[1]
