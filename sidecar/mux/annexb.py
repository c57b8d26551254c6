"""Access units as byte streams: start codes, delimiters, parameter sets (ISO/IEC 14496-10 annex B,
23008-2 annex B)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidecar.codecs.nal import NalFormat
from sidecar.errors import InvalidMedia
from sidecar.mux.samples import SampleBytes

START_CODE = b"\0\0\0\1"
# A picture of 8K has 270 rows of macroblocks; one slice each and some SEI.
_MAX_UNITS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class AccessUnits:
    """Access unit i is ``prefix[i]`` (delimiter, parameter sets) and then
    ``data[begin[i] : end[i]]``; ``size``: bytes of both. All columns are int64[n]."""

    data: bytearray
    prefix: list[bytes]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    size: NDArray[np.int64]


def access_units(
    nal: NalFormat,
    parameter_sets: bytes,
    samples: SampleBytes,
    size: NDArray[np.int64],
    entry: NDArray[np.bool_],
) -> AccessUnits:
    """The samples of ``size`` bytes (int64[n], all positive) as access units.

    Each gets a delimiter when it has none. ``parameter_sets`` (with start codes) go before those
    with which a decoder may begin (``entry``: bool[n]), unless they hold their own. No NAL unit is
    left out or changed.

    Raises ``InvalidMedia`` when NAL units do not fill their sample.
    """
    position = samples.position
    if nal.length_size == 4:
        data = bytearray(samples.data)
    else:
        data, position, size = _widened(nal.length_size, samples, size)
    end = position + size
    units, delimited, held = _walk(nal, data, position, end)
    bytes_ = np.frombuffer(data, dtype=np.uint8)
    lengths = np.ndarray((max(0, len(data) - 3),), ">u4", data, strides=(1,))
    begin = position
    delimiter = START_CODE + nal.delimiter_unit
    prefix = [b"" if own else delimiter for own in delimited.tolist()]
    wanted = (1 << len(nal.parameter_sets)) - 1
    for at in np.flatnonzero(entry & (held != wanted)).tolist() if parameter_sets else ():
        if delimited[at]:
            # Parameter sets come behind the delimiter: it moves to the front of them.
            first = int(position[at])
            after = first + 4 + int(lengths[first])
            prefix[at] = START_CODE + bytes(data[first + 4 : after])
            begin = position.copy() if begin is position else begin
            begin[at] = after
        prefix[at] += parameter_sets
    bytes_[units[:, np.newaxis] + np.arange(4)] = (0, 0, 0, 1)
    total = end - begin + np.fromiter(map(len, prefix), np.int64, len(prefix))
    return AccessUnits(data, prefix, begin, end, total)


def _walk(
    nal: NalFormat, data: bytearray, begin: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """(where units begin int64[m], whether a sample begins with a delimiter bool[n], which
    parameter sets it holds: bits int64[n]). All samples are walked in step, unit by unit."""
    count = len(begin)
    held = np.zeros(count, dtype=np.int64)
    delimited = np.zeros(count, dtype=np.bool_)
    if len(data) < 5:
        raise InvalidMedia("a sample is too short for a NAL unit")
    bits = np.zeros(256, dtype=np.int64)
    for number, parameter_set in enumerate(nal.parameter_sets):
        bits[parameter_set] = 1 << number
    types = np.frombuffer(data, dtype=np.uint8)
    # Overlapping words: the length at any byte is one look-up.
    words = np.ndarray((len(data) - 3,), ">u4", data, strides=(1,))
    found = []
    index: NDArray[np.int64] | None = None
    at, stop = begin, end
    for turn in range(_MAX_UNITS):
        if not np.count_nonzero(at + 4 > stop):
            following = at + 4 + words[at]
        else:
            raise InvalidMedia("a NAL unit length does not fit into its sample")
        if np.count_nonzero(following > stop):
            raise InvalidMedia("a NAL unit runs over the end of its sample")
        found.append(at)
        kind = types[np.minimum(at + 4, len(data) - 1)] >> nal.shift & nal.mask
        if turn == 0:
            delimited[:] = kind == nal.delimiter
            held = bits[kind]
        else:
            held[index] |= bits[kind]
        going = following < stop
        left = np.count_nonzero(going)
        if not left:
            return np.concatenate(found), delimited, held
        if left != len(going):
            at, stop = following[going], stop[going]
            index = going.nonzero()[0] if index is None else index[going]
        else:
            at = following
            index = np.arange(count) if index is None else index
    raise InvalidMedia(f"a sample has more than {_MAX_UNITS} NAL units")


def _widened(
    length_size: int, samples: SampleBytes, size: NDArray[np.int64]
) -> tuple[bytearray, NDArray[np.int64], NDArray[np.int64]]:
    """Data, position and size of the same samples with lengths of 4 bytes."""
    source = memoryview(samples.data)
    out = bytearray()
    position = []
    for begin, length in zip(samples.position.tolist(), size.tolist(), strict=True):
        position.append(len(out))
        at, end = begin, begin + length
        while at < end:
            after = at + length_size
            until = after + int.from_bytes(source[at:after])
            if until > end:
                raise InvalidMedia("a NAL unit runs over the end of its sample")
            out += (until - after).to_bytes(4)
            out += source[after:until]
            at = until
    where = np.array(position, dtype=np.int64)
    return out, where, np.diff(where, append=len(out))
