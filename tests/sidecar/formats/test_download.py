"""Downloads decode to the frames of their sources, whole or in part."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from sidecar.errors import NotFound
from sidecar.media.build import presentation_from_media
from sidecar.media.filters import parse_filter
from sidecar.media.index import index_media
from sidecar.media.options import Options
from sidecar.media.presentation import Presentation
from sidecar.media.select import select
from sidecar.media.track import Kind
from sidecar.storage.local import open_local
from sidecar.timeline.clips import Clip
from tests.support.download import Body, read_tracks
from tests.support.frames import Frame, decode, probe
from tests.support.isobmff import boxes, find
from tests.support.media import generated
from tests.support.requests import ask
from tests.support.tracks import (
    SOURCE,
    audio_track,
    presentation,
    rendition,
    text_track,
    video_track,
)

PROGRESSIVE = [
    "bframes_closed.mp4",
    "bframes_open.mp4",
    "two_audio.mp4",
    "hevc.mp4",
    "variable_rate.mp4",
    "audio_delayed.mp4",
    "video_delayed.mp4",
]
FRAGMENTED = ["frag_plain.mp4", "frag_separate.mp4", "frag_sidx.mp4", "frag_partial.mp4"]


def opened(file: str) -> Presentation:
    source = open_local(str(generated(file)))
    try:
        return presentation_from_media("clip", index_media(source))
    finally:
        source.close()


def download(
    shown: Presentation, name: str, folder: Path, *, clip: Clip | None = None, chosen: str = ""
) -> Path:
    """The file that ``name`` answers with."""
    parsed = parse_filter(chosen) if chosen else None
    selected = select(shown, Options(filter=parsed))
    plan = ask(shown, name, selected=selected, filter=parsed, clip=clip or Clip()).plan
    path = folder / "download.mp4"
    path.write_bytes(Body(plan).read())
    return path


def hashes(frames: list[Frame]) -> list[str]:
    return [frame.hash for frame in frames]


def maps(file: Path) -> list[str]:
    kinds = [stream["codec_type"][0] for stream in probe(str(file))]
    return [f"0:{kind}:{kinds[:at].count(kind)}" for at, kind in enumerate(kinds)]


@pytest.mark.parametrize("file", PROGRESSIVE)
def test_a_progressive_source_gives_the_same_frames_at_the_same_times(
    file: str, tmp_path: Path
) -> None:
    wanted = maps(generated(file))
    served = download(opened(file), "any.mp4", tmp_path)
    assert decode(str(served), *wanted) == decode(str(generated(file)), *wanted)


@pytest.mark.parametrize("file", FRAGMENTED)
def test_a_fragmented_source_gives_the_same_frames(file: str, tmp_path: Path) -> None:
    wanted = maps(generated(file))
    served = decode(str(download(opened(file), ".mp4", tmp_path)), *wanted)
    for ours, theirs in zip(served, decode(str(generated(file)), *wanted), strict=True):
        # Of fragmented files libavformat does not hide the priming that their edit list hides.
        missing = len(theirs) - len(ours)
        assert missing in (0, 1)
        assert hashes(ours) == hashes(theirs)[missing:]


@pytest.mark.parametrize("file", ["bframes_closed.mp4", "bframes_open.mp4", "two_audio.mp4",
                                  "hevc.mp4"])  # fmt: skip
@pytest.mark.parametrize("kind", ["ismv", "mp4"])
def test_the_pieces_of_a_file_are_its_frames(file: str, kind: str, tmp_path: Path) -> None:
    """As ismv: the same pictures, and the sound with its priming."""
    shown = opened(file)
    served = download(shown, f"x.{kind}", tmp_path)
    wanted = maps(generated(file))
    for ours, theirs, selector in zip(
        decode(str(served), *wanted), decode(str(generated(file)), *wanted), wanted, strict=True
    ):
        extra = len(ours) - len(theirs)
        assert extra == (1 if kind == "ismv" and "a" in selector else 0)
        assert hashes(ours)[extra:] == hashes(theirs)


@pytest.mark.parametrize(
    ("file", "begin", "end", "cut_begin", "cut_end"),
    [
        ("bframes_closed.mp4", 3, 5, 2, 6),
        ("bframes_closed.mp4", 4, None, 4, 10),
        ("bframes_closed.mp4", None, "0.1", 0, 2),
        ("two_audio.mp4", "2.01", "6", 2, 6),
        ("hevc.mp4", 4, None, 4, 8),
        ("variable_rate.mp4", 5, 7, 4, "8.32"),
        ("audio_delayed.mp4", 2, 6, 2, 6),
        ("frag_plain.mp4", "2.1", 6, "2.08", "6.08"),
    ],
)
def test_a_clip_has_the_frames_between_its_sync_samples(
    file: str,
    begin: str | int | None,
    end: str | int | None,
    cut_begin: int | str,
    cut_end: str | int,
    tmp_path: Path,
) -> None:
    shown = opened(file)
    clip = Clip(None if begin is None else Fraction(begin), None if end is None else Fraction(end))
    wanted = maps(generated(file))
    whole = decode(str(download(shown, "", tmp_path)), *wanted)
    served = decode(str(download(shown, "", tmp_path, clip=clip)), *wanted)
    first, last = Fraction(cut_begin), Fraction(cut_end)
    for ours, theirs, selector in zip(served, whole, wanted, strict=True):
        inside = [frame for frame in theirs if first <= frame.time < last]
        if "v" in selector:
            assert hashes(ours) == hashes(inside)
            assert [frame.time for frame in ours] == [frame.time - first for frame in inside]
            continue
        # Sound is cut inside a frame: what is heard of it is all there, and bit for bit.
        half, heard = Fraction(1024, 44_100), [frame for frame in ours if frame.time > 0]
        assert set(hashes(heard[1:-1])) <= set(hashes(theirs))
        assert abs(len(ours) - len(inside)) <= 2
        by_hash = {frame.hash: frame.time for frame in theirs}
        for frame in heard[1:-1]:
            assert abs(by_hash[frame.hash] - first - frame.time) < half / 20


@pytest.mark.parametrize("file", ["bframes_open.mp4", "hevc.mp4"])
def test_open_gops_are_cut_without_their_leading_pictures(file: str, tmp_path: Path) -> None:
    shown = opened(file)
    whole = decode(str(download(shown, "", tmp_path)), "0:v:0")[0]
    clip = Clip(Fraction(4), Fraction(6))
    served = decode(str(download(shown, "", tmp_path, clip=clip)), "0:v:0")[0]
    position = hashes(whole).index(served[0].hash)
    assert hashes(served) == hashes(whole)[position : position + len(served)]
    assert served[0].time == 0
    assert whole[position - 1].time < 4 < whole[position + 8].time
    assert len(served) >= 45


def test_a_whole_file_is_one_range() -> None:
    for file in ("bframes_closed.mp4", "two_audio.mp4"):
        assert Body(ask(opened(file), "x.mp4").plan).ranges == 1


def ladder() -> Presentation:
    other = type(SOURCE)("/media/other.mp4", 1 << 40, 1, 9)
    return presentation(
        rendition(video_track(), bitrate=400_000),
        rendition(video_track(source=other), name="video_2", bitrate=900_000),
        rendition(audio_track(language="eng", seed=1), name="a", bitrate=128_000),
        rendition(audio_track(language="eng", source=other, seed=2), name="b", bitrate=64_000),
        rendition(audio_track(language="ger", seed=3), name="c", bitrate=64_000),
        rendition(audio_track(language="ger", seed=4), name="d", bitrate=96_000),
        rendition(text_track(cues=[(0, 60_000)])),
    )


def handlers(shown: Presentation, name: str, **options: object) -> list[str]:
    body = Body(ask(shown, name, **options).plan)  # type: ignore[arg-type]
    return [track.handler for track in read_tracks(body.head)]


def test_unless_asked_the_best_video_and_one_sound_of_each_language() -> None:
    body = Body(ask(ladder(), "x.mp4").plan)
    tracks = read_tracks(body.head)
    assert [track.handler for track in tracks] == ["vide", "soun", "soun"]
    sizes = [[sample.size for sample in track.samples] for track in tracks]
    by_name = {one.name: one.track for one in ladder().renditions}
    # The sound in the file of the video, though another in its language has more bits; of those of
    # the other language the better one.
    assert sizes == [by_name[name].samples.size.tolist() for name in ("video_2", "d", "b")]
    sample = tracks[0].samples[0]
    assert body.source_of(sample.position, sample.size)[0] == "/media/other.mp4"
    sample = tracks[2].samples[0]
    assert body.source_of(sample.position, sample.size)[0] == "/media/other.mp4"


def test_a_filter_chooses_every_track() -> None:
    shown = ladder()
    everything = parse_filter("true")
    assert handlers(shown, "x.mp4", filter=everything) == ["vide"] * 2 + ["soun"] * 4 + ["subt"]
    chosen = parse_filter('type!="audio"')
    selected = select(shown, Options(filter=chosen))
    assert handlers(shown, "x.mp4", selected=selected, filter=chosen) == ["vide", "vide", "subt"]


def test_bounds_of_bitrates_limit_the_choice() -> None:
    shown = ladder()
    selected = select(shown, Options(max_bitrate=500_000))
    body = Body(ask(shown, "x.mp4", selected=selected, max_bitrate=500_000).plan)
    (video, *_) = read_tracks(body.head)
    sample = video.samples[0]
    assert body.source_of(sample.position, sample.size)[0] == SOURCE.path


@pytest.mark.parametrize("name", ["x.m4a", "x.isma"])
def test_sound_alone(name: str) -> None:
    plan = ask(opened("two_audio.mp4"), name).plan
    assert plan.content_type == "audio/mp4"
    head = Body(plan).head
    moov = find(head, "moov", 0, next(end for kind, _, end in boxes_of(head) if kind == "moov"))
    assert moov is not None
    assert [kind for kind, _, _ in boxes(head, *moov)].count("trak") == 2
    silent = presentation(rendition(video_track()))
    with pytest.raises(NotFound):
        ask(silent, name)


def boxes_of(head: bytes) -> list[tuple[str, int, int]]:
    """The boxes of ``head`` but for its mdat, whose end is elsewhere."""
    found = []
    at = 0
    while head[at + 4 : at + 8] in (b"ftyp", b"moov"):
        size = int.from_bytes(head[at : at + 4])
        found.append((head[at + 4 : at + 8].decode(), at + 8, at + size))
        at += size
    return found


def test_the_index_of_a_fragmented_download_points_at_its_fragments(tmp_path: Path) -> None:
    data = download(opened("two_audio.mp4"), "x.ismv", tmp_path).read_bytes()
    top = list(boxes(data))
    assert [name for name, _, _ in top[:2]] == ["ftyp", "moov"]
    assert [name for name, _, _ in top[2:-1]] == ["moof", "mdat"] * ((len(top) - 3) // 2)
    name, body, end = top[-1]
    assert name == "mfra"
    assert int.from_bytes(data[-4:]) == end - body + 8
    moofs = {body - 8 for name, body, _ in top if name == "moof"}
    named = set()
    for kind, table, stop in boxes(data, body, end):
        if kind == "tfra":
            rows = range(table + 16, stop, 19)
            named |= {int.from_bytes(data[row + 8 : row + 16]) for row in rows}
    assert named == moofs


def test_a_clip_of_a_fragmented_download_is_whole_fragments(tmp_path: Path) -> None:
    shown = opened("bframes_closed.mp4")
    clip = Clip(Fraction(7), None)
    served = decode(str(download(shown, "x.ismv", tmp_path, clip=clip)), "0:v:0")[0]
    whole = decode(str(generated("bframes_closed.mp4")), "0:v:0")[0]
    assert [(f.time, f.hash) for f in served] == [(f.time, f.hash) for f in whole if f.time >= 6]


def test_nothing_within_the_clip() -> None:
    shown = presentation(rendition(audio_track(seconds=5)))
    for name in ("x.mp4", "x.ismv", ""):
        with pytest.raises(NotFound):
            ask(shown, name, clip=Clip(Fraction(100), None))


def test_kinds() -> None:
    shown = opened("two_audio.mp4")
    assert ask(shown, "x.mp4").plan.content_type == "video/mp4"
    assert ask(shown, ".ismv").plan.content_type == "video/mp4"
    assert [one.kind for one in shown.renditions] == [Kind.AUDIO, Kind.AUDIO, Kind.VIDEO]
