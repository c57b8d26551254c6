"""How NAL units lie in samples, and which of them matter to a transport stream."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sidecar.codecs.entry import visual_entry
from sidecar.errors import UnsupportedMedia

_AVC = ("avc1", "avc3")
_HEVC = ("hvc1", "hev1")


@dataclass(frozen=True, slots=True, kw_only=True)
class NalFormat:
    """NAL units of a video track.

    ``length_size``: bytes of the length before each unit in a sample (1, 2 or 4). ``shift`` and
    ``mask``: type = first byte >> shift & mask. ``parameter_sets``: the types that a decoder needs
    before an access unit that it can begin with. ``delimiter``: type of the access unit delimiter;
    ``delimiter_unit``: one that allows any kind of picture.
    """

    length_size: int
    shift: int
    mask: int
    parameter_sets: tuple[int, ...]
    delimiter: int
    delimiter_unit: bytes


def has_nal_units(sample_entry_type: str) -> bool:
    """Whether samples of ``sample_entry_type`` are NAL units of H.264 or H.265."""
    return sample_entry_type in _AVC or sample_entry_type in _HEVC


@lru_cache(maxsize=512)
def nal_format(sample_entry_type: str, sample_entry_box: bytes) -> NalFormat:
    """Of a track whose sample entry (whole, of ``sample_entry_type``) is ``sample_entry_box``.

    ISO/IEC 14496-15 5.3.3.1 (avcC), 8.3.3.1 (hvcC); NAL unit types: 14496-10 table 7-1, 23008-2
    table 7-1. Raises ``UnsupportedMedia`` for entries other than H.264 and H.265, ``InvalidMedia``
    for a damaged one.
    """
    if not has_nal_units(sample_entry_type):
        raise UnsupportedMedia(f"{sample_entry_type} has no NAL units")
    is_avc = sample_entry_type in _AVC
    entry = visual_entry(sample_entry_box, box_path="stsd", offset=0)
    config = entry.require(b"avcC" if is_avc else b"hvcC")
    at = 4 if is_avc else 21
    if len(config.body) <= at:
        raise config.invalid("the configuration record ends before its lengthSizeMinusOne")
    length_size = (config.body[at] & 3) + 1
    if length_size == 3:
        raise config.invalid("NAL unit lengths of 3 bytes do not exist")
    if is_avc:
        return NalFormat(
            length_size=length_size,
            shift=0,
            mask=0x1F,
            parameter_sets=(7, 8),
            delimiter=9,
            delimiter_unit=b"\x09\xf0",
        )
    return NalFormat(
        length_size=length_size,
        shift=1,
        mask=0x3F,
        parameter_sets=(32, 33, 34),
        delimiter=35,
        delimiter_unit=b"\x46\x01\x50",
    )
