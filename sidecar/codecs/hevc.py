"""H.265: hvcC and its sequence parameter set (ISO/IEC 14496-15 8.3.3, 23008-2 7.3.2.2, E.2)."""

from __future__ import annotations

from sidecar.codecs.avc import START_CODE, aspect_ratio, transfer_characteristics
from sidecar.codecs.bits import BitReader, raw_payload
from sidecar.codecs.entry import Child, VisualEntry
from sidecar.codecs.facts import VideoFacts
from sidecar.codecs.picture import SequenceParameterSet, colour_of, pixel_aspect, video_range
from sidecar.errors import InvalidMedia

_NAL_VPS, _NAL_SPS, _NAL_PPS = 32, 33, 34
_SUB_WIDTH = {0: 1, 1: 2, 2: 2, 3: 1}
_SUB_HEIGHT = {0: 1, 1: 2, 2: 1, 3: 1}
_MAX_SIDE = 1 << 16
_MAX_SETS = 64  # num_short_term_ref_pic_sets, ISO/IEC 23008-2 7.4.3.2.1
_MAX_PICTURES = 16  # NumDeltaPocs
_MAX_LONG_TERM = 32


def hevc_facts(entry: VisualEntry) -> VideoFacts:
    """Facts of an ``hvc1`` or ``hev1`` sample entry.

    Raises ``InvalidMedia`` for a damaged hvcC, or one without parameter sets where they may not be
    in the samples (hvc1).
    """
    config = entry.require(b"hvcC")
    nal_units = _nal_units(config)
    parameter_sets = {
        kind: [nal for nal in nal_units if nal and nal[0] >> 1 & 0x3F == kind]
        for kind in (_NAL_VPS, _NAL_SPS, _NAL_PPS)
    }
    width, height = entry.width, entry.height
    aspect: tuple[int, int] | None = None
    transfer: int | None = None
    reordered: int | None = None
    if parameter_sets[_NAL_SPS]:
        sps = parse_sps(parameter_sets[_NAL_SPS][0], box_path=config.box_path, offset=config.offset)
        width, height = sps.width, sps.height
        aspect, transfer, reordered = sps.sample_aspect, sps.transfer, sps.reordered
    elif entry.type == "hvc1":
        raise config.invalid("hvcC has no sequence parameter set")
    if transfer is None and (colour := colour_of(entry)) is not None:
        transfer = colour.transfer
    return VideoFacts(
        codec=codec_string(entry.type, config.body),
        sample_entry=entry.type,
        fourcc=entry.type,
        width=width,
        height=height,
        pixel_aspect=pixel_aspect(entry, aspect),
        video_range=video_range(transfer),
        codec_private_data=b"".join(
            START_CODE + nal for group in parameter_sets.values() for nal in group
        ),
        reordered=reordered,
    )


def codec_string(sample_entry: str, record: bytes) -> str:
    """``hvc1.1.6.L93.B0``: RFC 6381 codecs parameter of an hvcC record (ISO/IEC 14496-15 E.3).

    ``record`` must hold at least the 13 bytes up to general_level_idc.
    """
    profile_space = ("", "A", "B", "C")[record[1] >> 6]
    tier = "H" if record[1] & 0x20 else "L"
    profile_idc = record[1] & 0x1F
    compatibility = int(f"{int.from_bytes(record[2:6]):032b}"[::-1], 2)
    constraints = record[6:12].rstrip(b"\0")
    return ".".join(
        (
            sample_entry,
            f"{profile_space}{profile_idc}",
            f"{compatibility:X}",
            f"{tier}{record[12]}",
            *(f"{byte:X}" for byte in constraints),
        )
    )


def _nal_units(config: Child) -> list[bytes]:
    record = config.body
    # Version 0 was written by encoders before the record was final; its layout is the same.
    if len(record) < 23 or record[0] > 1:
        raise config.invalid("hvcC is not a version 1 configuration record")
    found = []
    position = 23
    for _ in range(record[22]):  # numOfArrays
        if position + 3 > len(record):
            raise config.invalid("hvcC ends within an array of NAL units")
        count = int.from_bytes(record[position + 1 : position + 3])
        position += 3
        for _ in range(count):
            end = position + 2 + int.from_bytes(record[position : position + 2])
            if position + 2 > len(record) or end > len(record):
                raise config.invalid("hvcC ends within a NAL unit")
            found.append(record[position + 2 : end])
            position = end
    return found


def parse_sps(nal_unit: bytes, *, box_path: str = "", offset: int | None = None) -> (
    SequenceParameterSet
):  # fmt: skip
    """A sequence parameter set, NAL header included (ISO/IEC 23008-2 7.3.2.2.1).

    Raises ``InvalidMedia`` when it ends before the picture size or the picture has no area. What
    follows the size (reference picture sets, VUI) only loses what it would have said.
    """
    reader = BitReader(raw_payload(nal_unit), box_path=box_path, offset=offset)
    reader.skip(16)  # NAL unit header
    reader.skip(4)  # sps_video_parameter_set_id
    max_sub_layers_minus1 = reader.bits(3)
    reader.flag()  # sps_temporal_id_nesting_flag
    _skip_profile_tier_level(reader, max_sub_layers_minus1)
    reader.ue()  # sps_seq_parameter_set_id
    chroma_format_idc = reader.ue()
    if chroma_format_idc > 3:
        raise reader.invalid(f"chroma_format_idc {chroma_format_idc} does not exist")
    separate_colour_planes = chroma_format_idc == 3 and reader.flag()
    width = reader.ue()
    height = reader.ue()
    if reader.flag():  # conformance_window_flag
        left, right, top, bottom = (reader.ue() for _ in range(4))
        chroma = 0 if separate_colour_planes else chroma_format_idc
        width -= _SUB_WIDTH[chroma] * (left + right)
        height -= _SUB_HEIGHT[chroma] * (top + bottom)
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise reader.invalid(f"the picture is {width} by {height} after cropping")
    aspect: tuple[int, int] | None = None
    transfer: int | None = None
    reordered: int | None = None
    try:
        log2_max_poc_lsb, reordered = _picture_order(reader, max_sub_layers_minus1)
        _skip_coding_tools(reader, log2_max_poc_lsb)
        if reader.flag():  # vui_parameters_present_flag
            aspect = aspect_ratio(reader)
            transfer = transfer_characteristics(reader)
    except InvalidMedia:
        transfer = None
    return SequenceParameterSet(
        width=width,
        height=height,
        sample_aspect=aspect,
        transfer=transfer,
        reordered=reordered,
    )


def _skip_profile_tier_level(reader: BitReader, max_sub_layers_minus1: int) -> None:
    """ISO/IEC 23008-2 7.3.3, with profilePresentFlag 1."""
    reader.skip(96)  # general profile, tier, level
    present = [(reader.flag(), reader.flag()) for _ in range(max_sub_layers_minus1)]
    if max_sub_layers_minus1:
        reader.skip(2 * (8 - max_sub_layers_minus1))
    for profile_present, level_present in present:
        reader.skip(88 * profile_present + 8 * level_present)


def _picture_order(reader: BitReader, max_sub_layers_minus1: int) -> tuple[int, int]:
    """From bit_depth_luma_minus8 to the sub-layers' ordering: (log2_max_pic_order_cnt_lsb,
    sps_max_num_reorder_pics of the highest)."""
    reader.ue()  # bit_depth_luma_minus8
    reader.ue()  # bit_depth_chroma_minus8
    log2_max_poc_lsb = reader.ue() + 4
    if log2_max_poc_lsb > 16:
        raise reader.invalid(f"log2_max_pic_order_cnt_lsb is {log2_max_poc_lsb}")
    every_layer = reader.flag()  # sps_sub_layer_ordering_info_present_flag
    reordered = 0
    for _ in range(max_sub_layers_minus1 + 1 if every_layer else 1):
        reader.ue()  # sps_max_dec_pic_buffering_minus1
        reordered = reader.ue()
        reader.ue()  # sps_max_latency_increase_plus1
    return log2_max_poc_lsb, reordered


def _skip_coding_tools(reader: BitReader, log2_max_poc_lsb: int) -> None:
    """From the block sizes to before vui_parameters_present_flag."""
    for _ in range(6):  # block and transform sizes, transform hierarchy depths
        reader.ue()
    if reader.flag() and reader.flag():  # scaling_list_enabled, sps_scaling_list_data_present
        _skip_scaling_list_data(reader)
    reader.skip(2)  # amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if reader.flag():  # pcm_enabled_flag
        reader.skip(8)  # bit depths
        reader.ue()
        reader.ue()
        reader.flag()  # pcm_loop_filter_disabled_flag
    _skip_short_term_ref_pic_sets(reader)
    if reader.flag():  # long_term_ref_pics_present_flag
        count = reader.ue()
        if count > _MAX_LONG_TERM:
            raise reader.invalid(f"num_long_term_ref_pics_sps is {count}")
        reader.skip(count * (log2_max_poc_lsb + 1))
    reader.skip(2)  # sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag


def _skip_scaling_list_data(reader: BitReader) -> None:
    """ISO/IEC 23008-2 7.3.4."""
    for size_id in range(4):
        for _ in range(0, 6, 3 if size_id == 3 else 1):
            if not reader.flag():  # scaling_list_pred_mode_flag
                reader.ue()  # scaling_list_pred_matrix_id_delta
                continue
            if size_id > 1:
                reader.se()  # scaling_list_dc_coef_minus8
            for _ in range(min(64, 1 << (4 + (size_id << 1)))):
                reader.se()


def _skip_short_term_ref_pic_sets(reader: BitReader) -> None:
    """ISO/IEC 23008-2 7.3.7. Only the number of pictures of each set matters for the next."""
    count = reader.ue()
    if count > _MAX_SETS:
        raise reader.invalid(f"num_short_term_ref_pic_sets is {count}")
    pictures = 0
    for index in range(count):
        if index and reader.flag():  # inter_ref_pic_set_prediction_flag
            reader.flag()  # delta_rps_sign
            reader.ue()  # abs_delta_rps_minus1
            kept = 0
            for _ in range(pictures + 1):
                used = reader.flag()  # used_by_curr_pic_flag
                kept += used or reader.flag()  # use_delta_flag
            pictures = kept
        else:
            negative, positive = reader.ue(), reader.ue()
            pictures = negative + positive
            if pictures <= _MAX_PICTURES:
                for _ in range(pictures):
                    reader.ue()  # delta_poc_minus1
                    reader.flag()  # used_by_curr_pic_flag
        if pictures > _MAX_PICTURES:
            raise reader.invalid(f"a reference picture set has {pictures} pictures")
