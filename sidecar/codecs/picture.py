"""Facts that every video codec states the same way: what a sequence parameter set says, sample
aspect ratio and colour."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import gcd

from sidecar.codecs.entry import SampleEntry

# Table E-1 of ISO/IEC 14496-10 (and of 23008-2): aspect_ratio_idc 1 .. 16.
SAMPLE_ASPECT_RATIO = (
    (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11),
    (80, 33), (18, 11), (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1),
)  # fmt: skip
EXTENDED_SAR = 255

# TransferCharacteristics of ISO/IEC 23091-2 -> VIDEO-RANGE of RFC 8216bis 4.4.6.2.
_VIDEO_RANGE = {1: "SDR", 6: "SDR", 13: "SDR", 14: "SDR", 15: "SDR", 16: "PQ", 18: "HLG"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """Code points of ISO/IEC 23091-2."""

    primaries: int
    transfer: int
    matrix: int
    full_range: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceParameterSet:
    """What is read of one. ``width``, ``height``: of what is shown of a picture, pixels. The others
    are None when it does not say. ``reordered``: how many pictures may be decoded before one and
    presented behind it (max_num_reorder_frames; sps_max_num_reorder_pics of the highest sub-layer).
    """

    width: int
    height: int
    sample_aspect: tuple[int, int] | None
    transfer: int | None
    reordered: int | None


def video_range(transfer: int | None) -> str | None:
    """``SDR``, ``PQ`` or ``HLG`` for a transfer characteristic; None when it does not say."""
    return None if transfer is None else _VIDEO_RANGE.get(transfer)


def pixel_aspect(entry: SampleEntry, coded: tuple[int, int] | None) -> tuple[int, int]:
    """The sample aspect ratio in lowest terms: of pasp, else ``coded``, else ``(1, 1)``.

    pasp wins because players honour the container (ISO/IEC 14496-12 12.1.4).
    """
    pasp = entry.children.get(b"pasp")
    candidates = [coded]
    if pasp is not None and len(pasp.body) >= 8:
        candidates.insert(0, struct.unpack_from(">II", pasp.body))
    for ratio in candidates:
        if ratio is not None and ratio[0] > 0 and ratio[1] > 0:
            common = gcd(*ratio)
            return ratio[0] // common, ratio[1] // common
    return (1, 1)


def colour_of(entry: SampleEntry) -> Colour | None:
    """What a ``colr`` box of type nclx or nclc says (ISO/IEC 14496-12 12.1.5), or None."""
    colr = entry.children.get(b"colr")
    if colr is None or len(colr.body) < 10 or colr.body[:4] not in (b"nclx", b"nclc"):
        return None
    primaries, transfer, matrix = struct.unpack_from(">HHH", colr.body, 4)
    full_range = colr.body[:4] == b"nclx" and len(colr.body) >= 11 and colr.body[10] >> 7 == 1
    return Colour(primaries=primaries, transfer=transfer, matrix=matrix, full_range=full_range)
