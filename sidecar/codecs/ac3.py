"""AC-3 and E-AC-3: dac3 and dec3 (ETSI TS 102 366 F.4, F.6)."""

from __future__ import annotations

from sidecar.codecs.bits import BitReader
from sidecar.codecs.entry import Child, SoundEntry
from sidecar.codecs.facts import AudioFacts

DOLBY_CHANNELS = "tag:dolby.com,2014:dash:audio_channel_configuration:2011"

_SAMPLING_FREQUENCY = (48000, 44100, 32000)  # fscod
_L, _C, _R, _LS, _RS, _CS, _LFE2, _LFE = (
    0x8000, 0x4000, 0x2000, 0x1000, 0x0800, 0x0100, 0x0002, 0x0001,
)  # fmt: skip
# acmod -> chanmap bits (ETSI TS 102 366 table E.1.4). A single surround channel is Cs.
_ACMOD = (
    _L | _R, _C, _L | _R, _L | _C | _R, _L | _R | _CS, _L | _C | _R | _CS,
    _L | _R | _LS | _RS, _L | _C | _R | _LS | _RS,
)  # fmt: skip
# chan_loc of dec3, least significant bit first (table F.6.1) -> chanmap bits: the pairs Lc/Rc and
# Lrs/Rrs, Cs, Ts, the pairs Lsd/Rsd, Lw/Rw and Lvh/Rvh, Cvh, LFE2.
_CHAN_LOC = (0x0400, 0x0200, _CS, 0x0080, 0x0040, 0x0020, 0x0010, 0x0008, _LFE2)
_PAIRS = 0x0400 | 0x0200 | 0x0040 | 0x0020 | 0x0010 | 0x0004
_SAMPLES_PER_FRAME = 1536  # six blocks; E-AC-3 samples in files hold six too (F.5)


def ac3_facts(entry: SoundEntry) -> AudioFacts:
    """Facts of an ``ac-3`` sample entry. Raises ``InvalidMedia`` for a damaged dac3."""
    dac3 = entry.require(b"dac3")
    reader = BitReader(dac3.body, box_path=dac3.box_path, offset=dac3.offset)
    fscod = reader.bits(2)
    reader.skip(5 + 3)  # bsid, bsmod
    chanmap = _ACMOD[reader.bits(3)]
    if reader.flag():  # lfeon
        chanmap |= _LFE
    return _facts(entry, dac3, fscod, chanmap, joc=None)


def eac3_facts(entry: SoundEntry) -> AudioFacts:
    """Facts of an ``ec-3`` sample entry: of the first independent substream and what depends on it.

    Raises ``InvalidMedia`` for a damaged dec3.
    """
    dec3 = entry.require(b"dec3")
    reader = BitReader(dec3.body, box_path=dec3.box_path, offset=dec3.offset)
    reader.skip(13)  # data_rate
    substreams = []
    for _ in range(reader.bits(3) + 1):  # num_ind_sub
        fscod = reader.bits(2)
        reader.skip(5 + 1 + 1 + 3)  # bsid, reserved, asvc, bsmod
        chanmap = _ACMOD[reader.bits(3)]
        if reader.flag():  # lfeon
            chanmap |= _LFE
        reader.skip(3)
        if reader.bits(4):  # num_dep_sub
            chan_loc = reader.bits(9)
            for bit, location in enumerate(_CHAN_LOC):
                if chan_loc >> bit & 1:
                    chanmap |= location
        else:
            reader.skip(1)
        substreams.append((fscod, chanmap))
    joc = None
    if reader.left >= 16:
        reader.skip(7)
        if reader.flag():  # flag_ec3_extension_type_a: joint object coding
            joc = reader.bits(8)  # complexity_index_type_a
    fscod, chanmap = substreams[0]
    return _facts(entry, dec3, fscod, chanmap, joc=joc)


def _facts(
    entry: SoundEntry, config: Child, fscod: int, chanmap: int, *, joc: int | None
) -> AudioFacts:
    if fscod < len(_SAMPLING_FREQUENCY):
        sampling_rate = _SAMPLING_FREQUENCY[fscod]
    elif entry.samplerate:  # E-AC-3 at half rate: only the sample entry says it
        sampling_rate = entry.samplerate
    else:
        raise config.invalid("fscod 3 and no sampling rate in the sample entry")
    channels = chanmap.bit_count() + (chanmap & _PAIRS).bit_count()
    return AudioFacts(
        codec=entry.type,
        sample_entry=entry.type,
        fourcc=entry.type,
        sampling_rate=sampling_rate,
        channels=channels,
        samples_per_frame=_SAMPLES_PER_FRAME,
        channel_configuration=(DOLBY_CHANNELS, f"{chanmap:04X}"),
        hls_channels=f"{joc}/JOC" if joc else str(channels),
        audio_tag=0x2000 if entry.type == "ac-3" else 0xFFFE,
        codec_private_data=config.body,
    )
