"""H.264: avcC and its sequence parameter set (ISO/IEC 14496-15 5.3.3, 14496-10 7.3.2.1, E.1)."""

from __future__ import annotations

from sidecar.codecs.bits import BitReader, raw_payload
from sidecar.codecs.entry import Child, VisualEntry
from sidecar.codecs.facts import VideoFacts
from sidecar.codecs.picture import (
    EXTENDED_SAR,
    SAMPLE_ASPECT_RATIO,
    SequenceParameterSet,
    colour_of,
    pixel_aspect,
    video_range,
)
from sidecar.errors import InvalidMedia

START_CODE = b"\0\0\0\1"
_NAL_SPS = 7
# profile_idc whose sequence parameter sets carry chroma_format_idc and what follows it.
_CHROMA_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
_CROP_UNITS = {
    0: (1, 1),
    1: (2, 2),
    2: (2, 1),
    3: (1, 1),
}  # chroma_format_idc -> SubWidthC, HeightC
_MAX_SIDE = 1 << 16
_MAX_DELIVERIES = 32  # cpb_cnt_minus1 + 1


def avc_facts(entry: VisualEntry) -> VideoFacts:
    """Facts of an ``avc1`` .. ``avc4`` sample entry.

    Raises ``InvalidMedia`` for a damaged avcC, or one without parameter sets where they may not be
    in the samples (avc1, avc2).
    """
    config = entry.require(b"avcC")
    record = config.body
    if len(record) < 7 or record[0] != 1:
        raise config.invalid("avcC is not a version 1 configuration record")
    sps_list, position = _parameter_sets(config, 6, record[5] & 0x1F)
    pps_list, _ = _parameter_sets(config, position + 1, _count(config, position))
    width, height = entry.width, entry.height
    aspect: tuple[int, int] | None = None
    transfer: int | None = None
    reordered: int | None = None
    if sps_list:
        sps = parse_sps(sps_list[0], box_path=config.box_path, offset=config.offset)
        width, height = sps.width, sps.height
        aspect, transfer, reordered = sps.sample_aspect, sps.transfer, sps.reordered
    elif entry.type in ("avc1", "avc2"):
        raise config.invalid("avcC has no sequence parameter set")
    if transfer is None and (colour := colour_of(entry)) is not None:
        transfer = colour.transfer
    return VideoFacts(
        codec=f"{entry.type}.{record[1:4].hex().upper()}",
        sample_entry=entry.type,
        fourcc="AVC1",
        width=width,
        height=height,
        pixel_aspect=pixel_aspect(entry, aspect),
        video_range=video_range(transfer),
        codec_private_data=b"".join(START_CODE + nal for nal in (*sps_list, *pps_list)),
        reordered=reordered,
    )


def _count(config: Child, position: int) -> int:
    if position >= len(config.body):
        raise config.invalid("avcC ends before its picture parameter sets")
    return config.body[position]


def _parameter_sets(config: Child, position: int, count: int) -> tuple[list[bytes], int]:
    record = config.body
    found = []
    for _ in range(count):
        length = int.from_bytes(record[position : position + 2])
        end = position + 2 + length
        if position + 2 > len(record) or end > len(record):
            raise config.invalid("avcC ends within a parameter set")
        found.append(record[position + 2 : end])
        position = end
    return found, position


def parse_sps(nal_unit: bytes, *, box_path: str = "", offset: int | None = None) -> (
    SequenceParameterSet
):  # fmt: skip
    """A sequence parameter set, NAL header included (ISO/IEC 14496-10 7.3.2.1.1).

    Raises ``InvalidMedia`` when it ends early or its picture has no area. A damaged VUI only loses
    what it would have said: decoders ignore it too.
    """
    reader = BitReader(raw_payload(nal_unit), box_path=box_path, offset=offset)
    if reader.bits(8) & 0x1F != _NAL_SPS:
        raise reader.invalid("a sequence parameter set has another NAL unit type")
    profile_idc = reader.bits(8)
    reader.skip(16)  # constraint flags, level_idc: as in avcC
    reader.ue()  # seq_parameter_set_id
    chroma_format_idc = 1
    separate_colour_planes = False
    if profile_idc in _CHROMA_PROFILES:
        chroma_format_idc = reader.ue()
        if chroma_format_idc > 3:
            raise reader.invalid(f"chroma_format_idc {chroma_format_idc} does not exist")
        if chroma_format_idc == 3:
            separate_colour_planes = reader.flag()
        reader.ue()  # bit_depth_luma_minus8
        reader.ue()  # bit_depth_chroma_minus8
        reader.flag()  # qpprime_y_zero_transform_bypass_flag
        if reader.flag():  # seq_scaling_matrix_present_flag
            for index in range(8 if chroma_format_idc != 3 else 12):
                if reader.flag():
                    _skip_scaling_list(reader, 16 if index < 6 else 64)
    reader.ue()  # log2_max_frame_num_minus4
    _skip_picture_order(reader)
    reader.ue()  # max_num_ref_frames
    reader.flag()  # gaps_in_frame_num_value_allowed_flag
    width = 16 * (reader.ue() + 1)
    map_units = reader.ue() + 1
    frame_mbs_only = reader.flag()
    field_factor = 1 if frame_mbs_only else 2
    height = 16 * map_units * field_factor
    if not frame_mbs_only:
        reader.flag()  # mb_adaptive_frame_field_flag
    reader.flag()  # direct_8x8_inference_flag
    if reader.flag():  # frame_cropping_flag
        left, right, top, bottom = (reader.ue() for _ in range(4))
        sub_width, sub_height = (1, 1) if separate_colour_planes else _CROP_UNITS[chroma_format_idc]
        width -= sub_width * (left + right)
        height -= sub_height * field_factor * (top + bottom)
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise reader.invalid(f"the picture is {width} by {height} after cropping")
    aspect, transfer, reordered = _vui(reader)
    return SequenceParameterSet(
        width=width,
        height=height,
        sample_aspect=aspect,
        transfer=transfer,
        reordered=reordered,
    )


def _skip_scaling_list(reader: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + reader.se()) % 256
        last = following or last


def _skip_picture_order(reader: BitReader) -> None:
    pic_order_cnt_type = reader.ue()
    if pic_order_cnt_type == 0:
        reader.ue()  # log2_max_pic_order_cnt_lsb_minus4
    elif pic_order_cnt_type == 1:
        reader.flag()  # delta_pic_order_always_zero_flag
        reader.se()  # offset_for_non_ref_pic
        reader.se()  # offset_for_top_to_bottom_field
        cycle = reader.ue()
        if cycle > 255:
            raise reader.invalid(f"num_ref_frames_in_pic_order_cnt_cycle is {cycle}")
        for _ in range(cycle):
            reader.se()  # offset_for_ref_frame


def _vui(reader: BitReader) -> tuple[tuple[int, int] | None, int | None, int | None]:
    """(sample aspect ratio, transfer characteristics, max_num_reorder_frames)."""
    aspect: tuple[int, int] | None = None
    transfer: int | None = None
    reordered: int | None = None
    try:
        if reader.flag():  # vui_parameters_present_flag
            aspect = aspect_ratio(reader)
            transfer = transfer_characteristics(reader)
            reordered = _reordered(reader)
    except InvalidMedia:
        pass
    return aspect, transfer, reordered


def _reordered(reader: BitReader) -> int | None:
    """What a VUI says behind its video signal (ISO/IEC 14496-10 E.1.1): max_num_reorder_frames."""
    if reader.flag():  # chroma_loc_info_present_flag
        reader.ue()
        reader.ue()
    if reader.flag():  # timing_info_present_flag
        reader.skip(65)  # num_units_in_tick, time_scale, fixed_frame_rate_flag
    delivered = [_skip_hrd(reader) for _ in range(2)]  # nal_hrd, vcl_hrd
    if any(delivered):
        reader.flag()  # low_delay_hrd_flag
    reader.flag()  # pic_struct_present_flag
    if not reader.flag():  # bitstream_restriction_flag
        return None
    reader.flag()  # motion_vectors_over_pic_boundaries_flag
    for _ in range(4):  # bytes per picture, bits per macroblock, lengths of vectors
        reader.ue()
    return reader.ue()


def _skip_hrd(reader: BitReader) -> bool:
    """Whether there are hrd_parameters (ISO/IEC 14496-10 E.1.2)."""
    if not reader.flag():
        return False
    count = reader.ue() + 1
    if count > _MAX_DELIVERIES:
        raise reader.invalid(f"cpb_cnt_minus1 is {count - 1}")
    reader.skip(8)  # bit_rate_scale, cpb_size_scale
    for _ in range(count):
        reader.ue()
        reader.ue()
        reader.flag()  # cbr_flag
    reader.skip(20)  # lengths of delays
    return True


def aspect_ratio(reader: BitReader) -> tuple[int, int] | None:
    """The sample aspect ratio at the start of a VUI (ISO/IEC 14496-10 E.1.1, 23008-2 E.2.1)."""
    if not reader.flag():  # aspect_ratio_info_present_flag
        return None
    aspect_ratio_idc = reader.bits(8)
    if aspect_ratio_idc == EXTENDED_SAR:
        return reader.bits(16), reader.bits(16)
    if 1 <= aspect_ratio_idc <= len(SAMPLE_ASPECT_RATIO):
        return SAMPLE_ASPECT_RATIO[aspect_ratio_idc - 1]
    return None


def transfer_characteristics(reader: BitReader) -> int | None:
    """What a VUI says after its aspect ratio (same clauses): overscan, then the video signal."""
    if reader.flag():  # overscan_info_present_flag
        reader.flag()  # overscan_appropriate_flag
    if not reader.flag():  # video_signal_type_present_flag
        return None
    reader.skip(4)  # video_format, video_full_range_flag
    if not reader.flag():  # colour_description_present_flag
        return None
    reader.skip(8)  # colour_primaries
    transfer = reader.bits(8)
    reader.skip(8)  # matrix_coefficients
    return transfer
