"""What playlists and MPDs say of segments is what the segments themselves say."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction

import pytest

from tests.support.assets import ASSETS, Asset
from tests.support.frames import decode
from tests.support.hls import Media, read_master, read_media
from tests.support.http import Client
from tests.support.isobmff import Init, Segment, read_init, read_segment
from tests.support.media import generated
from tests.support.mpd import Representation, read
from tests.support.stack import Stack

OPEN = {"/bframes_open.mp4", "/frag_cmaf.mp4", "/hevc.mp4"}
QUERIES = (
    "?hls_fmp4",
    "?hls_fmp4&hls_minimum_fragment_length=48/25",
    "?hls_fmp4&hls_minimum_fragment_length=1",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Segments as served; ``starts``: their earliest presentation times and the end, ticks."""

    init: Init
    segments: list[Segment]

    @property
    def starts(self) -> list[int]:
        last = max(segment.latest(self.init) for segment in self.segments)
        return [*(segment.earliest(self.init) for segment in self.segments), last]

    @property
    def is_open(self) -> bool:
        """Whether pictures before the first sync sample need the segment before (open GOP)."""
        return any(
            min(segment.presentation(self.init)) < segment.presentation(self.init)[0]
            for segment in self.segments
        )


def fetch(client: Client, init_url: str, urls: list[str]) -> Fetched:
    """Init and media segments; each must begin where the one before ended, with a sync sample."""
    init = read_init(client.get(init_url).body)
    segments = [read_segment(client.get(url).body, init) for url in urls]
    assert segments
    for before, after in itertools.pairwise(segments):
        assert after.decode_time == before.end, "tfdt goes on where the last segment ended"
    for number, segment in enumerate(segments):
        assert segment.starts_with_sync, f"segment {number} does not start with a sync sample"
    assert [s.sequence for s in segments] == sorted({s.sequence for s in segments})
    return Fetched(init=init, segments=segments)


def assert_durations(fetched: Fetched, playlist: Media) -> None:
    scale = fetched.init.timescale
    starts = fetched.starts
    total = Fraction(0)
    for index, listed in enumerate(playlist.segments):
        real = Fraction(starts[index + 1] - starts[index], scale)
        tick = max(Fraction(1, scale), Fraction(1, 10**6))  # EXTINF has six decimals
        assert abs(listed.duration - real) <= tick, (
            f"segment {index + 1}: EXTINF {float(listed.duration)}, really {float(real)}"
        )
        assert round(listed.duration) <= playlist.target, "RFC 8216 4.3.3.1"
        total += listed.duration
    whole = Fraction(starts[-1] - starts[0], scale)
    assert abs(total - whole) <= tick * len(playlist.segments)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.name)
def test_hls(client: Client, stack: Stack, asset: Asset, query: str) -> None:
    url = f"{stack.base}{asset.path}/.m3u8{query}"
    master = read_master(client.get(url).text, url)
    is_any_open = False
    for playlist_url in master.playlists:
        playlist = read_media(client.get(playlist_url).text, playlist_url)
        assert playlist.ended and playlist.map and playlist.segments
        fetched = fetch(client, playlist.map, [s.url for s in playlist.segments])
        assert_durations(fetched, playlist)
        # RFC 8216 4.3.5.1: no sample of a segment needs another segment.
        assert ("#EXT-X-INDEPENDENT-SEGMENTS" in playlist.tags) != fetched.is_open
        is_any_open |= fetched.is_open
    assert ("#EXT-X-INDEPENDENT-SEGMENTS" in master.tags) != is_any_open
    assert is_any_open == (asset.path in OPEN)


def test_a_minimum_length_changes_what_the_segments_are(client: Client, stack: Stack) -> None:
    counts = []
    for query in QUERIES:
        url = f"{stack.base}/bframes_closed.mp4/.m3u8{query}"
        lists = [read_media(client.get(u).text, u)
                 for u in read_master(client.get(url).text, url).playlists]  # fmt: skip
        counts.append({len(playlist.segments) for playlist in lists})
    assert counts[0] == {3}, "two GOPs of 2 s make 4 s"
    assert counts[1] == {5}, "1.92 s is reached by each GOP of 2 s"
    assert counts[2] >= {5}


@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.name)
def test_segments_of_all_renditions_start_together(
    client: Client, stack: Stack, asset: Asset
) -> None:
    url = f"{stack.base}{asset.path}/.m3u8?hls_fmp4"
    boundaries: dict[str, list[Fraction]] = {}
    reference, frame = "", Fraction(0)
    for playlist_url in read_master(client.get(url).text, url).playlists:
        playlist = read_media(client.get(playlist_url).text, playlist_url)
        fetched = fetch(client, playlist.map, [s.url for s in playlist.segments])
        scale = fetched.init.timescale
        # Where the first sample is presented: pictures that lead it belong to the GOP before.
        boundaries[playlist_url] = [
            Fraction(segment.presentation(fetched.init)[0], scale)
            for segment in fetched.segments[1:]
        ]
        if fetched.init.handler == "soun":
            longest = max(max(segment.durations) for segment in fetched.segments)
            frame = max(frame, Fraction(longest, scale))
        else:
            reference = playlist_url
    wanted = boundaries.pop(reference)
    assert boundaries
    for playlist_url, found in boundaries.items():
        assert len(found) >= len(wanted)
        for expected, start in zip(wanted, found, strict=False):
            assert abs(expected - start) <= frame, f"{playlist_url}: {expected} {start}"


@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.name)
def test_iframe_playlists(client: Client, stack: Stack, asset: Asset) -> None:
    url = f"{stack.base}{asset.path}/.m3u8?hls_fmp4"
    master = read_master(client.get(url).text, url)
    assert master.iframes
    for entry in master.iframes:
        playlist = read_media(client.get(entry["URI"]).text, entry["URI"])
        assert playlist.iframes_only and playlist.ended and playlist.segments
        assert playlist.version >= 4
        init = read_init(client.get(playlist.map).body)
        for segment in playlist.segments:
            headers = {}
            if segment.byterange:
                first, length = segment.byterange
                headers = {"Range": f"bytes={first}-{first + length - 1}"}
            answer = client.request(segment.url, headers=headers)
            assert answer.status == (206 if headers else 200)
            if not headers:
                assert read_segment(answer.body, init).starts_with_sync


@pytest.mark.parametrize("path", ["/ladder.ism", "/two_audio.ism", "/variable_rate.mp4"])
def test_bandwidths_are_those_of_the_segments(client: Client, stack: Stack, path: str) -> None:
    url = f"{stack.base}{path}/.m3u8?hls_fmp4"
    master = read_master(client.get(url).text, url)
    rates: dict[str, tuple[Fraction, Fraction]] = {}
    for playlist_url in master.playlists:
        playlist = read_media(client.get(playlist_url).text, playlist_url)
        sizes = [
            int(client.request(s.url, method="HEAD").headers["content-length"])
            for s in playlist.segments
        ]
        each = [8 * n / s.duration for n, s in zip(sizes, playlist.segments, strict=True)]
        rates[playlist_url] = max(each), 8 * sum(sizes) / sum(s.duration for s in playlist.segments)
    for variant in master.variants:
        peak, average = rates[variant["URI"]]
        audio = [
            rates[entry["URI"]] for entry in master.media if entry["GROUP-ID"] == variant["AUDIO"]
        ]
        if variant["URI"] not in {entry["URI"] for entry in master.media}:
            peak += max(rate for rate, _ in audio)
            average += max(rate for _, rate in audio)
        else:
            peak, average = max(rate for rate, _ in audio), max(rate for _, rate in audio)
        # Measured from the samples: 4 % is the room for the headers around them.
        assert peak == pytest.approx(int(variant["BANDWIDTH"]), rel=0.04)
        assert average == pytest.approx(int(variant["AVERAGE-BANDWIDTH"]), rel=0.04)


def test_key_frames_are_those_of_the_source(client: Client, stack: Stack) -> None:
    url = f"{stack.base}/bframes_closed.mp4/.m3u8?hls_fmp4"
    (entry,) = read_master(client.get(url).text, url).iframes
    (found,) = decode(entry["URI"], "0:v:0")
    every = decode(str(generated("bframes_closed.mp4")), "0:v:0")[0]
    assert found == every[::50]


def assert_times(fetched: Fetched, representation: Representation) -> None:
    init = fetched.init
    starts = fetched.starts
    scale = Fraction(representation.timescale, init.timescale)
    assert representation.offset == 0
    for index, listed in enumerate(representation.segments):
        assert listed.time is not None and listed.duration is not None
        assert abs(listed.time - starts[index] * scale) < 1, f"S@t {index}"
        real = (starts[index + 1] - starts[index]) * scale
        assert abs(listed.duration - real) <= 1, f"S@d {index}: {listed.duration}, really {real}"


@pytest.mark.parametrize("template", ["time", "number_timeline", "number"])
@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.name)
def test_dash(client: Client, stack: Stack, asset: Asset, template: str) -> None:
    url = f"{stack.base}{asset.path}/.mpd?mpd_segment_template={template}"
    manifest = read(client.get(url).body, url)
    ends = []
    for representation in manifest.representations:
        fetched = fetch(client, representation.init, [s.url for s in representation.segments])
        # SAP type 1: a closed GOP; 3: leading pictures that cannot be decoded from here.
        sap = representation.attributes["startWithSAP"]
        assert sap == ("3" if fetched.is_open else "1")
        scale = fetched.init.timescale
        ends.append(Fraction(fetched.starts[-1], scale))
        if template == "number":
            each = representation.template_duration
            assert each
            for index, start in enumerate(fetched.starts[:-1]):
                nominal = Fraction(index * each, representation.timescale)
                drift = abs(Fraction(start, scale) - nominal)
                # ISO/IEC 23009-1 5.3.9.5.3: within half of @duration.
                assert drift <= Fraction(each, representation.timescale) / 2, f"{index}: {drift}"
        else:
            assert_times(fetched, representation)
    assert abs(manifest.duration - max(ends)) <= Fraction(1, 500)


@pytest.mark.parametrize("template", ["time", "number"])
def test_nothing_comes_after_the_last_segment(client: Client, stack: Stack, template: str) -> None:
    url = f"{stack.base}/bframes_closed.mp4/.mpd?mpd_segment_template={template}"
    for representation in read(client.get(url).body, url).representations:
        last = representation.segments[-1]
        if template == "number":
            stem, _, rest = last.url.rpartition("-")
            after = f"{stem}-{int(rest.split('.')[0]) + 1}.m4s"
        else:
            assert last.time is not None and last.duration is not None
            after = last.url.replace(f"-{last.time}.", f"-{last.time + last.duration}.")
        answer = client.request(after)
        assert answer.status == 404, (after, answer.status)
        assert b"Traceback" not in answer.body
