"""Splice information sections: those of the standard's own examples, and any others."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.codecs.scte35 import Segmentation, SpliceInfo, SpliceInsert, read_section
from sidecar.errors import InvalidMedia
from tests.support.events import section, segmentation, splice_insert, time_signal

# ANSI/SCTE 35 2019, 14.1 and 14.2.
TIME_SIGNAL = base64.b64decode(
    "/DA0AAAAAAAA///wBQb+cr0AUAAeAhxDVUVJSAAAjn/PAAGlmbAICAAAAAAsoKGKNAIAmsnRfg=="
)
SPLICE_INSERT = base64.b64decode(
    "/DAvAAAAAAAA///wFAVIAACPf+/+c2nALv4AUsz1AAAAAAAKAAhDVUVJAAABNWLbowo="
)


def test_examples_of_the_standard() -> None:
    assert read_section(TIME_SIGNAL) == SpliceInfo(
        command=6,
        pts=0x072BD0050,
        segmentations=(
            Segmentation(event_id=0x4800008E, cancels=False, type_id=0x34, duration=0x1A599B0),
        ),
    )
    assert read_section(SPLICE_INSERT) == SpliceInfo(
        command=5,
        insert=SpliceInsert(
            event_id=0x4800008F,
            cancels=False,
            out=True,
            duration=0x52CCF5,
            auto_return=True,
            pts=0x07369C02E,
        ),
    )


def test_fields() -> None:
    late = read_section(splice_insert(7, out=False, pts=1 << 32, pts_adjustment=(1 << 33) - 1))
    assert late.insert == SpliceInsert(event_id=7, cancels=False, pts=(1 << 32) - 1)
    now = read_section(splice_insert(7, pts=None, duration=90_000, auto_return=False))
    assert now.insert == SpliceInsert(event_id=7, cancels=False, out=True, duration=90_000)
    taken_back = read_section(splice_insert(7, cancel=True))
    assert taken_back.insert == SpliceInsert(event_id=7, cancels=True)
    two = time_signal(
        segmentation(1, 0x31), b"\x07\x01x", segmentation(2, 0x30, duration=9), pts=None
    )
    assert read_section(two) == SpliceInfo(
        command=6,
        segmentations=(
            Segmentation(event_id=1, cancels=False, type_id=0x31),
            Segmentation(event_id=2, cancels=False, type_id=0x30, duration=9),
        ),
    )
    assert read_section(time_signal(segmentation(3, 0, cancel=True))).segmentations == (
        Segmentation(event_id=3, cancels=True),
    )


def test_what_is_not_told() -> None:
    assert read_section(section(0, b"")) == SpliceInfo(command=0)
    # Encoders of long ago do not say how long the command is.
    assert read_section(splice_insert(7, length=0xFFF)).insert is not None
    assert read_section(section(0xFF, b"any", length=0xFFF)) == SpliceInfo(command=0xFF)
    assert read_section(section(5, b"secret", encrypted=1)) == SpliceInfo(command=5, encrypted=True)
    assert read_section(SPLICE_INSERT + b"\xff" * 9) == read_section(SPLICE_INSERT)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no splice information section"),
        (b"\x00" + SPLICE_INSERT[1:], "no splice information section"),
        (SPLICE_INSERT[:-1], "claims 50 bytes, 49 are there"),
        (SPLICE_INSERT[:20] + b"\0" + SPLICE_INSERT[21:], "checksum"),
        (section(5, b"\0\0\0\1"), "contradicts itself"),
        (section(6, b"\x7f", length=0), "longer than it says"),
        (time_signal(b"\x02\x40CUEI"), "longer than its loop"),
        (time_signal(b"\x02\x05CUEI\0"), "contradicts itself"),
        (section(0, b"", protocol_version=1), "protocol_version"),
    ],
)
def test_damage(data: bytes, sentence: str) -> None:
    with pytest.raises(InvalidMedia, match=sentence):
        read_section(data)


@given(st.binary(max_size=80), st.sampled_from([0, 4, 5, 6, 7, 0xFF]), st.binary(max_size=40))
@example(b"\xff" * 80, 5, b"")
def test_nothing_else_is_raised(body: bytes, command: int, descriptors: bytes) -> None:
    for data in (body, section(command, body, descriptors)):
        try:
            info = read_section(data)
        except InvalidMedia:
            continue
        assert 8 * len(info.segmentations) <= len(descriptors)


@given(
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.none() | st.integers(0, 2**33 - 1),
    st.none() | st.integers(0, 2**33 - 1),
)
def test_what_was_written_is_read(
    event_id: int, out: bool, duration: int | None, pts: int | None
) -> None:
    found = read_section(splice_insert(event_id, out=out, duration=duration, pts=pts)).insert
    assert found == SpliceInsert(
        event_id=event_id,
        cancels=False,
        out=out,
        duration=duration,
        auto_return=duration is not None,
        pts=pts,
    )
