"""Streams built box by box: what is special about each, and what is wrong."""

from __future__ import annotations

import gc
import struct
import tracemalloc
from collections.abc import Sequence

import pytest

from sidecar.errors import InvalidMedia, MediaError, OriginError, UnsupportedMedia
from sidecar.live import fragments as fragments_module
from sidecar.live import initial, parser
from sidecar.live.headers import read_header
from sidecar.live.model import EndOfStream, Fragment, Header, Incoming, TrackFragment
from sidecar.live.parser import StreamParser
from sidecar.media import playable
from sidecar.media.track import Kind
from tests.support.boxes import (
    AUDIO,
    FTYP,
    Traf,
    Trak,
    Trun,
    box,
    elst,
    empty,
    full,
    init,
    moof,
    moov,
    stsc,
    stsz,
    stts,
    tfxd,
    trex,
    visual_entry,
    words,
)
from tests.support.events import emsg
from tests.support.made_up_codecs import describe

SYNC, NON_SYNC = 0x02000000, 0x01010000
TFXD = bytes.fromhex("6d1d9b0542d544e680e2141daff757b2")
MANIFEST = bytes.fromhex("a5d40b30e81411ddba2f0800200c9a66")


@pytest.fixture(autouse=True)
def made_up_codecs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playable, "describe", describe)


def parse(data: bytes, **limits: int) -> list[Incoming]:
    parsed = StreamParser(**limits)
    found = list(parsed.feed(data))
    return found + parsed.finish()


def parts(data: bytes) -> list[Fragment]:
    return [one for one in parse(data) if isinstance(one, Fragment)]


def only(data: bytes) -> tuple[Fragment, TrackFragment]:
    (fragment,) = parts(data)
    (track,) = fragment.tracks
    return fragment, track


def fails(data: bytes, match: str, *, path: str, at: int | None, **limits: int) -> MediaError:
    """The error of ``data``, checked to be about ``path`` and byte ``at``."""
    with pytest.raises(MediaError, match=match) as caught:
        parse(data, **limits)
    assert (caught.value.box_path, caught.value.offset) == (path, at)
    return caught.value


VIDEO = init(empty())
BOTH = init(empty(), empty(track_id=2, handler_type=AUDIO))


def fragment(*trafs: Traf, mdat: bytes = bytes(30), between: bytes = b"") -> bytes:
    """A moof and an mdat; a trun's ``data_offset`` counts from the first byte of mdat's body."""
    size = len(moof(*trafs)) + len(between) + 8
    moved = [_moved(traf, size) for traf in trafs]
    return moof(*moved) + between + box(b"mdat", mdat)


def _moved(traf: Traf, by: int) -> Traf:
    truns = [_with(trun, data_offset=trun.data_offset + by) for trun in traf.truns]
    return _with(traf, truns=truns)


def _with(one, **changes):  # type: ignore[no-untyped-def]
    fields = {name: getattr(one, name) for name in one.__dataclass_fields__}
    return type(one)(**{**fields, **changes})


PAYLOAD = bytes(range(30))
PLAIN = fragment(Traf(), mdat=PAYLOAD)


# Times and durations


def test_a_plain_fragment() -> None:
    one, track = only(VIDEO + PLAIN)
    assert one.data == PLAIN
    assert (one.moof, one.events) == (0, ())
    assert (track.track_ID, track.time, track.duration, track.begins) == (1, 0, 80, True)
    samples = track.samples
    assert samples.duration.tolist() == [40, 40]
    assert samples.size.tolist() == [10, 20]
    begin = len(PLAIN) - 30
    assert samples.offset.tolist() == [begin, begin + 10]
    assert (samples.composition_offset, samples.sync) == (None, None)
    assert samples.duration.dtype == samples.size.dtype == "uint32"
    assert samples.offset.dtype == "int64"


def test_times_of_tfdt_tfxd_and_none() -> None:
    data = VIDEO
    data += fragment(Traf(time=None))
    data += fragment(Traf(time=None, extra=tfxd(-500)))
    data += fragment(Traf(time=None))
    data += fragment(Traf(time=1 << 40, time_version=1, extra=tfxd(7)))
    data += fragment(Traf(time=None))
    assert [one.tracks[0].time for one in parts(data)] == [0, -500, -420, 1 << 40, (1 << 40) + 80]


def test_each_track_goes_on_where_it_ended() -> None:
    sound = Traf(track_id=2, time=None, truns=[Trun(rows=((7, 5),))])
    data = BOTH + fragment(Traf(time=100)) + fragment(sound) + fragment(Traf(time=None), sound)
    times = [[(t.track_ID, t.time) for t in one.tracks] for one in parts(data)]
    assert times == [[(1, 100)], [(2, 0)], [(1, 180), (2, 7)]]


def short_tfxd(*times: int) -> bytes:
    return box(b"uuid", TFXD, words(0, *times))


SIZES = Trun(flags=0x201, rows=((10,), (10,), (10,)))


@pytest.mark.parametrize(
    ("traf", "duration"),
    [
        # Of tfhd; tfxd only tells how long the last is.
        (Traf(defaults=(40, None, None), truns=[SIZES]), [40, 40, 40]),
        (Traf(defaults=(40, None, None), truns=[SIZES], extra=tfxd(0, 100)), [40, 40, 20]),
        (Traf(defaults=(40, None, None), truns=[SIZES], extra=tfxd(0, 500)), [40, 40, 420]),
        # In 32 bits, and missing.
        (Traf(defaults=(40, None, None), truns=[SIZES], extra=short_tfxd(9, 100)), [40, 40, 20]),
        (Traf(defaults=(40, None, None), truns=[SIZES], extra=short_tfxd(9)), [40, 40, 40]),
        # One that contradicts them does not count.
        (Traf(defaults=(40, None, None), truns=[SIZES], extra=tfxd(0, 70)), [40, 40, 40]),
        (Traf(truns=[SIZES], extra=tfxd(0, 100)), [33, 33, 34]),
        (Traf(truns=[SIZES]), [0, 0, 1]),
        # Rows are better than tfxd.
        (Traf(extra=tfxd(0, 500)), [40, 40]),
        (Traf(truns=[Trun(rows=((0, 5), (0, 5)))], extra=tfxd(0, 500)), [250, 250]),
        # A last one of no known length is as long as the one before.
        (Traf(truns=[Trun(rows=((30, 5), (40, 5), (0, 5)))]), [30, 40, 40]),
    ],
)
def test_durations(traf: Traf, duration: list[int]) -> None:
    _, track = only(VIDEO + fragment(traf))
    assert track.samples.duration.tolist() == duration
    assert track.duration == sum(duration)


def test_defaults_of_trex() -> None:
    header = init(empty(), defaults=[trex(1, duration=33, size=6, flags=NON_SYNC)])
    traf = Traf(truns=[Trun(flags=0x1, rows=((), (), ()), first_sample_flags=SYNC)])
    _, track = only(header + fragment(traf))
    assert track.samples.duration.tolist() == [33, 33, 33]
    assert track.samples.size.tolist() == [6, 6, 6]
    assert track.samples.sync is not None
    assert track.samples.sync.tolist() == [True, False, False]
    assert track.begins


def test_a_fragment_that_does_not_begin_with_a_sync_sample() -> None:
    flagged = Trun(flags=0x701, rows=((40, 5, NON_SYNC), (40, 5, SYNC)))
    one, *_ = parts(BOTH + fragment(Traf(truns=[flagged])))
    assert not one.tracks[0].begins
    # Sound is decoded from anywhere.
    one, *_ = parts(BOTH + fragment(Traf(track_id=2, truns=[flagged])))
    assert one.tracks[0].begins
    assert one.tracks[0].samples.sync is None


def test_composition_offsets_are_signed() -> None:
    rows = ((40, 5, 0), (40, 5, 80), (40, 5, -40))
    _, track = only(VIDEO + fragment(Traf(truns=[Trun(flags=0xB01, rows=rows, version=1)])))
    assert track.samples.composition_offset is not None
    assert track.samples.composition_offset.tolist() == [0, 80, -40]


def test_an_empty_edit_moves_the_times() -> None:
    header = init(empty(edit=elst((500, -1), (0, 30)), timescale=1000), defaults=[trex(1)])
    found = parse(header + fragment(Traf(time=100)))
    assert isinstance(found[0], Header)
    assert isinstance(found[1], Fragment)
    assert (found[0].tracks[0].edit_media_time, found[0].tracks[0].delay) == (30, 500)
    assert found[1].tracks[0].time == 600
    again = StreamParser(found[0])
    (one,) = again.feed(fragment(Traf(time=None)))
    assert isinstance(one, Fragment)
    assert one.tracks[0].time == 500


# Where the samples are


def test_several_runs_and_tracks() -> None:
    picture = Traf(truns=[Trun(rows=((40, 5),)), Trun(rows=((40, 5),), data_offset=20)])
    sound = Traf(track_id=2, truns=[Trun(rows=((9, 6),), data_offset=8)])
    (one,) = parts(BOTH + fragment(picture, sound, mdat=PAYLOAD))
    video, audio = one.tracks
    offsets = video.samples.offset.tolist()
    assert [one.data[at : at + 5] for at in offsets] == [PAYLOAD[:5], PAYLOAD[20:25]]
    at = int(audio.samples.offset[0])
    assert one.data[at : at + 6] == PAYLOAD[8:14]


def test_offsets_in_the_file_become_distances_from_the_moof() -> None:
    """With trafs that go on behind each other, and what stands between the boxes kept."""
    plain = Trun(flags=0x300, rows=((40, 5), (40, 5)))
    further = Trun(rows=((40, 4),), data_offset=10)
    between = box(b"free", bytes(9))
    before = box(b"sidx", bytes(20)) + box(b"styp", b"msdh")

    def built(base: int) -> bytes:
        return moof(
            Traf(base=base, default_base_is_moof=False, truns=[plain, further]),
            Traf(track_id=2, time=5, default_base_is_moof=False, truns=[plain]),
        )

    body = len(BOTH) + len(before) + len(built(0)) + len(between) + 8
    stream = BOTH + before + built(body) + between + box(b"mdat", PAYLOAD)
    (one,) = parts(stream)
    expected = [[PAYLOAD[:5], PAYLOAD[5:10], PAYLOAD[10:14]], [PAYLOAD[14:19], PAYLOAD[19:24]]]

    def data(one: Fragment) -> list[list[bytes]]:
        return [
            [
                one.data[at : at + size]
                for at, size in zip(t.samples.offset.tolist(), t.samples.size.tolist(), strict=True)
            ]
            for t in one.tracks
        ]

    assert data(one) == expected
    assert one.data[4:8] == b"styp"
    assert between in one.data
    # Anywhere else it says the same of the same bytes.
    (moved,) = parts(BOTH + bytes.fromhex("00000010") + b"free" + bytes(8) + one.data)
    assert moved.data == one.data
    assert data(moved) == expected


def test_offsets_in_a_stream_of_many_gigabytes() -> None:
    parsed = StreamParser()
    list(parsed.feed(VIDEO))
    chunk = memoryview(bytes(1 << 26))
    list(parsed.feed(struct.pack(">I4sQ", 1, b"free", 16 + 100 * len(chunk))))
    for _ in range(100):
        assert list(parsed.feed(chunk)) == []
    traf = Traf(default_base_is_moof=False)
    body = parsed.offset + len(moof(_with(traf, base=0))) + 8
    (one,) = parsed.feed(moof(_with(traf, base=body)) + box(b"mdat", PAYLOAD))
    assert isinstance(one, Fragment)
    at = int(one.tracks[0].samples.offset[1])
    assert one.data[at : at + 20] == PAYLOAD[10:]
    with pytest.raises(InvalidMedia, match="is not near"):
        list(parsed.feed(moof(_with(traf, base=5)) + box(b"mdat", PAYLOAD)))


def test_boxes_between_moof_and_mdat_are_kept() -> None:
    between = box(b"free", b"abc") + box(b"what", b"ever") + box(b"uuid", bytes(20))
    data = fragment(Traf(), mdat=PAYLOAD, between=between)
    one, track = only(VIDEO + data)
    assert one.data == data
    at = int(track.samples.offset[0])
    assert one.data[at : at + 10] == PAYLOAD[:10]


@pytest.mark.parametrize(
    ("trun", "mdat"),
    [(Trun(data_offset=1), 30), (Trun(data_offset=-1), 30), (Trun(), 29), (Trun(), 0)],
)
def test_samples_outside_the_mdat(trun: Trun, mdat: int) -> None:
    data = VIDEO + fragment(Traf(truns=[trun]), mdat=bytes(mdat)) + PLAIN
    fails(data, "does not lie in the mdat", path="moof/traf(track 1)/trun", at=len(VIDEO))


def test_an_mdat_with_a_large_size() -> None:
    traf = Traf(truns=[Trun(data_offset=len(moof(Traf())) + 16)])
    data = moof(traf) + box(b"mdat", PAYLOAD, large=True)
    one, track = only(VIDEO + data)
    assert one.data == data
    at = int(track.samples.offset[1])
    assert one.data[at : at + 20] == PAYLOAD[10:]


def test_an_mdat_that_ends_with_the_stream_is_given_a_size() -> None:
    data = PLAIN[:-38] + words(0) + PLAIN[-34:]
    parsed = StreamParser()
    assert [type(one) for one in parsed.feed(VIDEO + data)] == [Header]
    (one,) = parsed.finish()
    assert isinstance(one, Fragment)
    assert one.data == PLAIN


# Boxes around


def test_what_stands_before_a_moof_is_part_of_it() -> None:
    message = emsg(time=90_000, data=b"hello")
    before = box(b"styp", b"msdh") + box(b"prft", bytes(24)) + message + box(b"sidx", bytes(40))
    one, track = only(VIDEO + before + PLAIN)
    assert one.data == before + PLAIN
    assert one.moof == len(before)
    assert [event.data for event in one.events] == [b"hello"]
    at = int(track.samples.offset[0])
    assert one.data[at : at + 10] == PAYLOAD[:10]


def test_unknown_boxes_are_passed_over() -> None:
    other = box(b"abcd", bytes(100)) + box(b"uuid", bytes(16)) + box(b"free") + box(b"meta")
    one, _ = only(box(b"free") + VIDEO + other + box(b"mdat") + PLAIN + other)
    assert one.data == PLAIN


def test_only_what_may_be_kept_is_in_memory() -> None:
    skipped = box(b"free", bytes(60_000_000))
    parsed = StreamParser()
    list(parsed.feed(VIDEO))
    tracemalloc.start()
    try:
        for at in range(0, len(skipped), 65536):
            assert list(parsed.feed(memoryview(skipped)[at : at + 65536])) == []
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_claimed_size_costs_nothing() -> None:
    parsed = StreamParser()
    list(parsed.feed(VIDEO + moof(Traf())))
    tracemalloc.start()
    try:
        assert list(parsed.feed(struct.pack(">I4s", 200_000_000, b"mdat"))) == []
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_large_fragment_is_copied_twice_at_most() -> None:
    size = 8_000_000
    data = VIDEO + fragment(Traf(truns=[Trun(rows=((40, size),))]), mdat=bytes(size))
    tracemalloc.start()
    try:
        parsed = StreamParser()
        found = [
            one
            for at in range(0, len(data), 32768)
            for one in parsed.feed(memoryview(data)[at : at + 32768])
        ]
        assert len(found) == 2
        # What arrives, with what an array that grows has in reserve, and the result.
        assert tracemalloc.get_traced_memory()[1] < 2.3 * size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mfra", [box(b"mfra"), box(b"mfra", box(b"mfro", bytes(8)))])
def test_the_end_of_the_stream(mfra: bytes) -> None:
    *_, last = parse(VIDEO + PLAIN + mfra)
    assert isinstance(last, EndOfStream)
    assert [type(one) for one in parse(VIDEO + mfra + VIDEO + PLAIN)] == [
        Header, EndOfStream, Header, Fragment,
    ]  # fmt: skip


def test_a_fragment_of_nothing_is_none() -> None:
    nothing = [
        moof(),
        moof(Traf(truns=[])),
        moof(Traf(empty=True)),
        moof(Traf(truns=[Trun(rows=())])),
    ]
    for one in nothing:
        assert [type(i) for i in parse(VIDEO + one + PLAIN)] == [Header, Fragment]
        assert [type(i) for i in parse(VIDEO + one + box(b"mdat") + PLAIN)] == [Header, Fragment]
        assert [type(i) for i in parse(VIDEO + one + box(b"mdat", b"x"))] == [Header]
        assert [type(i) for i in parse(VIDEO + one)] == [Header]


def test_a_run_of_nothing_states_the_time() -> None:
    traf = Traf(time=70, truns=[Trun(rows=()), Trun()])
    _, track = only(VIDEO + fragment(traf))
    assert (track.time, track.duration) == (70, 80)


def test_tracks_that_are_not_served() -> None:
    other = empty(track_id=2, entry=visual_entry(b"abcd"))
    header = init(empty(), other)
    found = parse(header + fragment(Traf(), Traf(track_id=2)) + fragment(Traf(track_id=2)) + PLAIN)
    assert [type(one) for one in found] == [Header, Fragment, Fragment]
    assert isinstance(found[0], Header)
    assert found[0].skipped == ("track 2 (vide): abcd: the codec abcd is not known",)
    assert [track.track_ID for track in found[0].tracks] == [1]
    # Events are not lost with the samples.
    message = emsg(time=90_000, data=b"hello")
    (one,) = parts(header + message + fragment(Traf(track_id=2)))
    assert one.tracks == ()
    assert [event.begin for event in one.events] == [1]


# Headers


def smil(*entries: str, head: str = "") -> bytes:
    text = "".join(entries)
    return (
        f'<smil xmlns="x"><head>{head}</head><body><switch>{text}</switch></body></smil>'.encode()
    )


def manifest(text: bytes, version: bytes = bytes(4)) -> bytes:
    return box(b"uuid", MANIFEST, version, text)


def param(name: str, value: object) -> str:
    return f'<param name="{name}" value="{value}"/>'


def entry(kind: str, **params: object) -> str:
    inner = "".join(param(name, value) for name, value in params.items())
    return f"<{kind}>{inner}</{kind}>"


def test_a_live_server_manifest_names_tracks() -> None:
    text = smil(
        entry("audio", trackID=2, trackName="sound", systemLanguage="pt-BR", systemBitrate=64000),
        entry("video", trackID=1, trackName="picture", systemBitrate=0),
        entry("video", trackID=9, trackName="elsewhere", systemBitrate=5),
    )
    for body in (manifest(text), manifest(text, version=b""), manifest(text + b"\0")):
        (header,) = parse(FTYP + body + BOTH[len(FTYP) :])
        assert isinstance(header, Header)
        video, audio = header.tracks
        assert (video.name, video.bitrate, video.language) == ("picture", None, None)
        assert (audio.name, audio.bitrate, audio.language) == ("sound", 64000, "pt-BR")
        assert header.data == FTYP + body + BOTH[len(FTYP) :]
        assert [t.name for t in read_header(header.data).tracks] == ["picture", "sound"]


def test_entries_without_trackid_are_told_apart_by_kind() -> None:
    text = smil(entry("audio", trackName="sound"), entry("video", trackName="picture"))
    (header,) = parse(FTYP + manifest(text) + BOTH[len(FTYP) :])
    assert isinstance(header, Header)
    assert [track.name for track in header.tracks] == ["picture", "sound"]
    two = init(empty(), empty(track_id=2))
    (header,) = parse(FTYP + manifest(text) + two[len(FTYP) :])
    assert isinstance(header, Header)
    assert [track.name for track in header.tracks] == [None, None]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"<smil", "line 1"),
        (b"", "is empty"),
        (b"<html/>", "not smil"),
        (smil(entry("video", trackName="no good!")), "trackName"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><smil/>', "document type"),
    ],
)
def test_media_is_served_without_a_manifest_that_cannot_be_read(text: bytes, reason: str) -> None:
    (header,) = parse(FTYP + manifest(text) + VIDEO[len(FTYP) :])
    assert isinstance(header, Header)
    assert [track.name for track in header.tracks] == [None]
    assert len(header.skipped) == 1
    assert header.skipped[0].startswith("the live server manifest: ")
    assert reason in header.skipped[0]


def test_headers_do_not_mix() -> None:
    named = manifest(smil(entry("video", trackName="a")))
    renamed = manifest(smil(entry("video", trackName="b")))
    rest = VIDEO[len(FTYP) :]
    data = FTYP + named + rest + FTYP + rest + FTYP + named + renamed + rest + rest
    found = [one.tracks[0].name for one in parse(data) if isinstance(one, Header)]
    assert found == ["a", None, "b", None]


def test_a_header_without_ftyp_and_with_other_boxes() -> None:
    rest = VIDEO[len(FTYP) :]
    (header,) = parse(box(b"free", b"1234") + rest)
    assert isinstance(header, Header)
    assert header.data == rest
    assert header.tracks[0].kind is Kind.VIDEO


def test_digests() -> None:
    def digest(*traks: Trak, defaults: Sequence[bytes] | None = None) -> bytes:
        return read_header(init(*traks, defaults=defaults)).digest

    plain = digest(empty())
    assert len(plain) == 32
    assert plain == digest(empty(language="ger"))
    others = [
        digest(empty(timescale=90000)),
        digest(empty(track_id=3)),
        digest(empty(entry=visual_entry(width=128))),
        digest(empty(handler_type=AUDIO)),
        digest(empty(edit=elst((0, 5)))),
        digest(empty(edit=elst((5, -1), (0, 0)))),
        digest(empty(), empty(track_id=2)),
        digest(empty(), defaults=[trex(1, duration=5)]),
        digest(empty(), defaults=[trex(1, size=5)]),
        digest(empty(), defaults=[trex(1, flags=5)]),
    ]
    assert len({plain, *others}) == len(others) + 1


# Samples in the moov


def with_samples(*traks: Trak, before: bytes = b"") -> bytes:
    """ftyp and a moov whose samples are in the mdat behind it, one chunk per track."""
    mvex = box(b"mvex", *(trex(trak.track_id) for trak in traks))

    def built(start: int) -> bytes:
        boxes = []
        for trak in traks:
            boxes.append(trak.build(start))
            start += sum(trak.sizes)
        return moov(*boxes, mvex)

    return FTYP + before + built(len(FTYP) + len(before) + len(built(0)) + 8)


def test_samples_of_the_moov_are_the_first_fragment() -> None:
    video = Trak(sizes=(3, 4, 5), sync=(1,), offsets=((1, 0), (1, 80), (1, -40)))
    audio = Trak(track_id=2, handler_type=AUDIO, sizes=(6, 7), delta=9)
    other = Trak(track_id=3, entry=visual_entry(b"abcd"), sizes=(1,))
    data = with_samples(video, audio, other)
    follows = fragment(Traf(time=None), Traf(track_id=2, time=None))
    header, first, second = parse(data + box(b"mdat", PAYLOAD[:26]) + follows)
    assert isinstance(header, Header)
    assert isinstance(first, Fragment)
    assert isinstance(second, Fragment)
    picture, sound = first.tracks
    assert (picture.time, picture.duration, picture.begins) == (0, 120, True)
    assert picture.samples.sync is not None
    assert picture.samples.sync.tolist() == [True, False, False]
    assert picture.samples.composition_offset is not None
    assert picture.samples.composition_offset.tolist() == [0, 80, -40]
    assert (sound.time, sound.duration) == (0, 18)
    for track, expected in ((picture, PAYLOAD[:12]), (sound, PAYLOAD[12:25])):
        ends = track.samples.offset + track.samples.size
        assert first.data[int(track.samples.offset[0]) : int(ends[-1])] == expected
    assert [track.time for track in second.tracks] == [120, 18]
    # The header stands in front of any fragment.
    again = StreamParser()
    assert [type(one) for one in again.feed(header.data + second.data)] == [Header, Fragment]
    assert read_header(header.data).digest == header.digest


def test_chunks_of_the_moov_are_gathered() -> None:
    def tables(*chunks: int) -> list[bytes]:
        offsets = full(b"stco", words(2), words(*chunks))
        return [stts((2, 40)), stsz(3, 4), stsc((1, 1, 1)), offsets]

    size = len(with_samples(Trak(tables=tables(0, 0)))) + 8
    data = with_samples(Trak(tables=tables(size + 20, size + 2)))
    _, one = parse(data + box(b"mdat", PAYLOAD))
    assert isinstance(one, Fragment)
    samples = one.tracks[0].samples
    assert [
        one.data[at : at + length]
        for at, length in zip(samples.offset.tolist(), samples.size.tolist(), strict=True)
    ] == [PAYLOAD[20:23], PAYLOAD[2:6]]


def test_samples_of_tracks_that_are_not_served_are_passed_over() -> None:
    data = with_samples(empty(), Trak(track_id=2, entry=visual_entry(b"abcd"), sizes=(9,)))
    found = parse(data + box(b"free") + box(b"mdat", bytes(9)) + PLAIN)
    assert [type(one) for one in found] == [Header, Fragment]


def test_samples_of_the_moov_outside_the_mdat() -> None:
    data = with_samples(Trak())
    for short in (box(b"mdat", bytes(99)), box(b"free") + box(b"mdat", bytes(100))):
        found = "of the moov does not lie in the mdat"
        fails(data + short, found, path="moov", at=len(FTYP))


@pytest.mark.parametrize("rest", [b"", moof(Traf()), VIDEO])
def test_samples_of_the_moov_without_mdat(rest: bytes) -> None:
    data = with_samples(Trak())
    path = {b"": "moov"}.get(rest, rest[4:8].decode())
    match = "should be" if not rest else "have no mdat"
    fails(data + rest, match, path=path, at=len(data))


def test_a_moov_of_too_many_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initial, "MAX_SAMPLES", 3)
    fails(with_samples(Trak()), "more than 3 samples", path="moov", at=len(FTYP))
    common = [stts((1 << 24, 1)), stsz(common=1, count=1 << 24), stsc((1, 1 << 24, 1))]
    data = with_samples(Trak(tables=[*common, full(b"stco", words(1), words(0))]))
    fails(data, "more than 3 samples", path="moov", at=len(FTYP))


# What is wrong


@pytest.mark.parametrize(
    ("data", "match", "path", "at"),
    [
        (b"GET /x HTTP/1.1\r\n\r\n", "no ISO BMFF box", "0x2f782048", 0),
        (bytes(64), "no ISO BMFF box", "0x00000000", 0),
        (b"\xff" * 64, "no ISO BMFF box", "0xffffffff", 0),
        (box(b"abcd", bytes(9)), "no ISO BMFF box", "abcd", 0),
        (PLAIN, "no moov came before", "moof", 0),
        (box(b"mdat", b"x") + VIDEO, "nothing describes", "mdat", 0),
        (words(0) + b"mdat", "nothing describes", "mdat", 0),
        (VIDEO + box(b"abcd", size=1 << 31), "of unknown type claims", "abcd", len(VIDEO)),
        (VIDEO + b"\0\0\0\x08\1\2\3\4", "no ISO BMFF box", "0x01020304", len(VIDEO)),
        (VIDEO + box(b"free", size=7), "claims 7 bytes", "free", len(VIDEO)),
        (VIDEO + box(b"free", large=True, size=15), "claims 15 bytes", "free", len(VIDEO)),
        (VIDEO + box(b"free", large=True, size=0), "claims 0 bytes", "free", len(VIDEO)),
        (VIDEO + box(b"uuid", bytes(16), size=23), "claims 23 bytes", "uuid", len(VIDEO)),
        (VIDEO + PLAIN + box(b"mdat", b"x"), "nothing describes", "mdat", len(VIDEO + PLAIN)),
        (VIDEO + PLAIN[:-38] + PLAIN, "have no mdat", "moof", len(VIDEO + PLAIN) - 38),
        (VIDEO + PLAIN[:-38] + FTYP, "have no mdat", "ftyp", len(VIDEO + PLAIN) - 38),
        (VIDEO + PLAIN[:-38] + box(b"mfra"), "have no mdat", "mfra", len(VIDEO + PLAIN) - 38),
        (VIDEO + PLAIN[:-38], "should be", "moof", len(VIDEO + PLAIN) - 38),
        (VIDEO + PLAIN[:-1], "inside the box, 1 bytes early", "mdat", len(VIDEO + PLAIN) - 38),
        (VIDEO[:-5], "inside the box, 5 bytes early", "moov", len(FTYP)),
        (VIDEO + PLAIN[:7], "header of a box, at least 1 bytes early", "", len(VIDEO)),
        (VIDEO + words(1) + b"free" + bytes(3), "at least 5 bytes early", "", len(VIDEO)),
        (VIDEO + words(40) + b"uuid" + bytes(3), "at least 13 bytes early", "", len(VIDEO)),
        (FTYP + moov(empty().build(0)), "has no mvex", "moov", len(FTYP)),
        (init(), "nothing in the stream can be served: there is no track", "moov", len(FTYP)),
        (init(empty(entry=visual_entry(b"abcd"))), "abcd is not known", "moov", len(FTYP)),
        (init(empty(external=True)), "its data is in another file", "moov", len(FTYP)),
    ],
)
def test_errors(data: bytes, match: str, path: str, at: int) -> None:
    fails(data, match, path=path, at=at)


def test_damaged_headers_and_fragments_name_their_boxes() -> None:
    bad = box(b"moov", box(b"mvhd", bytes(3)), box(b"mvex"))
    fails(VIDEO + FTYP + bad, "3 bytes", path="moov/mvhd", at=len(VIDEO + FTYP) + 16)
    lying = fragment(Traf(truns=[Trun(count=5)]))
    error = fails(VIDEO + PLAIN + lying, "5 samples are claimed", path="moof[1]/traf/trun",
                  at=len(VIDEO + PLAIN) + 76)  # fmt: skip
    assert isinstance(error, InvalidMedia)
    back = Traf(time=100), Traf(time=50)
    fails(VIDEO + fragment(*back, mdat=bytes(60)), "the decode time goes back",
          path="moof/traf(track 1)/trun", at=len(VIDEO))  # fmt: skip
    far = Traf(time=0), Traf(time=1 << 40, time_version=1)
    fails(VIDEO + fragment(*far, mdat=bytes(60)), "lasts longer", path="moof/traf(track 1)/trun",
          at=len(VIDEO))  # fmt: skip


def test_errors_are_for_good() -> None:
    parsed = StreamParser()
    found = parsed.feed(VIDEO + PLAIN + b"garbage" * 3)
    assert (type(next(found)), type(next(found))) == (Header, Fragment)
    with pytest.raises(InvalidMedia) as first:
        next(found)
    for again in (lambda: list(parsed.feed(PLAIN)), parsed.finish):
        with pytest.raises(InvalidMedia) as repeated:
            again()
        assert type(repeated.value) is type(first.value)
        assert vars(repeated.value) == vars(first.value)


@pytest.mark.parametrize(
    ("data", "path", "at", "limits"),
    [
        (VIDEO, "moov", len(FTYP), {"max_header": len(VIDEO) - 1}),
        (FTYP + manifest(bytes(400)) + VIDEO, "uuid", len(FTYP), {"max_header": 400}),
        (VIDEO + PLAIN, "mdat", len(VIDEO + PLAIN) - 38, {"max_fragment": len(PLAIN) - 1}),
        (VIDEO + PLAIN, "moof", len(VIDEO), {"max_fragment": 20}),
        (VIDEO + box(b"styp", bytes(30)) + PLAIN, "mdat", len(VIDEO + PLAIN),
         {"max_fragment": len(PLAIN) + 37}),
        (VIDEO + PLAIN[:-38] + words(0) + PLAIN[-34:], "mdat", len(VIDEO + PLAIN) - 38,
         {"max_fragment": len(PLAIN) - 1}),
    ],
)  # fmt: skip
def test_limits(data: bytes, path: str, at: int, limits: dict[str, int]) -> None:
    error = fails(data, "at most", path=path, at=at, **limits)
    assert isinstance(error, UnsupportedMedia)
    (name, value) = next(iter(limits.items()))
    parse(data, **{name: 3 * value + 600})


def test_limits_of_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fragments_module, "MAX_SAMPLES", 3)
    with pytest.raises(UnsupportedMedia, match="more than 3 samples"):
        parse(VIDEO + fragment(Traf(truns=[SIZES]), Traf(track_id=2)))
    monkeypatch.setattr(parser, "MAX_BESIDE", 2)
    parse(VIDEO + 2 * box(b"styp") + PLAIN)
    at = len(VIDEO) + 16
    fails(VIDEO + 3 * box(b"styp") + PLAIN, "more than 2 boxes", path="styp", at=at)
    monkeypatch.setattr(parser, "MAX_MOOF", 40)
    fails(VIDEO + PLAIN, "at most 40", path="moof", at=len(VIDEO))


LARGE = 4 << 20
# What is large arrives, and then: nothing more; no samples where they should be; no box.
UNFINISHED = {
    "cut": (VIDEO, moof(Traf()), words(2 * LARGE), b"mdat"),
    "damaged": (VIDEO, moof(Traf(truns=[Trun(data_offset=1 << 30)])), words(8 + LARGE), b"mdat"),
    "no box": (VIDEO, words(8 + LARGE), b"emsg"),
}


@pytest.mark.parametrize("what", UNFINISHED)
def test_nothing_stays_of_what_was_not_finished(what: str) -> None:
    head = b"".join(UNFINISHED[what])
    gc.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        one: StreamParser | None = StreamParser()
        assert one is not None
        failed = False
        try:
            for piece in (head, *[bytes(LARGE // 64)] * 64, bytes(8)):
                for _ in one.feed(piece):
                    pass
        except OriginError:
            failed = True
        assert failed == (what != "cut")
        if not failed:
            assert tracemalloc.get_traced_memory()[0] > before + LARGE
            one = None
        # One that has failed stays, to be asked again why.
        assert tracemalloc.get_traced_memory()[0] < before + LARGE // 4
    finally:
        tracemalloc.stop()
        gc.enable()


def test_runs_without_rows_cannot_lie_about_their_length() -> None:
    common = Traf(defaults=(1, 1, None), truns=[Trun(flags=1, rows=(), count=0xFFFFFFFF)])
    with pytest.raises(UnsupportedMedia, match="more than 262144 samples"):
        parse(VIDEO + fragment(common))


def test_a_header_of_nothing() -> None:
    with pytest.raises(InvalidMedia, match="the stream has no moov"):
        read_header(FTYP)
    with pytest.raises(OriginError):
        read_header(b"")
