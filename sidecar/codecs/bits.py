"""Bits of a decoder configuration: fixed-length fields, Exp-Golomb codes, NAL unit payloads."""

from __future__ import annotations

from sidecar.errors import InvalidMedia

# ue(v) codes of H.264 and H.265 hold at most 32 bits (ISO/IEC 14496-10 9.1).
MAX_LEADING_ZEROS = 32


class BitReader:
    """Reads ``data`` from its most significant bit on.

    ``box_path`` and ``offset`` (of the data's origin in the file, bytes) are evidence for errors.
    Every method raises ``InvalidMedia`` when the data ends first.
    """

    __slots__ = ("_box_path", "_data", "_end", "_offset", "_position")

    def __init__(self, data: bytes, *, box_path: str = "", offset: int | None = None) -> None:
        self._data = data
        self._position = 0
        self._end = 8 * len(data)
        self._box_path = box_path
        self._offset = offset

    @property
    def position(self) -> int:
        """Bits consumed."""
        return self._position

    @property
    def left(self) -> int:
        """Bits not yet consumed."""
        return self._end - self._position

    def invalid(self, sentence: str) -> InvalidMedia:
        """An error with this reader's evidence, to be raised by the caller."""
        return InvalidMedia(sentence, box_path=self._box_path, offset=self._offset)

    def bits(self, count: int) -> int:
        """The next ``count`` bits as an unsigned number; 0 for none."""
        start = self._position
        end = start + count
        if end > self._end:
            raise self.invalid(
                f"the decoder configuration ends {end - self._end} bits before a field of {count}"
            )
        self._position = end
        span = int.from_bytes(self._data[start >> 3 : (end + 7) >> 3])
        return (span >> (-end & 7)) & ((1 << count) - 1)

    def flag(self) -> bool:
        """The next bit."""
        return self.bits(1) == 1

    def skip(self, count: int) -> None:
        """Leaves ``count`` bits out."""
        if self._position + count > self._end:
            raise self.invalid(f"the decoder configuration ends within {count} skipped bits")
        self._position += count

    def align(self) -> None:
        """Moves on to the next byte boundary."""
        self._position = min(self._end, (self._position + 7) & ~7)

    def ue(self) -> int:
        """An unsigned Exp-Golomb code (ISO/IEC 14496-10 9.1)."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > MAX_LEADING_ZEROS:
                raise self.invalid(f"an Exp-Golomb code has more than {MAX_LEADING_ZEROS} zeros")
        return (1 << zeros) - 1 + self.bits(zeros)

    def se(self) -> int:
        """A signed Exp-Golomb code (ISO/IEC 14496-10 9.1.1)."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def raw_payload(nal_unit: bytes) -> bytes:
    """``nal_unit`` without its emulation prevention bytes (ISO/IEC 14496-10 7.4.1)."""
    return nal_unit.replace(b"\0\0\3", b"\0\0")
