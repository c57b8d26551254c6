"""index_media on crafted files: layouts, lies, and what is skipped or refused.

Codecs are not of interest here: ``describe`` is replaced by one that knows two made-up entries.
"""

from __future__ import annotations

from time import process_time
from typing import Any

import numpy as np
import pytest

from sidecar.boxes import tables
from sidecar.boxes.header import read_header
from sidecar.boxes.movie import data_location
from sidecar.codecs.describe import describe as real_describe
from sidecar.errors import InvalidMedia, MediaError, MissingTfra, UnsupportedMedia
from sidecar.media import index, layout, playable
from sidecar.media.index import index_media
from sidecar.media.track import Kind, MediaFile, Track
from tests.support.boxes import (
    AUDIO,
    FTYP,
    Traf,
    Trak,
    Trun,
    audio_entry,
    box,
    co64,
    elst,
    empty,
    full,
    init,
    leaf,
    moof,
    moov,
    progressive,
    stsc,
    stsd,
    stsz,
    stts,
    stz2,
    tfxd,
    trex,
    visual_entry,
    words,
)
from tests.support.made_up_codecs import describe
from tests.support.memory_source import MemorySource

NON_SYNC = 0x10000


@pytest.fixture(autouse=True)
def made_up_codecs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playable, "describe", describe)


def read(data: bytes) -> MediaFile:
    return index_media(MemorySource(data))


def only(data: bytes) -> Track:
    (track,) = read(data).tracks
    return track


def payload(data: bytes, track: Track) -> list[int]:
    """The value that each sample is filled with (see ``progressive``)."""
    samples = track.samples
    values = []
    for offset, size in zip(samples.offset.tolist(), samples.size.tolist(), strict=True):
        assert set(data[offset : offset + size]) <= {data[offset]}
        values.append(data[offset])
    return values


FREE = box(b"free", bytes(10)) + box(b"uuid", bytes(30)) + box(b"\0\1\2\3", b"unknown")


@pytest.mark.parametrize("moov_first", [False, True])
@pytest.mark.parametrize("around", [b"", FREE], ids=["bare", "unknown boxes"])
def test_progressive(moov_first: bool, around: bytes) -> None:
    data = progressive(Trak(), before=around, after=around, moov_first=moov_first)
    track = only(data)
    assert track.kind is Kind.VIDEO and track.timescale == 1000 and track.track_id == 1
    assert payload(data, track) == [0, 1, 2, 3]
    assert track.samples.decode_time.tolist() == [0, 40, 80, 120, 160]
    assert track.samples.sync is None and track.samples.fragment_start is None
    assert track.sample_entry_box == visual_entry()
    assert track.source == MemorySource(data).identity


def test_only_the_moov_is_read() -> None:
    source = MemorySource(progressive(Trak(sizes=[500_000] * 4)))
    index_media(source)
    assert sum(length for _, length in source.reads) < 20_000


def test_several_tracks_and_their_languages() -> None:
    tracks = [
        Trak(),
        Trak(track_id=2, handler_type=AUDIO, timescale=48000, delta=1024, language="eng"),
        Trak(track_id=3, handler_type=AUDIO, language="fra", extra=full(b"elng", b"fr-CA\0")),
        Trak(track_id=4, handler_type=AUDIO, language=0),
    ]
    data = progressive(*tracks)
    found = read(data)
    assert [track.language for track in found.tracks] == [None, "eng", "fr-CA", None]
    assert [track.kind.value for track in found.tracks] == ["video", "audio", "audio", "audio"]
    assert [payload(data, track)[0] for track in found.tracks] == [0, 16, 32, 48]
    assert found.tracks[1].timescale == 48000
    assert found.skipped == ()


def test_sample_tables_of_all_forms() -> None:
    start = len(FTYP) + 8
    forms = [
        [stsz(10, 20, 30, 40), stsc((1, 4, 1)), co64(start)],
        [stz2(8, 10, 20, 30, 40), stsc((1, 2, 1)), co64(start, start + 30)],
        [stz2(16, 10, 20, 30, 40), stsc((1, 1, 1), (2, 3, 1)), co64(start, start + 10)],
        [stsz(10, 20, 30, 40), stsc((1, 9, 1)), co64(start)],
    ]
    for form in forms:
        data = progressive(Trak(tables=[stts((4, 40)), *form]))
        assert payload(data, only(data)) == [0, 1, 2, 3]


def test_chunks_anywhere_in_the_file() -> None:
    start = len(FTYP) + 8
    shuffled = [stts((4, 40)), stsz(10, 20, 30, 40), stsc((1, 1, 1)),
                co64(start + 60, start, start + 30, start + 10)]  # fmt: skip
    assert only(progressive(Trak(tables=shuffled))).samples.offset.tolist() == [
        start + 60, start, start + 30, start + 10,
    ]  # fmt: skip


@pytest.mark.parametrize("to_end", [{"size": 0}, {"large": True}], ids=["to the end", "64 bits"])
def test_an_mdat_to_the_end_or_of_64_bits(to_end: dict[str, int]) -> None:
    mdat = box(b"mdat", bytes(100), **to_end)
    trak = Trak(sizes=[25] * 4)
    head = len(FTYP) + len(moov(trak.build(0)))
    data = FTYP + moov(trak.build(head + len(mdat) - 100)) + mdat
    assert len(only(data).samples) == 4


def test_an_mdat_that_claims_too_much_is_tolerated() -> None:
    data = bytearray(progressive(Trak(), moov_first=True))
    at = data.index(b"mdat") - 4
    data[at : at + 4] = words(0x7FFFFFFF)
    found = read(bytes(data))
    assert len(found.tracks[0].samples) == 4 and found.skipped == ()


def test_a_sample_outside_the_file() -> None:
    data = progressive(Trak(), moov_first=True)
    with pytest.raises(InvalidMedia, match=f"the file has {len(data) - 1}") as info:
        read(data[:-1])
    assert info.value.path == "/media/memory.mp4"
    assert info.value.box_path == "moov/trak[0]"


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"no media file at all, but some text", FTYP, FTYP + box(b"mdat", bytes(9)),
     bytes(4096)],
)  # fmt: skip
def test_no_moov(data: bytes) -> None:
    with pytest.raises(InvalidMedia) as info:
        read(data)
    assert info.value.path and "/" not in info.value.sentence


def test_a_moov_that_is_cut() -> None:
    data = progressive(Trak())
    for length in range(data.index(b"moov") + 4, len(data)):
        with pytest.raises(InvalidMedia):
            read(data[:length])


def test_durations_and_offsets_that_do_not_cover_the_samples() -> None:
    start = len(FTYP) + 8
    sizes, chunks = stsz(1, 2, 3), [stsc((1, 3, 1)), co64(start)]
    for broken in (
        [sizes, stts((2, 40)), *chunks],
        [sizes, stts((3, 40)), stsc((1, 2, 1)), co64(start)],
        [sizes, stts((3, 40)), stsc((1, 3, 1)), co64()],
        [sizes, stts((3, 40)), *chunks, full(b"ctts", words(1, 2, 0))],
        [sizes, stts((3, 40)), stsc((1, 3, 1))],
        [sizes, *chunks],
        [stts((3, 40)), *chunks],
    ):
        with pytest.raises(InvalidMedia) as info:
            read(progressive(Trak(tables=broken)))
        assert "moov/trak[0]" in info.value.box_path


def test_a_common_size_that_lies() -> None:
    tables_ = [stts((1, 1)), stsz(common=1, count=1 << 24), stsc((1, 1, 1)), co64(50)]
    with pytest.raises(InvalidMedia, match="do not fit"):
        read(progressive(Trak(tables=tables_)))


def test_tracks_that_share_bytes_do_not_multiply() -> None:
    size = 3000
    shared = [stts((size, 1)), stsz(common=1, count=size), stsc((1, size, 1)), co64(40)]
    many = [Trak(track_id=k + 1, sizes=[40] * 10, tables=shared) for k in range(60)]
    with pytest.raises(InvalidMedia, match="larger than the file"):
        read(progressive(*many))


def test_timescale_zero() -> None:
    with pytest.raises(InvalidMedia, match="timescale is 0"):
        read(progressive(Trak(timescale=0)))
    with pytest.raises(InvalidMedia, match="timescale is 0"):
        read(progressive(Trak(), timescale=0))


def test_two_tracks_of_one_id() -> None:
    with pytest.raises(InvalidMedia, match="track_ID 5"):
        read(progressive(Trak(track_id=5), Trak(track_id=5)))


@pytest.mark.parametrize(
    ("trak", "reason"),
    [
        (Trak(track_id=2, handler_type=b"tmcd"), "track 2 (tmcd): not audio, video or text"),
        (Trak(track_id=2, entry=visual_entry(b"vp99")), "vp99: the codec vp99 is not known"),
        (Trak(track_id=2, entry=visual_entry(b"encv")), "encrypted"),
        (Trak(track_id=2, handler_type=AUDIO, entry=audio_entry(b"enca")), "encrypted"),
        (Trak(track_id=2, external=True), "its data is in another file"),
        (Trak(track_id=2, entry=audio_entry()), "does not belong into a track of video"),
        (Trak(track_id=2, sizes=()), "track 2 (video): no samples"),
        (Trak(track_id=2, edit=elst((10, 9000))), "no sample is within its edit list"),
    ],
)
def test_skipped_tracks(trak: Trak, reason: str) -> None:
    found = read(progressive(Trak(), trak))
    assert [track.track_id for track in found.tracks] == [1]
    (skipped,) = found.skipped
    assert reason in skipped


def test_damage_in_a_skipped_track_does_not_matter() -> None:
    broken = Trak(track_id=2, entry=visual_entry(b"encv"), tables=[])
    assert len(read(progressive(Trak(), broken)).tracks) == 1


def test_nothing_left_is_unsupported() -> None:
    with pytest.raises(UnsupportedMedia, match=r"track 1 \(vide\): encrypted") as info:
        read(progressive(Trak(entry=visual_entry(b"encv"))))
    assert info.value.path
    with pytest.raises(UnsupportedMedia, match="no track"):
        read(FTYP + moov())


def test_no_samples_at_all() -> None:
    with pytest.raises(MissingTfra, match="no samples"):
        read(init(empty()))


def test_several_sample_entries_are_refused() -> None:
    one, two = stsd(visual_entry()), stsd(visual_entry(), visual_entry())
    data = progressive(Trak(tables=[two])).replace(one + two, two + one)
    with pytest.raises(UnsupportedMedia, match="2 sample entries"):
        read(data)


def test_an_edit_list_moves_all_tracks_by_the_lead_of_the_video() -> None:
    video = Trak(sizes=[5] * 10, delta=40, sync=[1, 6], edit=elst((200, 280)))
    audio = Trak(track_id=2, handler_type=AUDIO, timescale=48000, sizes=[3] * 30, delta=1024,
                 edit=elst((200, 13440)))  # fmt: skip
    found = read(progressive(video, audio))
    # The edit begins at 280 ms; the sync sample before is at 200 ms.
    assert found.tracks[0].presentation_time()[0] == 0
    assert found.tracks[0].samples.offset[0] == len(FTYP) + 8 + 5 * 5
    # Sound that was presented at 0 is presented at 80 ms: 3840 ticks.
    sound = found.tracks[1].presentation_time()
    at = int(np.searchsorted(found.tracks[1].samples.offset, len(FTYP) + 8 + 50 + 3 * 13))
    assert sound[at] == 13 * 1024 - 13440 + 3840


# Fragments


def fragmented(*moofs: tuple[Traf, ...], data: int = 100, head: bytes | None = None) -> bytes:
    """A file of one video and one audio track, each moof with an mdat of ``data`` bytes."""
    if head is None:
        head = init(empty(), empty(track_id=2, handler_type=AUDIO, timescale=48000))
    return head + b"".join(moof(*trafs) + box(b"mdat", bytes(data)) for trafs in moofs)


def moofs_of(data: bytes) -> list[int]:
    found, at = [], data.find(b"moof")
    while at >= 0:
        found.append(at - 4)
        at = data.find(b"moof", at + 4)
    return found


def test_fragments_become_one_track() -> None:
    key = Trun(flags=0xB01, rows=[(40, 10, 80), (40, 20, 0)], first_sample_flags=0, data_offset=200)
    plain = Trun(flags=0x301, rows=[(40, 5)], data_offset=230)
    defaults = (None, None, NON_SYNC)
    trafs = [(Traf(time=t, defaults=defaults, truns=[key, plain]),) for t in (0, 120)]
    data = fragmented(*trafs)
    found = read(data)
    (track,) = found.tracks
    first, second = moofs_of(data)
    samples = track.samples
    assert samples.offset.tolist() == [first + 200, first + 210, first + 230,
                                       second + 200, second + 210, second + 230]  # fmt: skip
    assert samples.size.tolist() == [10, 20, 5] * 2
    assert samples.decode_time.tolist() == [80, 120, 160, 200, 240, 280, 320]
    assert samples.composition_offset is not None
    assert samples.composition_offset.tolist() == [0, -80, -80] * 2
    assert samples.sync is not None and samples.sync.tolist() == [True, False, False] * 2
    assert samples.fragment_start is not None and samples.fragment_start.tolist() == [0, 3]
    assert found.skipped == ("track 2 (audio): no samples",)


def test_tracks_in_one_moof_or_in_moofs_of_their_own() -> None:
    video = [Traf(time=t, truns=[Trun(data_offset=150)]) for t in (0, 80)]
    audio = [Traf(track_id=2, time=t, truns=[Trun(data_offset=160)]) for t in (0, 80)]
    together = read(fragmented(*zip(video, audio, strict=True)))
    apart = read(fragmented((video[0],), (audio[0],), (video[1],), (audio[1],)))
    for found in (together, apart):
        for track in found.tracks:
            assert track.samples.decode_time.tolist() == [0, 40, 80, 120, 160]
            assert track.samples.fragment_start is not None
            assert track.samples.fragment_start.tolist() == [0, 2]
    assert together.tracks[1].samples.sync is None


def test_several_trafs_of_a_track_in_a_moof_are_one_fragment() -> None:
    trafs = (
        Traf(time=0, truns=[Trun(data_offset=150)]),
        Traf(time=80, truns=[Trun(data_offset=180)]),
    )
    track = only(fragmented(trafs, head=init(empty())))
    assert track.samples.fragment_start is not None
    assert track.samples.fragment_start.tolist() == [0]
    assert len(track.samples) == 4


def test_runs_of_different_layouts() -> None:
    truns = [
        Trun(flags=0xF01, rows=[(1, 2, 0, 3), (4, 5, NON_SYNC, -6 & 0xFFFFFFFF)], data_offset=200),
        Trun(flags=0x001, rows=[(), ()], data_offset=210),
        Trun(flags=0x601, rows=[(7, 0x1000000)], data_offset=220),
        Trun(flags=0x901, rows=[(8, 9)], data_offset=227),
    ]
    traf = Traf(defaults=(10, 11, NON_SYNC), truns=truns)
    track = only(fragmented((traf,), data=300, head=init(empty(timescale=100))))
    samples = track.samples
    assert np.diff(samples.decode_time).tolist() == [1, 4, 10, 10, 10, 8]
    assert samples.size.tolist() == [2, 5, 11, 11, 7, 11]
    assert samples.sync is not None and samples.sync.tolist() == [True] + [False] * 5
    assert samples.composition_offset is not None
    assert samples.composition_offset.tolist() == [0, -9, -3, -3, -3, 6]


def test_without_times_fragments_continue() -> None:
    traf = Traf(time=None, truns=[Trun(data_offset=150)])
    assert only(fragmented((traf,), (traf,), head=init(empty()))).samples.decode_time.tolist() == [
        0, 40, 80, 120, 160,
    ]  # fmt: skip


def test_times_of_tfxd() -> None:
    sound = [Traf(track_id=2, time=None, extra=tfxd(t), truns=[Trun(data_offset=200)])
             for t in (-50, 30)]  # fmt: skip
    (track,) = read(fragmented(*((traf,) for traf in sound), data=200)).tracks
    assert track.edit_media_time == 50
    assert track.presentation_time().tolist() == [-50, -10, 30, 70]


def test_a_gap_lengthens_the_sample_before_it() -> None:
    trafs = [(Traf(time=t, truns=[Trun(data_offset=150)]),) for t in (0, 100)]
    track = only(fragmented(*trafs, head=init(empty())))
    assert track.samples.decode_time.tolist() == [0, 40, 100, 140, 180]


def test_a_small_overlap_shortens_it() -> None:
    trafs = [(Traf(time=t, truns=[Trun(data_offset=150)]),) for t in (0, 70)]
    track = only(fragmented(*trafs, head=init(empty())))
    assert track.samples.decode_time.tolist() == [0, 40, 70, 110, 150]


def test_fragments_that_go_back() -> None:
    trafs = [(Traf(time=t, truns=[Trun(data_offset=150)]),) for t in (80, 0)]
    with pytest.raises(InvalidMedia, match="decode time goes back") as info:
        read(fragmented(*trafs))
    assert info.value.offset == moofs_of(fragmented(*trafs))[1]


def test_trex_gives_what_the_fragment_does_not() -> None:
    head = init(empty(), defaults=[trex(1, 33, 7, NON_SYNC)])
    traf = Traf(truns=[Trun(flags=1, rows=[(), ()], data_offset=150)])
    track = only(fragmented((traf,), head=head))
    assert track.samples.size.tolist() == [7, 7]
    assert track.samples.decode_time.tolist() == [0, 33, 66]
    assert track.samples.sync is not None and not track.samples.sync.any()


def test_unknown_tracks_in_fragments_are_stepped_over() -> None:
    trafs = (Traf(track_id=9, default_base_is_moof=False, truns=[Trun(data_offset=150)]),
             Traf(default_base_is_moof=False, truns=[Trun(data_offset=0)]))  # fmt: skip
    data = fragmented(trafs, head=init(empty()), data=200)
    assert only(data).samples.offset.tolist() == [moofs_of(data)[0] + o for o in (180, 190)]


def test_edit_lists_of_fragmented_files() -> None:
    head = init(empty(edit=elst((500, -1), (0, 80))), empty(track_id=2, handler_type=AUDIO))
    trun = Trun(flags=0xB01, rows=[(40, 5, 80), (40, 5, 160)], data_offset=150)
    track = read(fragmented((Traf(truns=[trun]),), head=head)).tracks[0]
    assert track.presentation_time().tolist() == [500, 620]


def test_a_moov_with_samples_and_fragments() -> None:
    trak = Trak(sizes=[10, 20], delta=40)
    mvex = box(b"mvex", trex())
    head_length = len(FTYP + moov(trak.build(0), mvex))
    head = FTYP + moov(trak.build(head_length + 8), mvex) + box(b"mdat", bytes(30))
    for time in (80, None):
        track = only(fragmented((Traf(time=time, truns=[Trun(data_offset=150)]),), head=head))
        assert track.samples.decode_time.tolist() == [0, 40, 80, 120, 160]
        assert track.samples.fragment_start is not None
        assert track.samples.fragment_start.tolist() == [0, 2]
        assert track.samples.offset[0] == head_length + 8
    with pytest.raises(InvalidMedia, match="decode time goes back"):
        read(fragmented((Traf(time=10, truns=[Trun(data_offset=150)]),), head=head))


def test_a_moov_after_its_fragments() -> None:
    head = init(empty())
    body = fragmented((Traf(truns=[Trun(data_offset=100)]),), head=FTYP, data=200)
    assert len(only(body + head[len(FTYP) :]).samples) == 2


def test_a_file_that_ends_inside_its_last_fragment_is_served_without_it() -> None:
    trafs = [(Traf(time=t, truns=[Trun(data_offset=108, rows=[(40, 10), (40, 90)])]),)
             for t in (0, 80, 160)]  # fmt: skip
    data = fragmented(*trafs, head=init(empty()))
    whole = only(data)
    assert read(data).skipped == ()
    last = moofs_of(data)[-1]
    for length in range(last + 9, len(data)):
        found = read(data[:length])
        (track,) = found.tracks
        assert len(track.samples) == 4, length
        assert track.samples.offset.tolist() == whole.samples.offset[:4].tolist()
        (reason,) = found.skipped
        assert "the last fragment" in reason and str(length) in reason


def test_a_file_that_ends_inside_its_first_fragment() -> None:
    data = fragmented((Traf(truns=[Trun(data_offset=100)]),), head=init(empty()))
    (at,) = moofs_of(data)
    for length in (at + 9, at + 80, at + 90):
        with pytest.raises(InvalidMedia, match="inside its first fragment") as info:
            read(data[:length])
        assert info.value.offset is not None and at <= info.value.offset <= length


def test_a_cut_file_with_nothing_to_serve_says_the_latter() -> None:
    head = init(empty(entry=visual_entry(b"encv")))
    with pytest.raises(UnsupportedMedia, match="encrypted"):
        read(fragmented((Traf(),), head=head)[:-20])


def test_a_fragment_in_the_middle_that_points_outside() -> None:
    trafs = [
        (Traf(time=t, truns=[Trun(data_offset=o)]),) for t, o in ((0, 100), (80, 99999), (160, 100))
    ]
    with pytest.raises(InvalidMedia, match="ends at byte"):
        read(fragmented(*trafs, head=init(empty()), data=300))


def test_data_before_the_file() -> None:
    traf = Traf(truns=[Trun(data_offset=-99999)])
    with pytest.raises(InvalidMedia, match="ends at byte"):
        read(fragmented((traf,)))


def test_runs_without_rows_cannot_lie_about_their_length() -> None:
    for size, sentence in ((1, "larger than the file"), (0, "have no size")):
        trun = Trun(flags=1, rows=[], count=0x7FFFFFFF, data_offset=100)
        traf = Traf(defaults=(1, size, 0), truns=[trun])
        with pytest.raises(InvalidMedia, match=sentence):
            read(fragmented((traf,)))


def test_too_many_samples_in_fragments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MAX_SAMPLES", 3)
    trafs = [(Traf(time=t, truns=[Trun(data_offset=150)]),) for t in (0, 80)]
    with pytest.raises(UnsupportedMedia, match="more than 3 samples"):
        read(fragmented(*trafs))
    assert tables.MAX_SAMPLES > 1 << 22


def test_limits_of_the_top_level(monkeypatch: pytest.MonkeyPatch) -> None:
    data = fragmented((Traf(truns=[Trun(data_offset=150)]),))
    limits = (("MAX_BOXES", 3), ("MAX_MOOV", 50), ("MAX_MOOF", 50), ("MAX_MOOFS", 0))
    for name, limit in limits:
        with monkeypatch.context() as patch:
            patch.setattr(layout, name, limit)
            patch.setattr(layout, "MOOF_BYTES", 1 << 20)
            with pytest.raises(UnsupportedMedia):
                read(data)


@pytest.mark.parametrize(
    "flood",
    [box(b"free"), box(b"mdat"), box(b"moov"), box(b"uuid", bytes(16))],
    ids=["free", "mdat", "moov", "uuid"],
)
def test_boxes_that_are_not_read_are_stepped_over(
    flood: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What says what a header is made of costs some microseconds: 24 MB of them would be seconds.
    calls = []

    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        return read_header(*arguments, **named)

    monkeypatch.setattr(layout, "read_header", counted)
    track = only(progressive(Trak(), after=flood * 5000))
    assert len(track.samples) == 4
    assert len(calls) < 10


def test_floods_inside_of_a_track() -> None:
    many = box(b"free") * 1000
    entries = ((visual_entry(b"avc1", many), b"vide"), (audio_entry(b"mp4a", many), b"soun"))
    for entry, handler in entries:
        with pytest.raises(InvalidMedia, match="more than 256 boxes"):
            real_describe(entry, handler, box_path="stsd", offset=0)
    url = full(b"url ", b"other.mp4\0")
    many_references = leaf(full(b"dref", words(100_000), url * 100_000))
    begin = process_time()
    assert data_location(many_references, 1) == "other.mp4"
    assert process_time() - begin < 0.3


def test_every_truncation_of_a_file_gives_a_result_or_our_error() -> None:
    for data in (
        progressive(Trak(), Trak(track_id=2, handler_type=AUDIO), moov_first=True),
        fragmented((Traf(truns=[Trun(data_offset=150)]), Traf(track_id=2))),
    ):
        for length in range(len(data)):
            try:
                read(data[:length])
            except MediaError as error:
                assert error.path == "/media/memory.mp4"


def test_the_moov_is_not_kept_in_memory() -> None:
    data = progressive(Trak(sizes=[3] * 500))
    track = only(data)
    for column in (track.samples.decode_time, track.samples.size, track.samples.offset):
        assert column.base is None
    assert track.samples.nbytes == 501 * 8 + 500 * 12


def test_the_layout_reads_a_fragment_at_once() -> None:
    trafs = [(Traf(time=80 * k, truns=[Trun(data_offset=150)]),) for k in range(10)]
    source = MemorySource(fragmented(*trafs, data=50_000))
    layout.read_layout(source)
    assert len(source.reads) <= 11


def test_the_factory_and_leaf_agree() -> None:
    assert bytes(leaf(box(b"test", b"abc", large=True)).body) == b"abc"
