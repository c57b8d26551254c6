"""An independent reader of served CMAF: what a segment says of its own times.

It shares no code with the sidecar on purpose.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[str, int, int]]:
    """(type, start of the body, end) of the boxes that fill ``data``; they must fill it exactly."""
    end = len(data) if end is None else end
    while start < end:
        size, name = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if size == 1:
            size = struct.unpack_from(">Q", data, body)[0]
            body += 8
        assert size >= body - start and start + size <= end, f"box {name!r} of {size} at {start}"
        yield name.decode("latin-1"), body, start + size
        start += size


def find(data: bytes, path: str, start: int = 0, end: int | None = None) -> tuple[int, int] | None:
    """Body of the first box at ``path`` (``moov/trak/mdia``), or None."""
    name, _, rest = path.partition("/")
    for box, body, stop in boxes(data, start, end):
        if box == name:
            if not rest:
                return body, stop
            found = find(data, rest, body, stop)
            if found is not None:
                return found
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Init:
    """What an init segment says. ``media_time``: of its edit list, ticks; 0 without one."""

    timescale: int
    track_id: int
    media_time: int
    default_flags: int
    default_duration: int
    default_size: int
    handler: str


def read_init(data: bytes) -> Init:
    """The one track of the init segment ``data``."""
    names = [name for name, _, _ in boxes(data)]
    assert names == ["ftyp", "moov"], names
    moov = find(data, "moov")
    assert moov is not None
    assert [name for name, _, _ in boxes(data, *moov)].count("trak") == 1

    def body(path: str) -> int:
        found = find(data, path)
        assert found is not None, path
        return found[0]

    tkhd, mdhd, trex = body("moov/trak/tkhd"), body("moov/trak/mdia/mdhd"), body("moov/mvex/trex")
    hdlr = body("moov/trak/mdia/hdlr")
    elst = find(data, "moov/trak/edts/elst")
    media_time = 0
    if elst is not None:
        version, count = data[elst[0]], struct.unpack_from(">I", data, elst[0] + 4)[0]
        assert count == 1, "one edit"
        media_time = struct.unpack_from(">q" if version else ">i", data,
                                        elst[0] + (16 if version else 12))[0]  # fmt: skip
    trex_id, _, duration, size, flags = struct.unpack_from(">5I", data, trex + 4)
    track_id = struct.unpack_from(">I", data, tkhd + (20 if data[tkhd] else 12))[0]
    assert trex_id == track_id
    for table in ("stts", "stsc", "stco"):
        entry = body(f"moov/trak/mdia/minf/stbl/{table}")
        assert struct.unpack_from(">I", data, entry + 4)[0] == 0, f"{table} is not empty"
    return Init(
        timescale=struct.unpack_from(">I", data, mdhd + (20 if data[mdhd] else 12))[0],
        track_id=track_id,
        media_time=media_time,
        default_flags=flags,
        default_duration=duration,
        default_size=size,
        handler=data[hdlr + 8 : hdlr + 12].decode("latin-1"),
    )


@dataclass(slots=True, kw_only=True)
class Segment:
    """Times of one media segment, in ticks of its track, in decode order."""

    sequence: int
    decode_time: int
    durations: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Decode time after the last sample."""
        return self.decode_time + sum(self.durations)

    def presentation(self, init: Init) -> list[int]:
        """Presentation times of the samples, decode order."""
        times = []
        now = self.decode_time
        for duration, offset in zip(self.durations, self.offsets, strict=True):
            times.append(now + offset - init.media_time)
            now += duration
        return times

    def earliest(self, init: Init) -> int:
        """Earliest presentation time, not before the presentation's start."""
        return max(0, min(self.presentation(init)))

    def latest(self, init: Init) -> int:
        """When the last sample in presentation order ends."""
        return max(
            time + duration
            for time, duration in zip(self.presentation(init), self.durations, strict=True)
        )

    @property
    def starts_with_sync(self) -> bool:
        return not self.flags[0] & 0x10000


def read_segment(data: bytes, init: Init) -> Segment:
    """The one fragment of the media segment ``data``; its samples must fill mdat exactly."""
    top = [(name, body, end) for name, body, end in boxes(data)]
    names = [name for name, _, _ in top if name not in {"styp", "sidx", "prft", "emsg"}]
    assert names == ["moof", "mdat"], [name for name, _, _ in top]
    moof_body, moof_end = next((b, e) for n, b, e in top if n == "moof")
    mdat_body, mdat_end = next((b, e) for n, b, e in top if n == "mdat")
    mfhd = find(data, "mfhd", moof_body, moof_end)
    traf = find(data, "traf", moof_body, moof_end)
    assert mfhd is not None and traf is not None
    tfhd, tfdt = find(data, "tfhd", *traf), find(data, "tfdt", *traf)
    assert tfhd is not None and tfdt is not None
    at = tfhd[0]
    flags, track_id = struct.unpack_from(">II", data, at)
    flags &= 0xFFFFFF
    assert track_id == init.track_id
    assert flags & 0x20000, "default-base-is-moof"
    assert not flags & 0x1, "base-data-offset is not CMAF"
    at += 8 + (4 if flags & 0x2 else 0)
    defaults = [init.default_duration, init.default_size, init.default_flags]
    for index, bit in enumerate((0x8, 0x10, 0x20)):
        if flags & bit:
            defaults[index] = struct.unpack_from(">I", data, at)[0]
            at += 4
    version = data[tfdt[0]]
    segment = Segment(
        sequence=struct.unpack_from(">I", data, mfhd[0] + 4)[0],
        decode_time=struct.unpack_from(">Q" if version else ">I", data, tfdt[0] + 4)[0],
    )
    position = None
    for name, body, _end in boxes(data, *traf):
        if name != "trun":
            continue
        version, bits = data[body], struct.unpack_from(">I", data, body)[0] & 0xFFFFFF
        count = struct.unpack_from(">I", data, body + 4)[0]
        at = body + 8
        if bits & 0x1:
            position = moof_body - 8 + struct.unpack_from(">i", data, at)[0]
            at += 4
        assert position is not None
        first_flags = None
        if bits & 0x4:
            first_flags = struct.unpack_from(">I", data, at)[0]
            at += 4
        if not segment.sizes:
            assert position == mdat_body, "the samples begin where mdat's body begins"
        for index in range(count):
            duration, size, sample_flags, offset = *defaults, 0
            if bits & 0x100:
                duration = struct.unpack_from(">I", data, at)[0]
                at += 4
            if bits & 0x200:
                size = struct.unpack_from(">I", data, at)[0]
                at += 4
            if bits & 0x400:
                sample_flags = struct.unpack_from(">I", data, at)[0]
                at += 4
            if bits & 0x800:
                offset = struct.unpack_from(">i" if version else ">I", data, at)[0]
                at += 4
            if index == 0 and first_flags is not None:
                sample_flags = first_flags
            segment.durations.append(duration)
            segment.sizes.append(size)
            segment.flags.append(sample_flags)
            segment.offsets.append(offset)
            position += size
    assert segment.sizes and position == mdat_end, "the samples fill mdat"
    return segment
