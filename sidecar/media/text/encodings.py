"""From the bytes of a text file to its lines."""

from __future__ import annotations

import codecs

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decoded(data: bytes) -> str:
    """The text of ``data``: UTF-16 with a byte order mark, UTF-8 with or without one.

    What is not UTF-8 is read as Windows-1252, which old SRT files are in, or Latin-1 where even
    that has no character. NUL becomes U+FFFD (WebVTT 4.1).
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _without_nul(data[len(mark) :].decode(encoding, "replace"))
    for encoding in ("utf-8", "cp1252"):
        try:
            return _without_nul(data.decode(encoding))
        except UnicodeDecodeError:
            continue
    return _without_nul(data.decode("latin-1"))


def lines_of(text: str) -> list[str]:
    """The lines of ``text``, whichever of CR LF, LF and CR ends them."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _without_nul(text: str) -> str:
    return text.replace("\0", "\ufffd")
