"""What encoders push into a publishing point of this process, and what players get of it."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from lxml import etree

from sidecar.media.server_manifest import ServerManifest, write_server_manifest
from tests.support.events import emsg, splice_insert
from tests.support.frames import Frame, decode, dropped
from tests.support.live_media import (
    CMAF,
    DELAYED,
    REORDERED,
    SMOOTH,
    Encoding,
    pushed,
    pushed_file,
)
from tests.support.live_origin import NOW, SECOND, Origin, opened, pieces, push_all, without_end
from tests.support.live_players import FORMATS, Listing, dash, hls, smooth

ENCODINGS = {
    "smooth": SMOOTH,
    "cmaf": CMAF,
    "edit lists": DELAYED,
    "times since 1970": replace(SMOOTH, gop=24, offset="1700000000"),
    "uneven": replace(SMOOTH, gop=80, keys="1,2,4.6,5,5.48,10.2,11"),
    "reordered later": REORDERED,
    "two seconds, two pictures": replace(CMAF, gop=50, sizes=("96x54", "64x36")),
}
# (format, query)
KINDS = {
    "transport streams": ("hls", ""),
    "fragmented MP4": ("hls", "hls_fmp4"),
    "DASH": ("dash", ""),
    "Smooth Streaming": ("smooth", ""),
}
each_encoding = pytest.mark.parametrize("encoding", ENCODINGS)
each_kind = pytest.mark.parametrize("kind", KINDS)


def get_from(point: Origin) -> Callable[[str], bytes]:
    return lambda url: point.get(url).body


def listed(point: Origin, kind: str, more: str = "") -> list[Listing]:
    of, query = KINDS[kind]
    return FORMATS[of](get_from(point), "&".join(filter(None, (query, more))))


@cache
def sent(encoding: Encoding) -> dict[str, list[Frame]]:
    """All that the encoder sends, decoded."""
    file = pushed_file(encoding)
    maps = [f"0:v:{at}" for at in range(len(encoding.sizes))] + ["0:a:0"]
    decoded = decode(str(file), *maps, ignore_edits=True)
    return dict(zip([*encoding.sizes, "audio"], decoded, strict=True))


def served(point: Origin, one: Listing, folder: Path) -> list[list[Frame]]:
    """All that is listed, decoded: what there is of picture, then of sound."""
    init = one.init
    if not init and one.kind != "muxed":
        # Smooth Streaming has none, and packed audio needs none.
        init = next((it.init for it in dash(get_from(point)) if it.name == one.name), "")
    urls = [init, *one.urls] if init else one.urls
    file = folder / "served"
    file.write_bytes(b"".join(point.get(url).body for url in urls))
    maps = {"video": ("0:v:0",), "audio": ("0:a:0",), "muxed": ("0:v:0", "0:a:0")}[one.kind]
    return decode(str(file), *maps)


@each_kind
@each_encoding
def test_frames_are_those_that_were_sent(encoding: str, kind: str, tmp_path: Path) -> None:
    source = ENCODINGS[encoding]
    with opened(tmp_path / "media", archiving="true", dvr_window_length=60) as point:
        push_all(point, pushed(source))
        found = []
        for one in listed(point, kind):
            assert not one.live
            for frames in served(point, one, tmp_path):
                hashes = {frame.hash for frame in frames}
                original = sent(source)
                which = max(
                    original, key=lambda it: len(hashes & {frame.hash for frame in original[it]})
                )
                start, end = dropped(original[which], frames)
                found.append(which)
                is_sound = which == "audio"
                # Sound before 0 cannot be had, but for edit lists, which Smooth Streaming has not.
                lost = kind == "Smooth Streaming" or encoding != "edit lists"
                assert start <= (is_sound and encoding != "cmaf" and lost)
                assert end == 0
        assert set(found) == set(sent(source))


@pytest.mark.parametrize(
    ("encoding", "video", "audio"),
    [
        # Priming is presented before 0: the frame behind it begins there.
        ("smooth", 0, 0),
        # The edit list that says what is priming is not sent.
        ("cmaf", 0, 0),
        ("edit lists", 0, Fraction(-1024, 48000)),
    ],
)
def test_sound_and_picture_are_as_far_apart_as_they_were(
    encoding: str, video: Fraction, audio: Fraction, tmp_path: Path
) -> None:
    with opened(tmp_path / "media", dvr_window_length=60) as point:
        push_all(point, pushed(ENCODINGS[encoding]))
        for one in listed(point, "transport streams"):
            if one.kind == "muxed":
                picture, sound = served(point, one, tmp_path)
                # These begin 10 s later, and tell times in 1/90000 s.
                assert picture[0].time == 10 + video
                assert abs(sound[0].time - 10 - audio) <= Fraction(1, 90000)
        for one in listed(point, "fragmented MP4") + listed(point, "DASH"):
            (frames,) = served(point, one, tmp_path)
            assert frames[0].time == (video if one.kind == "video" else audio)


@each_encoding
def test_a_segment_stays_what_it_is_while_the_window_moves(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is older than some seconds has to be read from the index again.
    monkeypatch.setattr("sidecar.live.kept._MARGIN", 6)
    asked = [(kind, more) for kind in KINDS for more in ("", "vbegin=0")]
    asked.append(("fragmented MP4", "hls_minimum_fragment_length=3"))
    asked.append(("DASH", "time_shift=2"))
    seen: dict[tuple[str, str], tuple[object, ...]] = {}
    with (
        opened(tmp_path / "one", archiving="true", dvr_window_length=5) as one,
        opened(tmp_path / "two", archiving="true", dvr_window_length=5) as two,
    ):
        source = replace(ENCODINGS[encoding], seconds=18)
        for at, (now, piece) in enumerate(pieces(pushed(source))):
            one.push(piece, now=now)
            two.push(piece, now=now, encoder="another")
            if now < 8 or at % 4:
                continue
            for kind, more in asked:
                for track in listed(one, kind, more):
                    assert track.segments
                    for segment in track.segments:
                        assert not segment.gap
                        body = one.get(segment.url).body
                        facts = (round(segment.duration, 3), body)
                        assert seen.setdefault((kind, segment.url), facts) == facts, segment.url
        assert len(seen) > 40
        # What the other origin has is the same, and so it is when it has been started again.
        for again in (False, True):
            if again:
                two.reopen()
            for kind, url in seen:
                if not again or kind == "DASH":
                    assert two.get(url).body == seen[kind, url][1]
        for manifest in (".m3u8", ".mpd", "Manifest"):
            assert two.get(manifest).body == one.get(manifest).body


@pytest.fixture
def ongoing(tmp_path: Path) -> Origin:
    """A publishing point 12 s after its encoder began; segments of a second."""
    with opened(tmp_path / "media", archiving="true", dvr_window_length=6) as point:
        push_all(point, without_end(pushed(SMOOTH)))
        yield point  # type: ignore[misc]


@each_kind
@pytest.mark.parametrize(
    ("query", "begin", "end"),
    [
        ("", 6, 12),
        ("dvr_window_length=4", 8, 12),
        ("time_shift=3", 3, 9),
        ("vbegin=0", 0, 12),
        ("vbegin=2", 2, 12),
        ("vbegin=2&vend=5", 2, 5),
        ("vbegin=2&vend=500", 2, 12),
        ("vbegin=2023-11-14T22:13:23Z&vend=2023-11-14T22:13:27Z", 3, 7),
        ("t=00:00:01-00:00:02", 1, 2),
    ],
)
def test_what_is_listed(ongoing: Origin, kind: str, query: str, begin: int, end: int) -> None:
    clipped = "t=0" in query or "vbegin" in query
    over = "vend=5&" in f"{query}&" or "Z" in query or "t=0" in query
    for one in listed(ongoing, kind, query):
        assert one.live != over
        first, last = begin, end
        if kind == "Smooth Streaming" and end == 12:
            # Players are told of what comes next by what comes two before it.
            first, last = first - 2 * (not clipped), last - 2
        # A clip has the segments that its ends lie in; those of sound do not end with pictures.
        beside = 1 if (clipped or "shift" in query) and one.kind == "audio" else 0
        # Encoders cut sound somewhat before the pictures that it belongs to.
        early = 0.15 if one.kind == "audio" else 0.05
        times = [segment.time for segment in one.segments if segment.time is not None]
        if one.date is not None:
            times = [one.date - 1_700_000_000]
        # An MPD that begins at a moment counts from there.
        begins = times[0] + (begin if kind == "DASH" and clipped else 0)
        assert first - beside - early < begins < first + 0.05
        assert last - early < begins + one.duration < last + beside + 0.05
        if one.sequence is not None:
            assert one.sequence == round(begins) + 1


@each_kind
def test_playlists_say_whether_they_may_shrink(ongoing: Origin, kind: str) -> None:
    if KINDS[kind][0] == "hls":
        for query, word in (("", None), ("vbegin=2", "EVENT"), ("vbegin=2&vend=5", "VOD")):
            url = f".m3u8?{KINDS[kind][1]}&{query}"
            text = ongoing.get(hls(get_from(ongoing), url.partition("?")[2])[0].name).text
            assert (f"#EXT-X-PLAYLIST-TYPE:{word}" in text) == bool(word)
            assert ("#EXT-X-ENDLIST" in text) == (word == "VOD")


@each_kind
def test_a_hole_is_said_until_it_is_filled(kind: str, tmp_path: Path) -> None:
    with opened(tmp_path / "media", archiving="true", dvr_window_length=60) as point:
        whole = pieces(without_end(pushed(SMOOTH)))
        header, fragments = whole[0], whole[1:]
        # A fragment of each track per second.
        missing = fragments[8:12]
        for now, piece in (header, *fragments[:8], *fragments[12:]):
            point.push(piece, now=now)
        tracks = listed(point, kind)
        for one in tracks:
            urls = one.urls
            assert all(point.get(url).body for url in urls)
            if kind.endswith(("streams", "MP4")):
                gaps = [at for at, segment in enumerate(one.segments) if segment.gap]
                assert gaps == [4, 5]
                for at in gaps:
                    path, _, query = one.segments[at].url.partition("?")
                    assert point.ask(path, query).result == "FMP4_FRAGMENT_MISSING"
            else:
                times = [segment.time for segment in one.segments]
                steps = [b - a for a, b in pairwise(times)]  # type: ignore[operator]
                assert max(steps) > 2.9
        # Another encoder has it.
        for _, piece in (header, *missing):
            point.push(piece, now=12, encoder="second")
        for one in listed(point, kind):
            assert not any(segment.gap for segment in one.segments)
            assert all(point.get(url).body for url in one.urls)
            assert abs(one.duration - (10 if kind == "Smooth Streaming" else 12)) < 0.15


@each_kind
def test_when_it_is_over_it_is_as_stored(kind: str, tmp_path: Path) -> None:
    with opened(tmp_path / "media", archiving="true", dvr_window_length=6) as point:
        push_all(point, without_end(pushed(SMOOTH)))
        assert all(one.live for one in listed(point, kind))
        before = point.get(listed(point, kind)[0].urls[-1]).body
        point.point.stop(0)
        after = listed(point, kind)
        assert not any(one.live for one in after)
        assert point.get(after[0].urls[-1]).body or before
        everything = listed(point, kind, "vbegin=0")
        assert all(abs(one.duration - 12) < 0.15 for one in everything)


def version(point: Origin) -> tuple[bytes, str, int]:
    reply = point.get(".mpd")
    published = etree.fromstring(reply.body).get("publishTime", "")
    return reply.body, published, reply.plan.last_modified


def test_every_change_of_an_mpd_is_a_new_version(tmp_path: Path) -> None:
    cue = emsg(time=20 * 90_000, data=splice_insert(7, duration=90_000), duration=90_000)
    whole = pieces(without_end(pushed(SMOOTH)))
    header, fragments = whole[0], whole[1:]
    versions: list[list[tuple[bytes, str, int]]] = []
    for name in ("one", "other"):
        found: list[tuple[bytes, str, int]] = []
        versions.append(found)
        with opened(
            tmp_path / name, archiving="true", dvr_window_length=60, timed_metadata="true"
        ) as point:
            for now, piece in (header, *fragments[:8], *fragments[12:]):
                point.push(piece, now=now)
            found.append(version(point))
            # What another encoder has: of a hole, and nothing new but a cue.
            point.push(header[1], now=14, encoder="second")
            for _, piece in fragments[8:12]:
                point.push(piece, now=14, encoder="second")
            found.append(version(point))
            point.push(cue + fragments[-2][1], now=16, encoder="second")
            found.append(version(point))
            point.push(cue + fragments[-1][1], now=18, encoder="second")
            found.append(version(point))
            point.point.stop(NOW + 20 * SECOND)
            found.append(version(point))
    bodies, published, modified = zip(*versions[0], strict=True)
    assert bodies[2] == bodies[3]
    times = [datetime.fromisoformat(one) for one in published[:4]]
    assert times[0] < times[1] < times[2] == times[3]
    assert modified[0] < modified[1] < modified[2] == modified[3] < modified[4]
    # Origins that were sent the same say the same.
    assert versions[0] == versions[1]


def test_what_caches_are_told(ongoing: Origin) -> None:
    manifests = [".mpd", "Manifest", ".m3u8", hls(get_from(ongoing))[0].name]
    newest = 1_700_000_012_000
    for url in manifests:
        plan = ongoing.get(url).plan
        # A segment comes each second.
        assert newest < plan.expires_ms <= newest + 1000
        assert plan.etag
    assert ongoing.get(manifests[3]).plan.last_modified == newest // 1000
    for listings in (hls, dash, smooth):
        for one in listings(get_from(ongoing)):
            for url in (one.urls[0], one.urls[-1]):
                plan = ongoing.get(url).plan
                assert newest - 8000 <= plan.last_modified * 1000 <= newest
                # Everything is archived.
                assert plan.expires_ms > newest + 10**9
    made = ongoing.path.stat().st_mtime_ns // 10**9
    tags = set()
    for query in ("hls_fmp4", "hls_fmp4&vbegin=1"):
        for one in hls(get_from(ongoing), query):
            plan = ongoing.get(one.init).plan
            assert plan.last_modified == made
            # As long as what it describes, from each request on, however old the plan is.
            assert (plan.expires_ms, plan.max_age) == (0, 365 * 86400)
            tags.add((one.name, plan.etag))
    assert {ongoing.get(one.init).plan.etag for one in dash(get_from(ongoing))} == {
        tag for _, tag in tags
    }
    over = ongoing.get(".mpd?vbegin=2&vend=5").plan
    assert over.expires_ms == 0


def set_event(point: Origin, event: str) -> None:
    metas = (("archiving", "true"), ("dvr_window_length", "6"), ("event_id", event))
    point.path.write_bytes(write_server_manifest(ServerManifest(metas=metas)))


@each_kind
def test_urls_of_an_event(kind: str, ongoing: Origin) -> None:
    of, query = KINDS[kind]
    plain = listed(ongoing, kind)
    refused = ongoing.ask(f"Events(one:1)/{plain[0].urls[-1]}")
    assert (refused.status, refused.result) == (404, "FMP4_NOT_FOUND")
    set_event(ongoing, "one:1")
    for one, without in zip(listed(ongoing, kind), plain, strict=True):
        assert one.urls == [f"Events(one%3A1)/{url}" for url in without.urls]
        assert one.init == (without.init and f"Events(one%3A1)/{without.init}")
        for url, before in zip([one.init, *one.urls], [without.init, *without.urls], strict=True):
            if url:
                body = ongoing.get(before).body
                assert body == ongoing.get(url).body
                assert body == ongoing.get(url.replace("E", "e", 1)).body
    hds = [one.get("url", "") for one in etree.fromstring(ongoing.get(".f4m").body)]
    assert all(url.startswith("Events(one%3A1)/") for url in hds if url)
    assert ongoing.get(next(filter(None, hds))).body
    # In its folder, everything lies beside its manifest.
    inside = FORMATS[of](lambda url: ongoing.get(f"events(one:1)/{url}").body, query)
    assert [one.urls for one in inside] == [one.urls for one in plain]
    set_event(ongoing, "another")
    for path in (plain[0].urls[-1], ".m3u8", ".mpd", "Manifest", ".f4m"):
        assert ongoing.ask(f"Events(one:1)/{path}").result == "FMP4_NOT_FOUND"
        assert ongoing.ask(f"Events(another)/{path}").result == "FMP4_OK"


@pytest.mark.parametrize("kind", ["fragmented MP4", "DASH", "Smooth Streaming"])
def test_what_is_read_ahead_of_an_event(kind: str, ongoing: Origin) -> None:
    set_event(ongoing, "one")
    urls = [urllib.parse.unquote(url) for url in listed(ongoing, kind)[0].urls]
    assert ongoing.ahead(urls[0], 2) == urls[1:3]
