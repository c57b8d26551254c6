"""Playout options of the head and of the query."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import BadRequest, InvalidMedia
from sidecar.media.option_table import MAX_LENGTH, QUERY_OPTIONS
from sidecar.media.options import Options, option_name, parse_options

FLAGS = ("hls_fmp4", "hls_no_audio_only", "hls_no_multiplex", "mpd_sidecar_ttml", "fixed_gop")
LENGTHS = (
    "hds_minimum_fragment_length",
    "hls_minimum_fragment_length",
    "iss_minimum_fragment_length",
    "mpd_minimum_fragment_length",
)
SECONDS = (
    *LENGTHS,
    "mpd_min_buffer_time",
    "mpd_minimum_update_period",
    "mpd_suggested_presentation_delay",
)
MOMENTS = ("vbegin", "vend", "t", "start", "end")


def test_nothing_given_gives_the_defaults() -> None:
    assert parse_options({}, "") == Options()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("6", Fraction(6)),
        ("48/25", Fraction(48, 25)),
        ("1.92", Fraction(48, 25)),
        ("4004/1000", Fraction(1001, 250)),
        ("19.2/10", Fraction(48, 25)),
        ("0", Fraction(0)),
        ("3600", Fraction(3600)),
        (" 2 ", Fraction(2)),
    ],
)
@pytest.mark.parametrize("name", SECONDS)
def test_lengths(name: str, text: str, value: Fraction) -> None:
    assert getattr(parse_options({name: text}, ""), name) == value
    assert getattr(parse_options({}, f"{name}={text.replace(' ', '+')}"), name) == value


BAD = {
    **dict.fromkeys(
        SECONDS,
        ("", "-1", "1/0", "0.0/0", "1e3", "3600.1", "nan", "1/2/3", "1,5", "٣", "9" * 30),
    ),
    **dict.fromkeys(FLAGS, ("2", "maybe", "truefalse", "\x00")),
    "hls_client_manifest_version": ("", "0", "14", "4.0", "-4", "four", "٤"),
    "mpd_segment_template": ("", "timeline", "number timeline"),
    "iss_client_manifest_version": ("", "2", "21", "2.1", "٢٢"),
    "max_bitrate": ("", "-1", "1.5", "1k", "9" * 13),
    "min_bitrate": ("", "-1", "1e6", "٤"),
    "filter": ("", "type", 'type=="video', "type==1)", "(" * 100, "1==1;2==2"),
    "variant_set": ("", "type==", "1==1;;2==2", ";"),
}  # fmt: skip
BAD_MOMENTS = (
    "", "-1", "1:2:3", "00:60:00", "00:00:60", "1e3", "nan", "٣", "9" * 13, "1.0000000001",
    "2018-02-30T00:00:00Z", "2018-12-06", "2018-12-06T24:00:00Z", "0001-01-01T00:00:00Z",
    "2018-12-06T12:55:00+99:00", "now",
)  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in BAD for text in BAD[name]])
def test_bad_values_name_their_option(name: str, text: str) -> None:
    with pytest.raises(InvalidMedia, match=f"^option {name} of the server manifest must be ."):
        parse_options({name: text}, "")
    with pytest.raises(BadRequest, match=f"^parameter {name} must be ."):
        parse_options({}, f"{name}={text}")


@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize("text", BAD_MOMENTS)
def test_bad_moments_name_their_parameter(name: str, text: str) -> None:
    with pytest.raises(BadRequest, match=f"^parameter {name} must be ."):
        parse_options({}, f"{name}={text}")
    # Clips are the client's only: a manifest that begins in its midst is none of ours to know.
    assert parse_options({name: text}, "").warnings


@pytest.mark.parametrize("text", ["", "=", "=true", "=1", "=on", "=YES", "=%74rue"])
@pytest.mark.parametrize("name", FLAGS)
def test_flags_are_set(name: str, text: str) -> None:
    assert getattr(parse_options({name: "false"}, name + text), name) is True


@pytest.mark.parametrize("text", ["false", "0", "off", "No"])
@pytest.mark.parametrize("name", FLAGS)
def test_flags_are_unset(name: str, text: str) -> None:
    assert getattr(parse_options({name: "true"}, f"{name}={text}"), name) is False
    assert getattr(parse_options({name: text}, ""), name) is False


def test_the_kind_of_hls_is_unsaid_until_it_is_said() -> None:
    assert parse_options({}, "").hls_fmp4 is None
    assert parse_options({"hls_fmp4": "false"}, "").hls_fmp4 is False
    assert parse_options({"hls_fmp4": "false"}, "hls_fmp4").hls_fmp4 is True


def test_other_values() -> None:
    options = parse_options(
        {"hls_client_manifest_version": "4", "mpd_segment_template": "number"}, ""
    )
    assert options.hls_client_manifest_version == 4
    assert options.mpd_segment_template == "number"
    options = parse_options({"mpd_segment_template": "number"}, "mpd_segment_template=Time")
    assert options.mpd_segment_template == "time"


def test_playout_is_the_manifests_only() -> None:
    closed = parse_options({"hls_playout": "false"}, "hls_playout=true&mpd_playout=false")
    assert (closed.hls_playout, closed.mpd_playout) == (False, True)
    assert not {"hls_playout", "mpd_playout"} & QUERY_OPTIONS


@pytest.mark.parametrize("mode", ["aes128", "sample_aes", "playready"])
def test_what_should_be_encrypted_is_refused(mode: str) -> None:
    with pytest.raises(InvalidMedia, match="hls_playout"):
        parse_options({"hls_playout": mode}, "")


def test_only_what_changes_segments_is_carried() -> None:
    query = "mpd_segment_template=number&mpd_minimum_fragment_length=2.0&hls_fmp4"
    query += "&hls_minimum_fragment_length=1.92&utm_source=x"
    options = parse_options({}, query)
    assert options.queries == {
        "hls": "hls_minimum_fragment_length=48/25",
        "dash": "mpd_minimum_fragment_length=2",
    }
    for name, carried in options.queries.items():
        assert parse_options({}, carried).queries == {name: carried}


def test_what_the_head_says_already_is_not_carried() -> None:
    head = {"hls_minimum_fragment_length": "48/25"}
    assert parse_options(head, "hls_minimum_fragment_length=1.92").queries == {}
    assert parse_options(head, "hls_minimum_fragment_length=2").queries != {}


def test_unknown_options_of_the_head_are_warned_of_and_unknown_parameters_are_not() -> None:
    head = {"clientManifestRelativePath": "x.ismc", "creator": "me", "vod2live": "true"}
    options = parse_options(head, "vod2live=true&%ff=%zz&&=&x")
    assert options.warnings == ("option vod2live of the server manifest has no effect",)
    assert options.queries == {}


def test_the_last_of_repeated_parameters_counts() -> None:
    assert parse_options({}, "mpd_min_buffer_time=1&mpd_min_buffer_time=2").mpd_min_buffer_time == 2


def test_names_have_one_spelling() -> None:
    assert option_name("hls.minimum-fragment.length") == "hls_minimum_fragment_length"
    assert parse_options({"mpd.min_buffer_time": "3"}, "").mpd_min_buffer_time == 3


def test_very_many_parameters_are_refused() -> None:
    with pytest.raises(BadRequest):
        parse_options({}, "&" * 1000)


@given(
    st.dictionaries(
        st.sampled_from([*BAD, "hls_playout", "other"]), st.text(max_size=8), max_size=4
    ),
    st.text(max_size=60)
    | st.lists(
        st.tuples(st.sampled_from(sorted(BAD)), st.text("0123456789./%aeflorstu", max_size=8))
    ).map(lambda pairs: "&".join(f"{name}={text}" for name, text in pairs)),
)
def test_any_text_ends_in_options_or_our_error(head: dict[str, str], query: str) -> None:
    try:
        options = parse_options(head, query)
    except (BadRequest, InvalidMedia) as error:
        assert any(name in error.sentence for name in (*BAD, "hls_playout"))
        return
    for name in SECONDS:
        value = getattr(options, name)
        assert value is None or 0 <= value <= MAX_LENGTH
    again = parse_options(head, "&".join(options.queries.values()))
    for name in SECONDS[:2]:
        assert getattr(again, name) == getattr(options, name)
