"""Which parameters of a manifest's query go on into the URLs that it refers to."""

from __future__ import annotations

from fractions import Fraction

import pytest

from sidecar.errors import BadRequest
from sidecar.media.moments import Moment
from sidecar.media.option_table import OPTIONS, QUERY_OPTIONS
from sidecar.media.options import Options, parse_options

# A value of every option that is not its default.
VALUES = {
    "dvr_window_length": "20",
    "end": "20",
    "filter": "true",
    "fixed_gop": "true",
    "hds_minimum_fragment_length": "3",
    "hls_client_manifest_version": "4",
    "hls_fmp4": "true",
    "hls_minimum_fragment_length": "48/25",
    "hls_no_audio_only": "true",
    "hls_no_multiplex": "true",
    "iss_client_manifest_version": "2.2",
    "iss_minimum_fragment_length": "5",
    "max_bitrate": "900000",
    "min_bitrate": "100000",
    "mpd_min_buffer_time": "3",
    "mpd_minimum_fragment_length": "4",
    "mpd_minimum_update_period": "2",
    "mpd_segment_template": "number",
    "mpd_sidecar_ttml": "true",
    "mpd_sidecar_webvtt": "true",
    "mpd_suggested_presentation_delay": "9",
    "start": "10",
    "t": "10-20",
    "time_shift": "20",
    "variant_set": "true",
    "vbegin": "10",
    "vend": "00:00:20",
}
SEGMENTS = {
    "hds_minimum_fragment_length": ("hds", "3"),
    "hls_minimum_fragment_length": ("hls", "48/25"),
    "iss_minimum_fragment_length": ("smooth", "5"),
    "mpd_minimum_fragment_length": ("dash", "4"),
}
PLAYLISTS = {
    "dvr_window_length": "20",
    "time_shift": "20",
    "hls_minimum_fragment_length": "48/25",
    "hls_client_manifest_version": "4",
    "hls_fmp4": "true",
    "end": "20",
    "start": "10",
    "t": "10",
    "vbegin": "10",
    "vend": "20",
}
WRITTEN_AS = {"end": "vend={}", "start": "vbegin={}", "t": "vbegin={}&vend=20"}


def test_every_option_is_looked_at() -> None:
    assert set(VALUES) == QUERY_OPTIONS


@pytest.mark.parametrize("name", sorted(VALUES))
def test_what_each_option_does_to_urls(name: str) -> None:
    options = parse_options({}, f"{name}={VALUES[name]}")
    where, value = SEGMENTS.get(name, ("", ""))
    assert options.queries == ({where: f"{name}={value}"} if where else {})
    carried = WRITTEN_AS.get(name, f"{name}={{}}").format(PLAYLISTS.get(name))
    assert options.playlist_query == (carried if name in PLAYLISTS else "")
    key_frames = name in PLAYLISTS and name not in SEGMENTS
    assert options.key_frame_query == (carried if key_frames else "")


@pytest.mark.parametrize("name", sorted(VALUES))
def test_a_playlist_that_is_asked_for_so_knows_the_same(name: str) -> None:
    options = parse_options({}, f"{name}={VALUES[name]}")
    again = parse_options({}, options.playlist_query)
    for field in ("playlist_query", "key_frame_query", "clip_begin", "clip_end", "hls_fmp4"):
        assert getattr(again, field) == getattr(options, field)


@pytest.mark.parametrize("name", [name for name in sorted(VALUES) if OPTIONS[name].in_head])
def test_what_the_manifest_says_is_not_carried(name: str) -> None:
    options = parse_options({name: VALUES[name]}, "")
    assert (options.queries, options.playlist_query, options.warnings) == ({}, "", ())
    changed = {
        field for field in Options.__slots__ if getattr(options, field) != getattr(Options(), field)
    }
    assert changed == {name}


@pytest.mark.parametrize("name", [*SEGMENTS, "hls_client_manifest_version", "hls_fmp4"])
def test_what_the_manifest_says_already_is_not_carried(name: str) -> None:
    options = parse_options({name: VALUES[name]}, f"{name}={VALUES[name]}")
    assert (options.queries, options.playlist_query) == ({}, "")


def test_the_order_is_fixed() -> None:
    query = "vend=20&hls_fmp4=0&vbegin=1.50&hls_minimum_fragment_length=2&t_=1&hls.fmp4=on"
    expected = "hls_minimum_fragment_length=2&hls_fmp4=true&vbegin=1.5&vend=20"
    assert parse_options({}, query).playlist_query == expected


@pytest.mark.parametrize(
    ("query", "begin", "end"),
    [
        ("vbegin=10", 10, None),
        ("vend=20", None, 20),
        ("vbegin=0", 0, None),
        ("vbegin=0&vend=20", 0, 20),
        ("vbegin=00:00:10&vend=20.5", 10, Fraction(41, 2)),
        ("vbegin=10&start=5", 15, None),
        ("vbegin=10&vend=30&start=5&end=10", 15, 20),
        ("vbegin=10&vend=30&end=100", 10, 30),
        ("vbegin=10&vend=30&start=5", 15, 30),
        ("start=5&end=10", 5, 10),
        ("t=10&end=5", 10, 15),
        ("t=100;450", 100, 450),
        ("t=00:00:15.000", 15, None),
    ],
)
def test_clips(query: str, begin: Fraction | None, end: Fraction | None) -> None:
    options = parse_options({}, query)
    assert options.clip_begin == (None if begin is None else Moment(Fraction(begin)))
    assert options.clip_end == (None if end is None else Moment(Fraction(end)))


def test_clips_between_dates() -> None:
    options = parse_options({}, "vbegin=1970-01-01T01:00:00%2B01:00&vend=1970-01-01T00:01:00Z")
    origin = Moment(Fraction(0), dated=True)
    assert (options.clip_begin, options.clip_end) == (origin, Moment(Fraction(60), dated=True))
    options = parse_options({}, "vbegin=1970-01-01T00:00:10Z&end=5")
    assert options.clip_end == Moment(Fraction(15), dated=True)
    assert options.playlist_query == "vbegin=1970-01-01T00:00:10Z&vend=1970-01-01T00:00:15Z"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("vbegin=20&vend=10", "must end after it begins: 20 is not before 10"),
        ("vbegin=20&vend=20", "must end after it begins"),
        ("vend=0", "must end after it begins: 0 is not before 0"),
        ("t=20-10", "must end after it begins"),
        ("start=5&end=5", "must end after it begins"),
        ("vbegin=10&vend=12&start=3", "13 is not before 12"),
        ("t=10&vbegin=5", "t must not be given with vbegin or vend"),
        ("t=10&vend=50", "t must not be given with vbegin or vend"),
        ("vbegin=10&vend=2018-12-06T12:55:00Z", "must both be dates or neither"),
        ("vbegin=9999-12-31T23:59:59Z", "before the year 9999"),
        ("vbegin=9998-12-31T23:59:59Z&end=31535999", "before the year 9999"),
    ],
)
def test_clips_that_are_none(query: str, sentence: str) -> None:
    with pytest.raises(BadRequest, match=sentence):
        parse_options({}, query)


def test_a_filter_that_is_wrong_is_named_with_the_place() -> None:
    with pytest.raises(BadRequest, match=r"^parameter filter must be a filter expression; char"):
        parse_options({}, "filter=type=%22video%22")


@pytest.mark.parametrize(
    ("head", "asked", "window", "carried"),
    [
        ("", "20", 20, "dvr_window_length=20"),
        ("", "600", 30, "dvr_window_length=30"),
        ("600", "60", 60, "dvr_window_length=60"),
        ("600", "900", 600, ""),
        ("600", "default", 600, ""),
        ("", "default", None, ""),
    ],
)
def test_a_window_is_no_longer_than_that_of_the_point(
    head: str, asked: str, window: int | None, carried: str
) -> None:
    given = {"dvr_window_length": head} if head else {}
    options = parse_options(given, f"dvr_window_length={asked}")
    assert options.dvr_window_length == window
    assert options.playlist_query == carried
