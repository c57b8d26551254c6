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
    """Access unit i is ``prefix[i]`` (delimiter, parameter sets, the first start code) and then
    ``data[begin[i] : end[i]]``; ``size``: bytes of both. These columns are int64[n].

    ``coded``, ``code``: int64[m]: in access unit ``coded[j]``, a start code takes the place of the
    four bytes at ``data[code[j]]``.
    """

    data: bytes | bytearray
    prefix: list[bytes]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    size: NDArray[np.int64]
    coded: NDArray[np.int64]
    code: NDArray[np.int64]


def access_units(
    nal: NalFormat,
    parameter_sets: bytes,
    samples: SampleBytes,
    size: NDArray[np.int64],
    entry: NDArray[np.bool_],
) -> AccessUnits:
    """The samples of ``size`` bytes (int64[n], all positive) as access units; they stay where they
    are.

    Each gets a delimiter when it has none. ``parameter_sets`` (with start codes) go before those
    with which a decoder may begin (``entry``: bool[n]), unless they hold their own. No NAL unit is
    left out or changed.

    Raises ``InvalidMedia`` when NAL units do not fill their sample.
    """
    data: bytes | bytearray = samples.data
    position = samples.position
    if nal.length_size != 4:
        data, position, size = _widened(nal.length_size, samples, size)
    end = position + size
    walked = _walk(nal, data, position, end)
    delimited, held = walked.delimited, walked.held
    begin = position + 4
    usual = START_CODE + nal.delimiter_unit + START_CODE
    prefix = [START_CODE if own else usual for own in delimited.tolist()]
    wanted = (1 << len(nal.parameter_sets)) - 1
    for at in np.flatnonzero(entry & (held != wanted)).tolist() if parameter_sets else ():
        if delimited[at]:
            # Parameter sets come behind the delimiter: it moves to the front of them.
            first = int(position[at])
            after = first + 4 + int.from_bytes(data[first : first + 4])
            prefix[at] = START_CODE + data[first + 4 : after] + parameter_sets
            begin[at] = after
            if after < end[at]:
                prefix[at] += START_CODE
                begin[at] += 4
        else:
            prefix[at] = START_CODE + nal.delimiter_unit + parameter_sets + START_CODE
    total = end - begin + np.fromiter(map(len, prefix), np.int64, len(prefix))
    return AccessUnits(data, prefix, begin, end, total, walked.coded, walked.code)


@dataclass(frozen=True, slots=True, eq=False)
class _Walked:
    """``delimited``: bool[n], whether a sample begins with a delimiter; ``held``: int64[n], bits,
    which parameter sets it holds; ``coded``, ``code``: sample and position of all NAL units but
    the first ones."""

    delimited: NDArray[np.bool_]
    held: NDArray[np.int64]
    coded: NDArray[np.int64]
    code: NDArray[np.int64]


def _walk(
    nal: NalFormat,
    data: bytes | bytearray,
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
) -> _Walked:
    """All samples are walked in step, unit by unit."""
    if len(data) < 5:
        raise InvalidMedia("a sample is too short for a NAL unit")
    bits = np.zeros(256, dtype=np.int64)
    for number, parameter_set in enumerate(nal.parameter_sets):
        bits[parameter_set] = 1 << number
    types = np.frombuffer(data, dtype=np.uint8)
    # Overlapping words: the length at any byte is one look-up.
    words = np.ndarray((len(data) - 3,), ">u4", data, strides=(1,))
    held = delimited = None
    # Of all turns but the first.
    coded: list[NDArray[np.int64]] = []
    code: list[NDArray[np.int64]] = []
    at, stop = begin, end
    for turn in range(_MAX_UNITS):
        if np.count_nonzero(at + 4 > stop):
            raise InvalidMedia("a NAL unit length does not fit into its sample")
        following = at + 4 + words[at]
        if np.count_nonzero(following > stop):
            raise InvalidMedia("a NAL unit runs over the end of its sample")
        kind = types[np.minimum(at + 4, len(data) - 1)] >> nal.shift & nal.mask
        if held is None or delimited is None:
            delimited = kind == nal.delimiter
            held = bits[kind]
        else:
            held[coded[-1]] |= bits[kind]
        going = (following < stop).nonzero()[0]
        if not len(going):
            if not turn:
                none = np.empty(0, dtype=np.int64)
                return _Walked(delimited, held, none, none)
            return _Walked(delimited, held, np.concatenate(coded), np.concatenate(code))
        at, stop = following[going], stop[going]
        coded.append(going if not turn else coded[-1][going])
        code.append(at)
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
