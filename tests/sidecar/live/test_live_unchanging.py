"""Encoders that stall, lag and leave holes: what players have been told of stays as it was."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from sidecar.live import kept
from sidecar.service import live
from tests.kill.sent import Sent, encoded
from tests.support.live_origin import Origin, opened
from tests.support.live_players import FORMATS

# Seconds; fragments have half a second.
LENGTH = 24
PER_SECOND = 2
WATCHED = (("hls", "hls_fmp4"), ("hls", ""), ("dash", ""), ("smooth", ""))
STREAMS = {"video": "video.cmfv", "audio": "audio.cmfa"}


@pytest.fixture(scope="module")
def sent() -> dict[str, Sent]:
    return encoded(LENGTH)


class Player:
    """Fetches all that is new in manifests, and complains of what is not as it was."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.digests: dict[str, int] = {}
        self._listed: dict[str, list[str]] = {}

    def look(self, *, anew: bool = False, query: str = "") -> None:
        """At all manifests; ``anew``: at all segments again."""
        for of, options in WATCHED:
            if not self._is_there(of):
                continue
            asked = "&".join(filter(None, (options, query)))
            for one in FORMATS[of](lambda url: self.origin.get(url).body, asked):
                urls = [segment.url for segment in one.segments]
                before = [] if query else self._listed.get(f"{of} {one.name}", [])
                common = [url for url in before if url in set(urls)]
                assert common == before[len(before) - len(common) :], f"{one.name} stepped back"
                if not query:
                    self._listed[f"{of} {one.name}"] = urls
                self._fetch(url for url in one.urls if anew or url not in self.digests)

    def look_again(self) -> None:
        """At every segment that was ever listed."""
        self._fetch(list(self.digests))

    def _is_there(self, of: str) -> bool:
        name = {"hls": ".m3u8", "dash": ".mpd", "smooth": "Manifest"}[of]
        return self.origin.ask(name).status == 200

    def _fetch(self, urls: Iterable[str]) -> None:
        for url in urls:
            digest = zlib.crc32(self.origin.get(url).body)
            assert self.digests.setdefault(url, digest) == digest, f"{url} has other bytes"


def stalls(length: int, *, first: int, late: int) -> list[tuple[float, str, int]]:
    """When (in fragments) each fragment of both streams comes, if sound stalls from fragment
    ``first`` on and is ``late`` fragments late then, and takes some time to be in time again."""
    found = [(float(at), "video", at) for at in range(length)]
    for at in range(length):
        behind = max(0.0, late - 1.5 * (at - first)) if at >= first else 0.0
        found.append((at + behind + 0.5, "audio", at))
    return sorted(found)


def holes(length: int, *, first: int, count: int, late: int) -> list[tuple[float, str, int]]:
    """When each comes, if ``count`` fragments of sound come ``late`` fragments late."""
    found = [(float(at), "video", at) for at in range(length)]
    for at in range(length):
        behind = late if first <= at < first + count else 0
        found.append((at + behind + 0.5, "audio", at))
    return sorted(found)


def shuffled(length: int, *, seed: int) -> list[tuple[float, str, int]]:
    """When each comes, where everything happens to either stream."""
    chance = random.Random(seed)
    found = []
    for name in STREAMS:
        behind = 0.0
        for at in range(length):
            if chance.random() < 0.1:
                behind += chance.choice((1, 3, 12, 30))
            behind = max(0.0, behind - 1.5)
            lost = chance.choice((2, 4)) if chance.random() < 0.08 else 0
            found.append((at + behind + lost + chance.random(), name, at))
    return sorted(found)


COUNT = LENGTH * PER_SECOND
SCHEDULES = {
    "sound stalls for 8 s": stalls(COUNT, first=10, late=16),
    "sound stalls for 15 s": stalls(COUNT, first=10, late=30),
    "sound begins 4 s late": stalls(COUNT, first=0, late=8),
    "sound begins 14 s late": stalls(COUNT, first=0, late=28),
    "a hole of sound is filled at once": holes(COUNT, first=20, count=1, late=1),
    "a hole of sound is filled late": holes(COUNT, first=20, count=2, late=4),
    **{f"anything {seed}": shuffled(COUNT, seed=seed) for seed in (1, 2, 5)},
}


# Seconds; of the second one much must be read again from the archive.
WINDOWS = (3600, 4)


@pytest.mark.parametrize(
    ("name", "window"), [(name, WINDOWS[at % 2]) for at, name in enumerate(SCHEDULES)]
)
def test_what_was_listed_stays(
    name: str,
    window: int,
    sent: dict[str, Sent],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept, "_MARGIN", 2)
    monkeypatch.setattr(live, "_BLOCK", 5)
    with opened(tmp_path / "media", archiving="true", dvr_window_length=window) as origin:
        player = Player(origin)
        for kind, stream in STREAMS.items():
            origin.push(sent[kind].header, stream=stream)
        newest = dict.fromkeys(STREAMS, -1)
        for number, (when, kind, at) in enumerate(SCHEDULES[name]):
            if at >= len(sent[kind].pieces):
                continue
            # What comes behind its time is sent by another encoder.
            encoder = "1" if at > newest[kind] else "2"
            if encoder == "2":
                origin.push(sent[kind].header, stream=STREAMS[kind], encoder="2")
            newest[kind] = max(newest[kind], at)
            piece = sent[kind].pieces[at].data
            origin.push(piece, stream=STREAMS[kind], encoder=encoder, now=when / PER_SECOND)
            if number % 4 == 0:
                player.look()
        player.look()
        player.look_again()
        assert len(player.digests) > COUNT
        origin.reopen()
        player.look_again()
        player.look(anew=True, query="vbegin=0")


# Seconds of groups of pictures: as encoders cut that are told to, and to begin one where the
# picture changes, the longest first or only later.
GROUPS = {
    "usual": [1.0] * 20,
    "shorter ones": [1.0, 0.4, 0.6, 1.0, 1.0, 0.3, 0.7] * 3,
    "longer ones": [1.0, 1.0, 1.0, 1.2, 0.8, 1.4, 0.6, 1.0, 1.4] * 2,
    "much longer ones": [1.0, 1.0, 1.0, 2.6, 1.0, 2.8, 2.9, 1.0, 2.6, 1.0],
}
QUERIES = (
    "",
    "hls_fmp4",
    "hls_fmp4&hls_minimum_fragment_length=3",
    "vbegin=0",
    "hls_client_manifest_version=1",
)


def heads(origin: Origin, query: str) -> dict[str, list[str]]:
    """Of each media playlist the lines that stand for all of it, as long as more comes."""
    found = {}
    for one in FORMATS["hls"](lambda url: origin.get(url).body, query):
        lines = origin.get(one.name).text.split("#EXTINF")[0].splitlines()
        moving = ("#EXT-X-MEDIA-SEQUENCE", "#USP-X", "#EXT-X-PROGRAM", "#EXT-X-DISCONTINUITY-SEQ")
        found[one.name] = [line for line in lines if not line.startswith(moving)]
        target = target_of(found[one.name])
        for segment in one.segments:
            assert target >= int(segment.duration + Fraction(1, 2)), segment.url
    return found


def target_of(head: list[str]) -> int:
    (target,) = (line.partition(":")[2] for line in head if "TARGETDURATION" in line)
    return int(target)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("groups", GROUPS)
def test_what_stands_for_all_segments_stays(groups: str, window: int, tmp_path: Path) -> None:
    lengths = GROUPS[groups]
    begins = [sum(lengths[:at]) for at in range(len(lengths))]
    sent = encoded(sum(lengths), begins[1:])
    seen: dict[str, list[dict[str, list[str]]]] = {query: [] for query in QUERIES}

    def look(origin: Origin) -> None:
        for query, before in seen.items():
            if origin.ask(".m3u8", query).status == 200:
                found = heads(origin, query)
                # Players that change to another rendition meet the same.
                assert len({target_of(one) for one in found.values()}) == 1
                before.append(found)

    with opened(tmp_path / "media", archiving="true", dvr_window_length=window) as origin:
        for kind, stream in STREAMS.items():
            origin.push(sent[kind].header, stream=stream)
        due = [(piece.due, kind, piece.data) for kind in STREAMS for piece in sent[kind].pieces]
        for when, kind, data in sorted(due):
            origin.push(data, stream=STREAMS[kind], now=when)
            if kind == "video":
                look(origin)
        origin.reopen()
        look(origin)
    for query, found in seen.items():
        assert len(found) > 5
        step = 3 if "minimum" in query else 1
        targets = [target_of(next(iter(one.values()))) for one in found]
        assert targets == sorted(targets)
        # Once it may grow, where one comes that is much longer than any before. No more than an
        # eighth is left for others, as players stay behind by three times that.
        longest = max(lengths)
        left = 1.125 if longest > 1.25 and step == 1 else 1
        assert targets[-1] <= int(step * longest * left + 0.55)
        assert len(set(targets)) <= 1 + (longest >= 1.25)
        if longest < 1.25:
            assert targets[0] == step * lengths[0]
        for one, later in pairwise(found):
            common = one.keys() & later.keys()
            for name in common:
                without = [[x for x in y[name] if "TARGET" not in x] for y in (one, later)]
                assert without[0] == without[1]
