"""An independent reader of Smooth Streaming: client manifests and fragments.

It shares no code with the sidecar on purpose.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from urllib.parse import unquote

from lxml import etree

from tests.support.isobmff import boxes, find

TFXD = bytes.fromhex("6d1d9b0542d544e680e2141daff757b2")
TFRF = bytes.fromhex("d4807ef2ca3946958e5426cb9e46a79f")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamIndex:
    """``chunks``: (t, d) of every fragment; ``levels``: attributes of each QualityLevel."""

    attributes: dict[str, str]
    levels: tuple[dict[str, str], ...]
    chunks: tuple[tuple[int, int], ...]
    timescale: int

    @property
    def name(self) -> str:
        return self.attributes["Name"]

    @property
    def kind(self) -> str:
        return self.attributes["Type"]

    def url(self, level: dict[str, str], time: int) -> str:
        """Relative to the folder of the manifest, as clients make it."""
        template = self.attributes["Url"]
        return template.replace("{bitrate}", level["Bitrate"]).replace("{start time}", str(time))

    def path(self, level: dict[str, str], time: int) -> str:
        """The same as virtual path: decoded, without its query."""
        return unquote(self.url(level, time).partition("?")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientManifest:
    attributes: dict[str, str]
    streams: tuple[StreamIndex, ...]

    def of(self, kind: str) -> list[StreamIndex]:
        return [stream for stream in self.streams if stream.kind == kind]


def read_manifest(data: bytes) -> ClientManifest:
    """The client manifest ``data``; its counts must be true."""
    root = etree.fromstring(data)
    assert root.tag == "SmoothStreamingMedia"
    default = int(root.get("TimeScale", "10000000"))
    return ClientManifest(
        attributes=dict(root.attrib),
        streams=tuple(_stream(element, default) for element in root.iterfind("StreamIndex")),
    )


def _stream(element: etree._Element, timescale: int) -> StreamIndex:
    chunks: list[tuple[int, int]] = []
    time = 0
    for entry in element.iterfind("c"):
        time = int(entry.get("t", time))
        duration = int(entry.get("d", "0"))
        # Unlike in DASH, this is how many there are, not how many more.
        for _ in range(int(entry.get("r", "1"))):
            chunks.append((time, duration))
            time += duration
    levels = tuple(dict(level.attrib) for level in element.iterfind("QualityLevel"))
    assert int(element.get("Chunks", "-1")) == len(chunks)
    assert int(element.get("QualityLevels", "-1")) == len(levels)
    return StreamIndex(
        attributes=dict(element.attrib),
        levels=levels,
        chunks=tuple(chunks),
        timescale=int(element.get("TimeScale", timescale)),
    )


@dataclass(slots=True, kw_only=True)
class Fragment:
    """Times of one fragment, ticks of its stream, decode order; ``time``, ``duration``: of tfxd.

    ``moof``: bytes of that box. ``following``: (time, duration) of each entry of tfrf, None without
    that box.
    """

    sequence: int
    track_id: int
    time: int
    duration: int
    moof: int
    trun_version: int = 0
    following: list[tuple[int, int]] | None = None
    durations: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)

    def presentation(self, start: int | None = None) -> list[int]:
        """When the samples are presented by a client that lets it begin at ``start``."""
        times, now = [], self.time if start is None else start
        for duration, offset in zip(self.durations, self.offsets, strict=True):
            times.append(now + offset)
            now += duration
        return times


def read_fragment(data: bytes, *, metadata_only: bool = False) -> Fragment:
    """The fragment ``data``: moof(mfhd, traf(tfhd, trun, tfxd)) and the mdat that its samples fill;
    behind tfxd there may be a tfrf.

    ``metadata_only``: ``data`` is the moof alone.
    """
    top = list(boxes(data))
    assert [name for name, _, _ in top] == (["moof"] if metadata_only else ["moof", "mdat"])
    _, moof_body, moof_end = top[0]
    assert [name for name, _, _ in boxes(data, moof_body, moof_end)] == ["mfhd", "traf"]
    mfhd, traf = find(data, "moof/mfhd"), find(data, "moof/traf")
    assert mfhd is not None and traf is not None
    children = list(boxes(data, *traf))
    assert [name for name, _, _ in children[:3]] == ["tfhd", "trun", "uuid"]
    inside = {name: (body, end) for name, body, end in children[:3]}
    following = _following(data, children[3]) if children[3:] else None
    assert len(children) <= 4

    body, end = inside["uuid"]
    assert data[body : body + 16] == TFXD and end - body == 16 + 20
    assert data[body + 16] == 1, "64-bit times"
    time, duration = struct.unpack_from(">QQ", data, body + 20)

    at = inside["tfhd"][0]
    flags, track_id = struct.unpack_from(">II", data, at)
    assert not flags & 0x1, "no base-data-offset"
    at += 8
    defaults = [0, 0, 0]
    for index, bit in enumerate((0x8, 0x10, 0x20)):
        if flags & bit:
            defaults[index] = struct.unpack_from(">I", data, at)[0]
            at += 4
    assert at == inside["tfhd"][1]

    at, stop = inside["trun"]
    version, bits = data[at], struct.unpack_from(">I", data, at)[0] & 0xFFFFFF
    count, data_offset = struct.unpack_from(">Ii", data, at + 4)
    assert bits & 0x1
    at += 12
    fragment = Fragment(
        sequence=struct.unpack_from(">I", data, mfhd[0] + 4)[0],
        track_id=track_id,
        time=time,
        duration=duration,
        moof=moof_end,
        trun_version=version,
        following=following,
    )
    first_flags = None
    if bits & 0x4:
        first_flags = struct.unpack_from(">I", data, at)[0]
        at += 4
    for index in range(count):
        row = [*defaults, 0]
        for column, bit in enumerate((0x100, 0x200, 0x400, 0x800)):
            if bits & bit:
                form = ">i" if bit == 0x800 and version else ">I"
                row[column] = struct.unpack_from(form, data, at)[0]
                at += 4
        if index == 0 and first_flags is not None:
            row[2] = first_flags
        fragment.durations.append(row[0])
        fragment.sizes.append(row[1])
        fragment.flags.append(row[2])
        fragment.offsets.append(row[3])
    assert at == stop
    if not metadata_only:
        _, mdat_body, mdat_end = top[1]
        assert data_offset == mdat_body, "the samples begin where mdat's body begins"
        assert mdat_body + sum(fragment.sizes) == mdat_end, "the samples fill mdat"
    return fragment


def _following(data: bytes, child: tuple[str, int, int]) -> list[tuple[int, int]]:
    name, body, end = child
    assert name == "uuid" and data[body : body + 16] == TFRF
    version, count = data[body + 16], data[body + 20]
    assert version == 1 and data[body + 17 : body + 20] == bytes(3)
    assert end == body + 21 + 16 * count
    return [struct.unpack_from(">QQ", data, body + 21 + 16 * at) for at in range(count)]
