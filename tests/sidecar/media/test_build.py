"""Which track an entry takes, and the names that renditions get."""

from __future__ import annotations

import numpy as np
import pytest

from sidecar.codecs.facts import AudioFacts, Facts, TextFacts, VideoFacts
from sidecar.errors import InvalidMedia, NotFound, UnsupportedMedia
from sidecar.media.build import (
    presentation_from_manifest,
    presentation_from_media,
)
from sidecar.media.presentation import Presentation
from sidecar.media.server_manifest import ServerManifest, read_server_manifest
from sidecar.media.track import Kind, MediaFile, Samples, Track
from sidecar.storage.source import SourceIdentity

MANIFEST = SourceIdentity("/srv/secret/film.ism", 100, 5_000, 1)
FACTS: dict[Kind, Facts] = {
    Kind.VIDEO: VideoFacts(
        codec="avc1.64001F", sample_entry="avc1", fourcc="AVC1", width=64, height=48
    ),
    Kind.AUDIO: AudioFacts(
        codec="mp4a.40.2",
        sample_entry="mp4a",
        fourcc="AACL",
        sampling_rate=48000,
        channels=2,
        samples_per_frame=1024,
        channel_configuration=("urn:mpeg:dash:23003:3:audio_channel_configuration:2011", "2"),
        hls_channels="2",
    ),
    Kind.TEXT: TextFacts(codec="wvtt", sample_entry="wvtt", fourcc="WVTT"),
}


def track(
    track_id: int, kind: Kind, *, bits: int = 8000, language: str | None = None, path: str = "a"
) -> Track:
    """One second of media in two samples: ``bits`` is its bitrate."""
    size = np.array([bits // 16, bits // 8 - bits // 16], dtype=np.uint32)
    samples = Samples(
        decode_time=np.array([0, 500, 1000], dtype=np.int64),
        composition_offset=None,
        size=size,
        offset=np.array([0, 10], dtype=np.int64),
        sync=None,
        fragment_start=None,
    )
    return Track(
        kind=kind,
        track_id=track_id,
        timescale=1000,
        language=language,
        handler_name="",
        sample_entry_box=b"",
        facts=FACTS[kind],
        edit_media_time=0,
        samples=samples,
        source=SourceIdentity(f"/srv/secret/{path}.mp4", 10, 7_000, 2),
    )


def media(*tracks: Track, path: str = "a", skipped: tuple[str, ...] = ()) -> MediaFile:
    return MediaFile(
        source=SourceIdentity(f"/srv/secret/{path}.mp4", 10, 7_000, 2),
        tracks=tracks,
        skipped=skipped,
    )


def manifest(inside: str, head: str = "") -> ServerManifest:
    text = f"<smil><head>{head}</head><body><switch>{inside}</switch></body></smil>"
    return read_server_manifest(text.encode(), path=MANIFEST.path)


def build(inside: str, head: str = "", **files: MediaFile) -> Presentation:
    return presentation_from_manifest("film", manifest(inside, head), MANIFEST, files)


def selectors(presentation: Presentation) -> list[str]:
    return [rendition.selector for rendition in presentation.renditions]


AUDIO, VIDEO, TEXT = Kind.AUDIO, Kind.VIDEO, Kind.TEXT


def test_order_names_and_measured_bitrates_without_a_manifest() -> None:
    found = presentation_from_media(
        "film",
        media(
            track(1, VIDEO, bits=900_000),
            track(2, AUDIO, bits=128_000, language="eng"),
            track(3, TEXT, bits=800, language="zh-Hans"),
            track(4, AUDIO, bits=64_000, language="deu"),
            track(5, VIDEO, bits=100_000, language="und"),
        ),
    )
    assert selectors(found) == [
        "audio_deu=64000",
        "audio_eng=128000",
        "textstream_zh-Hans=1000",
        "video=100000",
        "video=900000",
    ]
    assert [one.path for one in found.sources] == ["/srv/secret/a.mp4"]
    assert (found.name, found.options, found.last_modified_ns) == ("film", {}, 7_000)
    assert [one.language for one in found.renditions][:2] == ["deu", "eng"]


def test_a_manifest_wins_over_the_media() -> None:
    found = build(
        '<video src="v" systemBitrate="5000"/>'
        '<audio src="a" systemBitrate="300" systemLanguage="fra"><param name="trackName" '
        'value="french"/><param name="role" value="dub"/><param name="trackDescription" '
        'value="Français"/></audio><audio src="a"/>',
        '<meta name="hls.minimum-fragment_length" content="6"/>',
        a=media(track(1, AUDIO, language="eng"), track(2, AUDIO, bits=700, language="eng")),
        v=media(track(9, VIDEO), path="v"),
    )
    assert selectors(found) == ["french=300", "audio_eng=696", "video=5000"]
    french = found.renditions[0]
    assert (french.language, french.role, french.label) == ("fra", "dub", "Français")
    assert found.options == {"hls_minimum_fragment_length": "6"}
    assert found.sources[0] == MANIFEST
    assert [one.path for one in found.sources[1:]] == ["/srv/secret/v.mp4", "/srv/secret/a.mp4"]
    assert found.last_modified_ns == 5_000


def test_entries_without_track_id_take_the_tracks_in_turn() -> None:
    file = media(
        track(1, AUDIO, language="eng"),
        track(2, VIDEO),
        track(3, AUDIO, language="deu"),
        track(4, AUDIO, language="fra"),
    )
    entries = '<audio src="a"/><audio src="a"/>'
    assert [r.track.track_id for r in build(entries, a=file).renditions] == [1, 3]
    entries = '<audio src="a"><param name="trackID" value="1"/></audio><audio src="a"/>'
    assert [r.track.track_id for r in build(entries, a=file).renditions] == [1, 3]
    entries = '<audio src="a"/><audio src="a"><param name="trackID" value="1"/></audio>'
    assert [r.track.track_id for r in build(entries, a=file).renditions] == [3, 1]


def test_one_file_may_stand_under_several_names() -> None:
    file = media(track(1, VIDEO))
    found = build('<video src="a"/><video src="./a"/>', **{"a": file, "./a": file})
    assert len(found.sources) == 2
    assert selectors(found) == ["video=8000", "video_1=8000"]


@pytest.mark.parametrize(
    ("inside", "error", "reason"),
    [
        ("", InvalidMedia, "lists no tracks"),
        ('<video src="/srv/secret/b.mp4"/>', NotFound, "line 1 .*, b.mp4 does not exist"),
        ('<video src="a"/><video src="a"/>', InvalidMedia, "video track 2 does not exist"),
        ('<textstream src="a"/>', InvalidMedia, "a: textstream track does not exist"),
        (
            '<video src="a"><param name="trackID" value="7"/></video>',
            InvalidMedia,
            "track 7 does not exist",
        ),
        (
            '<audio src="a"><param name="trackID" value="1"/></audio>',
            InvalidMedia,
            "track 1 is video, not audio",
        ),
    ],
)
def test_what_cannot_be_found_is_named(inside: str, error: type[InvalidMedia], reason: str) -> None:
    with pytest.raises(error, match=reason) as caught:
        build(inside, a=media(track(1, VIDEO)))
    assert "/srv" not in caught.value.sentence


def test_tracks_that_cannot_be_served_are_left_out_or_refused() -> None:
    file = media(track(1, VIDEO), skipped=("track 2: dtsc: not served",))
    found = build('<video src="a"/><audio src="a"/>', a=file)
    assert selectors(found) == ["video=8000"]
    assert any("audio track cannot be served: track 2: dtsc" in one for one in found.warnings)
    assert "a.mp4: track 2: dtsc: not served" in found.warnings
    with pytest.raises(UnsupportedMedia, match="dtsc"):
        build('<audio src="a"/>', a=file)
    with pytest.raises(UnsupportedMedia, match="dtsc"):
        presentation_from_media("film", media(skipped=("track 2: dtsc: not served",)))
    with pytest.raises(InvalidMedia, match="no tracks"):
        presentation_from_media("film", media())


def test_options_are_checked_when_the_manifest_is_read() -> None:
    file = media(track(1, VIDEO))
    found = build('<video src="a"/>', '<meta name="vod2live" content="true"/>', a=file)
    assert found.warnings == ("option vod2live of the server manifest has no effect",)
    with pytest.raises(InvalidMedia, match="mpd_segment_template"):
        build('<video src="a"/>', '<meta name="mpd.segment-template" content="x"/>', a=file)


def test_what_should_be_encrypted_is_refused() -> None:
    group = '<paramGroup id="hls"><meta name="key" content=":00"/></paramGroup>'
    with pytest.raises(UnsupportedMedia, match="encryption"):
        build('<video src="a"/>', group, a=media(track(1, VIDEO)))
