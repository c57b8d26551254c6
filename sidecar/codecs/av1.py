"""AV1: av1C and its sequence header (AV1 in ISOBMFF 2.3 and 5, AV1 bitstream 5.5)."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.codecs.bits import BitReader
from sidecar.codecs.entry import Child, VisualEntry
from sidecar.codecs.facts import VideoFacts
from sidecar.codecs.picture import Colour, colour_of, pixel_aspect, video_range

_OBU_SEQUENCE_HEADER = 1
_UNSPECIFIED = 2  # colour code points of ISO/IEC 23091-2
_SELECT_SCREEN_CONTENT_TOOLS = 2
# What a short codecs string stands for (AV1 in ISOBMFF 5).
_DEFAULT = (False, "110", Colour(primaries=1, transfer=1, matrix=1, full_range=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceHeader:
    """``width``/``height``: largest frame, pixels. ``colour``: None when not described."""

    width: int
    height: int
    colour: Colour | None
    full_range: bool


def av1_facts(entry: VisualEntry) -> VideoFacts:
    """Facts of an ``av01`` sample entry. Raises ``InvalidMedia`` for a damaged av1C."""
    config = entry.require(b"av1C")
    record = config.body
    if len(record) < 4 or record[0] != 0x81:
        raise config.invalid("av1C is not a version 1 configuration record")
    header = _sequence_header(config)
    colour = colour_of(entry)
    width, height = entry.width, entry.height
    full_range = colour is not None and colour.full_range
    if header is not None:
        colour = header.colour or colour
        width, height, full_range = header.width, header.height, header.full_range
    return VideoFacts(
        codec=codec_string(record, colour, full_range=full_range),
        sample_entry=entry.type,
        fourcc="AV01",
        width=width,
        height=height,
        pixel_aspect=pixel_aspect(entry, None),
        video_range=video_range(colour.transfer if colour else None),
        codec_private_data=record,
    )


def codec_string(record: bytes, colour: Colour | None, *, full_range: bool) -> str:
    """``av01.P.LLT.DD``: RFC 6381 codecs parameter of an av1C record (AV1 in ISOBMFF 5).

    The long form follows when chroma, colour or range are not those that the short one implies.
    ``record`` must hold the four fixed bytes.
    """
    seq_profile, seq_level_idx = record[1] >> 5, record[1] & 0x1F
    tier = "H" if record[2] & 0x80 else "M"
    high_bitdepth, twelve_bit = record[2] & 0x40, record[2] & 0x20
    depth = (12 if twelve_bit and seq_profile == 2 else 10) if high_bitdepth else 8
    short = f"av01.{seq_profile}.{seq_level_idx:02d}{tier}.{depth:02d}"
    monochrome = bool(record[2] & 0x10)
    subsampled = (record[2] >> 3 & 1, record[2] >> 2 & 1)
    position = record[2] & 3 if subsampled == (1, 1) else 0
    chroma = f"{subsampled[0]}{subsampled[1]}{position}"
    if colour is None:
        colour = _DEFAULT[2]
    points = (colour.primaries, colour.transfer, colour.matrix)
    stated = Colour(
        primaries=points[0], transfer=points[1], matrix=points[2], full_range=full_range
    )
    if (monochrome, chroma, stated) == _DEFAULT:
        return short
    code_points = ".".join(f"{point:02d}" for point in points)
    return f"{short}.{monochrome:d}.{chroma}.{code_points}.{full_range:d}"


def _sequence_header(config: Child) -> SequenceHeader | None:
    """The sequence header among configOBUs, or None: they may be empty."""
    record = config.body
    position = 4
    while position < len(record):
        obu_header = record[position]
        position += 2 if obu_header & 0x04 else 1
        size = len(record) - position
        if obu_header & 0x02:  # obu_has_size_field
            size, position = _leb128(config, position)
        if size < 0 or position + size > len(record):
            raise config.invalid("av1C ends within an OBU")
        if obu_header >> 3 & 0xF == _OBU_SEQUENCE_HEADER:
            return parse_sequence_header(
                record[position : position + size], box_path=config.box_path, offset=config.offset
            )
        position += size
    return None


def _leb128(config: Child, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(config.body[position : position + 8]):
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return value, position + index + 1
    raise config.invalid("an OBU size in av1C does not end")


def parse_sequence_header(
    payload: bytes, *, box_path: str = "", offset: int | None = None
) -> SequenceHeader:
    """A sequence header OBU without its OBU header (AV1 bitstream 5.5.1).

    Raises ``InvalidMedia`` when it ends early.
    """
    reader = BitReader(payload, box_path=box_path, offset=offset)
    seq_profile = reader.bits(3)
    reader.flag()  # still_picture
    reduced = reader.flag()  # reduced_still_picture_header
    if reduced:
        reader.skip(5)  # seq_level_idx
    else:
        _skip_operating_points(reader)
    width_bits, height_bits = reader.bits(4) + 1, reader.bits(4) + 1
    width, height = reader.bits(width_bits) + 1, reader.bits(height_bits) + 1
    if not reduced and reader.flag():  # frame_id_numbers_present_flag
        reader.skip(7)
    reader.skip(3)  # superblock size, filter intra, intra edge filter
    if not reduced:
        _skip_inter_tools(reader)
    reader.skip(3)  # superres, cdef, restoration
    colour, full_range = _color_config(reader, seq_profile)
    return SequenceHeader(width=width, height=height, colour=colour, full_range=full_range)


def _skip_operating_points(reader: BitReader) -> None:
    delay_bits = 0
    if reader.flag():  # timing_info_present_flag
        reader.skip(64)  # num_units_in_display_tick, time_scale
        if reader.flag():  # equal_picture_interval
            reader.ue()  # num_ticks_per_picture_minus_1: uvlc() is coded as ue(v)
        if reader.flag():  # decoder_model_info_present_flag
            delay_bits = reader.bits(5) + 1
            reader.skip(42)
    display_delay = reader.flag()  # initial_display_delay_present_flag
    for _ in range(reader.bits(5) + 1):  # operating_points_cnt_minus_1
        reader.skip(12)  # operating_point_idc
        if reader.bits(5) > 7:  # seq_level_idx
            reader.flag()  # seq_tier
        if delay_bits and reader.flag():  # decoder_model_present_for_this_op
            reader.skip(2 * delay_bits + 1)
        if display_delay and reader.flag():  # initial_display_delay_present_for_this_op
            reader.skip(4)


def _skip_inter_tools(reader: BitReader) -> None:
    reader.skip(4)  # interintra, masked compound, warped motion, dual filter
    order_hint = reader.flag()
    if order_hint:
        reader.skip(2)  # jnt_comp, ref_frame_mvs
    screen_content_tools = _SELECT_SCREEN_CONTENT_TOOLS
    if not reader.flag():  # seq_choose_screen_content_tools
        screen_content_tools = reader.bits(1)
    if screen_content_tools and not reader.flag():  # seq_choose_integer_mv
        reader.flag()  # seq_force_integer_mv
    if order_hint:
        reader.skip(3)  # order_hint_bits_minus_1


def _color_config(reader: BitReader, seq_profile: int) -> tuple[Colour | None, bool]:
    """color_config() up to color_range (AV1 bitstream 5.5.2)."""
    high_bitdepth = reader.flag()
    if seq_profile == 2 and high_bitdepth:
        reader.flag()  # twelve_bit
    mono_chrome = seq_profile != 1 and reader.flag()
    points = (_UNSPECIFIED, _UNSPECIFIED, _UNSPECIFIED)
    if reader.flag():  # color_description_present_flag
        points = (reader.bits(8), reader.bits(8), reader.bits(8))
    srgb = not mono_chrome and points == (1, 13, 0)
    full_range = srgb or reader.flag()
    if points == (_UNSPECIFIED, _UNSPECIFIED, _UNSPECIFIED):
        return None, full_range
    primaries, transfer, matrix = points
    colour = Colour(primaries=primaries, transfer=transfer, matrix=matrix, full_range=full_range)
    return colour, full_range
