"""A reader of FLV tags that complains of everything that does not add up.

Adobe Flash Video File Format Specification 10.1, annex E. Written from the specification, with
nothing of the muxer's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

AUDIO, VIDEO, SCRIPT = 8, 9, 18
FILE_HEADER = b"FLV\x01\x05\0\0\0\x09\0\0\0\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """``timestamp``: ms, of decoding. ``composition``: ms from there to presentation.

    ``configuration``: whether ``data`` is avcC or AudioSpecificConfig rather than a sample.
    """

    type: int
    timestamp: int
    composition: int
    is_key: bool
    configuration: bool
    data: bytes

    @property
    def presented(self) -> int:
        return self.timestamp + self.composition


def read_tags(data: bytes) -> list[Tag]:
    """The tags that fill ``data``; raises ``AssertionError`` with the place of what is wrong."""
    tags = []
    at = 0
    while at < len(data):
        assert at + 11 <= len(data), f"{at}: a tag header is cut"
        tag_type = data[at]
        size = int.from_bytes(data[at + 1 : at + 4])
        timestamp = int.from_bytes(data[at + 7 : at + 8] + data[at + 4 : at + 7], signed=True)
        assert data[at + 8 : at + 11] == bytes(3), f"{at}: StreamID is not 0"
        assert timestamp >= 0, f"{at}: timestamp {timestamp}"
        end = at + 11 + size
        assert end + 4 <= len(data), f"{at}: a tag of {size} bytes is cut"
        behind = int.from_bytes(data[end : end + 4])
        assert behind == 11 + size, f"{at}: PreviousTagSize {behind} behind {11 + size} bytes"
        tags.append(_tag(tag_type, timestamp, data[at + 11 : end], at))
        at = end + 4
    return tags


def _tag(tag_type: int, timestamp: int, body: bytes, at: int) -> Tag:
    composition, is_key, packet_type, skip = 0, True, 0, 0
    if tag_type == VIDEO:
        assert body[0] & 0x0F == 7, f"{at}: CodecID {body[0] & 0x0F} is not AVC"
        assert body[0] >> 4 in (1, 2), f"{at}: FrameType {body[0] >> 4}"
        is_key, packet_type, skip = body[0] >> 4 == 1, body[1], 5
        composition = int.from_bytes(body[2:5], signed=True)
        assert composition >= 0, f"{at}: presented {-composition} ms before it is decoded"
    elif tag_type == AUDIO:
        assert body[0] == 0xAF, f"{at}: SoundFormat byte {body[0]:#x} is not that of AAC"
        packet_type, skip = body[1], 2
    else:
        raise AssertionError(f"{at}: tag type {tag_type}")
    assert packet_type in (0, 1), f"{at}: packet type {packet_type}"
    assert len(body) > skip, f"{at}: an empty sample"
    return Tag(
        type=tag_type,
        timestamp=timestamp,
        composition=composition,
        is_key=is_key,
        configuration=packet_type == 0,
        data=body[skip:],
    )


def read_fragment(fragment: bytes) -> list[Tag]:
    """The tags of an HDS fragment of one ``mdat`` box. It can be played alone: configurations come
    first, then a key frame as the first picture, and timestamps never go back."""
    size, box_type = struct.unpack(">I4s", fragment[:8])
    body = 8
    if size == 1:
        (size,) = struct.unpack(">Q", fragment[8:16])
        body = 16
    assert (box_type, size) == (b"mdat", len(fragment))
    tags = read_tags(fragment[body:])
    configured = set()
    for tag in tags:
        if tag.configuration:
            assert tag.type not in configured, "a second configuration"
            configured.add(tag.type)
        else:
            assert tag.type in configured, "a sample before its configuration"
    pictures = [tag for tag in samples(tags) if tag.type == VIDEO]
    assert not pictures or pictures[0].is_key, "no key frame at the start"
    times = [tag.timestamp for tag in tags]
    assert times == sorted(times), "timestamps go back"
    return tags


def samples(tags: list[Tag], tag_type: int | None = None) -> list[Tag]:
    """The tags that hold a sample, of one type where it is given."""
    return [tag for tag in tags if not tag.configuration and tag_type in (None, tag.type)]
