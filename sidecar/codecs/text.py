"""Text: TTML in stpp, WebVTT in wvtt (ISO/IEC 14496-12 12.6.3, 14496-30 5 and 7.5)."""

from __future__ import annotations

import re

from sidecar.boxes.header import walk
from sidecar.codecs.entry import Child
from sidecar.codecs.facts import TextFacts

_IMSC_IMAGE = "http://www.w3.org/ns/ttml/profile/imsc1/image"
_CODECS_PARAMETER = re.compile(r"codecs\s*=\s*\"?([A-Za-z0-9|+.]{1,32})")


def stpp_facts(entry: Child) -> TextFacts:
    """Facts of an ``stpp`` sample entry; ``entry``: what follows data_reference_index.

    The processor profile (W3C TTML Media Type registry) is the one that the entry names, IMSC1
    image where images are said to be inside, else IMSC1 text. Raises ``InvalidMedia`` when one of
    the three strings does not end.
    """
    strings = entry.body.split(b"\0", 3)
    if len(strings) < 4:
        raise entry.invalid("a string of the stpp sample entry does not end")
    namespace, schema_location, auxiliary_mime_types = (
        part.decode("utf-8", "replace") for part in strings[:3]
    )
    named = _CODECS_PARAMETER.search(strings[3].decode("latin-1"))
    if named is not None:
        profile = named[1].lower()
    elif "image/" in auxiliary_mime_types or _IMSC_IMAGE in f"{namespace} {schema_location}":
        profile = "im1i"
    else:
        profile = "im1t"
    return TextFacts(codec=f"stpp.ttml.{profile}", sample_entry="stpp", fourcc="TTML")


def wvtt_facts(entry: Child) -> TextFacts:
    """Facts of a ``wvtt`` sample entry. Raises ``InvalidMedia`` without its vttC box."""
    boxes = walk(entry.body, 0, len(entry.body), box_path=entry.box_path, base=entry.offset)
    if all(child.type != b"vttC" for child in boxes):
        raise entry.invalid("the wvtt sample entry has no vttC box")
    return TextFacts(codec="wvtt", sample_entry="wvtt", fourcc="WVTT")
