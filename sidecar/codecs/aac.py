"""MPEG-4 audio: esds and AudioSpecificConfig (ISO/IEC 14496-1 7.2.6, 14496-3 1.6, 14496-14 5.6)."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.codecs.bits import BitReader
from sidecar.codecs.entry import Child, SoundEntry
from sidecar.codecs.facts import AudioFacts
from sidecar.errors import UnsupportedMedia

MPEG_CHANNELS = "urn:mpeg:dash:23003:3:audio_channel_configuration:2011"

_ES_DESCRIPTOR, _DECODER_CONFIG, _DECODER_SPECIFIC_INFO = 3, 4, 5
_AUDIO_MPEG4 = 0x40
_AUDIO_MPEG2_AAC = (0x66, 0x67, 0x68)  # Main, LC, SSR
_AUDIO_MP3 = {0x69: 576, 0x6B: 1152}  # MPEG-2 and MPEG-1 layer 3: samples of a frame

_SBR, _PS = 5, 29
# Object types whose configuration is a GASpecificConfig, and of which one frame is 1024 samples.
_GENERAL_AUDIO = {1, 2, 3, 4, 17}
_ERROR_RESILIENT = {17}
_SAMPLING_FREQUENCY = (
    96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350,
)  # fmt: skip
_ESCAPED_FREQUENCY = 15
_SYNC_SBR, _SYNC_PS = 0x2B7, 0x548
# channelConfiguration (ISO/IEC 14496-3 table 1.19) -> channels; ChannelConfiguration of
# ISO/IEC 23003-3, which DASH names, has the same numbers.
_CHANNELS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 8, 9: 3, 10: 4, 11: 7, 12: 8, 13: 24, 14: 8}
# (front, side, back, lfe) channels of a program_config_element -> ChannelConfiguration.
_LAYOUTS = {
    (1, 0, 0, 0): 1, (2, 0, 0, 0): 2, (3, 0, 0, 0): 3, (3, 0, 1, 0): 4, (3, 0, 2, 0): 5,
    (3, 2, 0, 0): 5, (3, 0, 2, 1): 6, (3, 2, 0, 1): 6, (5, 0, 2, 1): 7, (2, 0, 1, 0): 9,
    (2, 0, 2, 0): 10, (2, 2, 0, 0): 10, (3, 0, 3, 1): 11, (3, 2, 1, 1): 11, (3, 2, 2, 1): 12,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSpecificConfig:
    """``sampling_rate`` and ``channels`` are those played: after SBR and PS where signalled.

    ``object_type``: of the whole stream, 5 with SBR, 29 with PS. ``core_rate``: Hz before SBR.
    ``frame_length``: PCM samples of one frame at ``sampling_rate``. ``configuration``:
    ChannelConfiguration of ISO/IEC 23003-3.
    """

    object_type: int
    sampling_rate: int
    core_rate: int
    channels: int
    configuration: int
    frame_length: int


def aac_facts(entry: SoundEntry) -> AudioFacts:
    """Facts of an ``mp4a`` sample entry: AAC in MPEG-4 or MPEG-2 terms, MP3.

    Raises ``InvalidMedia`` for a damaged esds, ``UnsupportedMedia`` for other kinds of audio.
    """
    esds = entry.require(b"esds")
    object_type_indication, specific = decoder_config(esds)
    if object_type_indication in _AUDIO_MP3:
        return _mp3_facts(entry, object_type_indication)
    if object_type_indication != _AUDIO_MPEG4 and object_type_indication not in _AUDIO_MPEG2_AAC:
        raise UnsupportedMedia(
            f"mp4a audio of object type indication 0x{object_type_indication:02X} is not served",
            box_path=esds.box_path,
            offset=esds.offset,
        )
    config = parse_audio_specific_config(specific, box_path=esds.box_path, offset=esds.offset)
    codec = f"mp4a.40.{config.object_type}"
    if object_type_indication != _AUDIO_MPEG4:
        codec = f"mp4a.{object_type_indication:02X}"
    return AudioFacts(
        codec=codec,
        sample_entry=entry.type,
        fourcc="AACH" if config.object_type in (_SBR, _PS) else "AACL",
        sampling_rate=config.sampling_rate,
        channels=config.channels,
        samples_per_frame=config.frame_length,
        channel_configuration=(MPEG_CHANNELS, str(config.configuration)),
        hls_channels=str(config.channels),
        codec_private_data=specific,
    )


def _mp3_facts(entry: SoundEntry, object_type_indication: int) -> AudioFacts:
    if not (entry.samplerate and entry.channelcount):
        raise entry.require(b"esds").invalid("the mp4a sample entry has no rate or no channels")
    return AudioFacts(
        # Object type 34 (layer 3) is the name that HLS players know it by.
        codec="mp4a.40.34",
        sample_entry=entry.type,
        fourcc="MP3",
        sampling_rate=entry.samplerate,
        channels=entry.channelcount,
        samples_per_frame=_AUDIO_MP3[object_type_indication],
        channel_configuration=(MPEG_CHANNELS, str(entry.channelcount)),
        hls_channels=str(entry.channelcount),
        audio_tag=85,
    )


def decoder_config(esds: Child) -> tuple[int, bytes]:
    """objectTypeIndication and DecoderSpecificInfo (maybe empty) of an esds box.

    Raises ``InvalidMedia`` when descriptors do not fit or are missing.
    """
    data = esds.body
    start, end = _descriptor(esds, 4, len(data), _ES_DESCRIPTOR)
    if start + 3 > end:
        raise esds.invalid("the ES descriptor is too short")
    flags = data[start + 2]
    start += 3
    if flags & 0x80:  # streamDependenceFlag
        start += 2
    if flags & 0x40:  # URL_Flag
        start += 1 + (data[start] if start < end else 0)
    if flags & 0x20:  # OCRstreamFlag
        start += 2
    start, end = _descriptor(esds, start, end, _DECODER_CONFIG)
    if start + 13 > end:
        raise esds.invalid("the decoder configuration descriptor is too short")
    object_type_indication = data[start]
    if start + 13 == end:
        return object_type_indication, b""
    start, end = _descriptor(esds, start + 13, end, _DECODER_SPECIFIC_INFO)
    return object_type_indication, data[start:end]


def _descriptor(esds: Child, start: int, limit: int, tag: int) -> tuple[int, int]:
    """Where the body of the next descriptor of ``tag`` lies; others before it are passed over."""
    data = esds.body
    while start + 2 <= limit:
        found = data[start]
        length = 0
        position = start + 1
        for _ in range(4):  # sizeOfInstance, ISO/IEC 14496-1 8.3.3
            if position >= limit:
                raise esds.invalid("the length of a descriptor does not end")
            byte = data[position]
            position += 1
            length = length << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        end = position + length
        if end > limit:
            raise esds.invalid(f"a descriptor claims {length} bytes, {limit - position} are there")
        if found == tag:
            return position, end
        start = end
    raise esds.invalid(f"there is no descriptor with tag {tag}")


def parse_audio_specific_config(
    data: bytes, *, box_path: str = "", offset: int | None = None
) -> AudioSpecificConfig:
    """An AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1), both ways of signalling SBR and PS.

    Raises ``InvalidMedia`` when it ends early or names a reserved rate or channel layout,
    ``UnsupportedMedia`` for object types other than Main, LC, SSR, LTP, ER LC and their SBR forms.
    """
    reader = BitReader(data, box_path=box_path, offset=offset)
    object_type = _object_type(reader)
    core_rate = _sampling_frequency(reader)
    configuration = reader.bits(4)
    sbr, ps = object_type in (_SBR, _PS), object_type == _PS
    rate = core_rate
    if sbr:
        rate = _sampling_frequency(reader)
        object_type = _object_type(reader)
    if object_type not in _GENERAL_AUDIO:
        raise UnsupportedMedia(
            f"MPEG-4 audio object type {object_type} is not served",
            box_path=box_path,
            offset=offset,
        )
    frame_length = 960 if reader.flag() else 1024  # frameLengthFlag
    if reader.flag():  # dependsOnCoreCoder
        reader.skip(14)
    extension_flag = reader.flag()
    if configuration:
        if configuration not in _CHANNELS:
            raise reader.invalid(f"channelConfiguration {configuration} is reserved")
        channels = _CHANNELS[configuration]
    else:
        channels, configuration = _program_config_element(reader)
    if object_type in _ERROR_RESILIENT:
        if extension_flag:
            reader.skip(3)  # resilience flags
        reader.skip(min(3, reader.left))  # extensionFlag3 or part of epConfig
    elif not sbr:
        sbr, ps, rate = _backward_compatible_extension(reader, core_rate)
    if ps and channels == 1:
        channels = configuration = 2
    return AudioSpecificConfig(
        object_type=_PS if ps else _SBR if sbr else object_type,
        sampling_rate=rate,
        core_rate=core_rate,
        channels=channels,
        configuration=configuration,
        frame_length=frame_length * 2 if rate != core_rate else frame_length,
    )


def _object_type(reader: BitReader) -> int:
    object_type = reader.bits(5)
    return 32 + reader.bits(6) if object_type == 31 else object_type


def _sampling_frequency(reader: BitReader) -> int:
    index = reader.bits(4)
    if index == _ESCAPED_FREQUENCY:
        rate = reader.bits(24)
        if rate == 0:
            raise reader.invalid("the sampling frequency is 0")
        return rate
    if index >= len(_SAMPLING_FREQUENCY):
        raise reader.invalid(f"samplingFrequencyIndex {index} is reserved")
    return _SAMPLING_FREQUENCY[index]


def _backward_compatible_extension(reader: BitReader, core_rate: int) -> tuple[bool, bool, int]:
    """Whether SBR and PS follow behind a configuration that older decoders understand, and the
    rate with SBR (ISO/IEC 14496-3 1.6.6.1)."""
    if reader.left < 16 or reader.bits(11) != _SYNC_SBR or _object_type(reader) != _SBR:
        return False, False, core_rate
    if not (reader.left and reader.flag()):  # sbrPresentFlag
        return False, False, core_rate
    rate = _sampling_frequency(reader)
    ps = reader.left >= 12 and reader.bits(11) == _SYNC_PS and reader.flag()
    return True, ps, rate


def _program_config_element(reader: BitReader) -> tuple[int, int]:
    """Channels and ChannelConfiguration of a program_config_element (ISO/IEC 14496-3 4.4.1.1)."""
    reader.skip(4 + 2 + 4)  # element_instance_tag, object_type, sampling_frequency_index
    front, side, back = reader.bits(4), reader.bits(4), reader.bits(4)
    lfe, assoc, coupling = reader.bits(2), reader.bits(3), reader.bits(4)
    for mixdown_bits in (4, 4, 3):  # mono, stereo, matrix
        if reader.flag():
            reader.skip(mixdown_bits)
    counts = []
    for elements in (front, side, back):
        channels = 0
        for _ in range(elements):
            channels += 2 if reader.flag() else 1  # is_cpe
            reader.skip(4)
        counts.append(channels)
    reader.skip(4 * lfe + 4 * assoc + 5 * coupling)
    reader.align()
    reader.skip(8 * reader.bits(8))  # comment_field_data
    total = sum(counts) + lfe
    if total == 0:
        raise reader.invalid("the program configuration has no channels")
    # A layout without a number of its own is announced by its number of channels: a player
    # needs the count to choose, and decodes what the configuration itself says.
    return total, _LAYOUTS.get((counts[0], counts[1], counts[2], lfe), total)
