"""A reader of F4M manifests and of their bootstrap information (by pymp4), for tests."""

from __future__ import annotations

import struct
from base64 import b64decode
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lxml import etree
from pymp4 import parser as pymp4

import sidecar.boxes.declared  # noqa: F401 - repairs what pymp4 needs

NS = {"f": "http://ns.adobe.com/f4m/1.0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """``starts``: ms of each fragment, and the end; ``first``: number of the first one."""

    first: int
    starts: list[int]
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """``url``: what fragment names are put behind; ``facts``: of onMetaData."""

    url: str
    stream_id: str
    bitrate: int
    size: tuple[int, int] | None
    bootstrap: Bootstrap
    bootstrap_id: str
    facts: dict[str, float]

    def fragments(self) -> list[str]:
        """The URLs of all fragments, as players make them."""
        path, mark, query = self.url.partition("?")
        count = len(self.bootstrap.starts) - 1
        numbers = range(self.bootstrap.first, self.bootstrap.first + count)
        return [f"{path}Seg1-Frag{number}{mark}{query}" for number in numbers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    id: str
    mime_type: str
    duration: float
    media: list[Media]
    bootstraps: int


def read_bootstrap(data: bytes) -> Bootstrap:
    """Raises ``AssertionError`` unless it is one complete table of recorded media in ms."""
    box: Any = pymp4.Box.parse(data)
    assert box.type == b"abst"
    assert not box.live
    assert box.time_scale == 1000
    (segments,), (fragments,) = box.segment_run_table, box.fragment_run_table
    assert fragments.time_scale == 1000
    (segment,) = segments.segment_run_enteries
    assert segment.first_segment == 1
    *runs, end = fragments.fragment_run_enteries
    assert (end.fragment_duration, end.discontinuity) == (0, 0)
    first = runs[0].first_fragment
    behind = first + segment.fragments_per_segment
    starts: list[int] = []
    last = None
    for run, following in pairwise([*(entry.first_fragment for entry in runs), behind]):
        entry = runs[[one.first_fragment for one in runs].index(run)]
        # A run that stands where the one before ends, or times would drift away from the samples.
        assert last is None or entry.first_fragment_timestamp == last
        assert following > run
        starts += [
            entry.first_fragment_timestamp + at * entry.fragment_duration
            for at in range(following - run)
        ]
        last = starts[-1] + entry.fragment_duration
    assert last == box.current_media_time
    return Bootstrap(first=first, starts=[*starts, last], runs=len(runs))


def read_manifest(document: bytes) -> Manifest:
    """Raises ``AssertionError`` for what is missing or contradicts itself."""
    root = etree.fromstring(document)
    assert root.tag == f"{{{NS['f']}}}manifest"
    assert _text(root, "streamType") == "recorded"
    bootstraps = {
        node.attrib["id"]: read_bootstrap(b64decode(node.text or ""))
        for node in root.findall("f:bootstrapInfo", NS)
        if node.attrib["profile"] == "named"
    }
    media = [_media(node, bootstraps) for node in root.findall("f:media", NS)]
    assert {one.bootstrap_id for one in media} == set(bootstraps)
    return Manifest(
        id=_text(root, "id"),
        mime_type=_text(root, "mimeType"),
        duration=float(_text(root, "duration")),
        media=media,
        bootstraps=len(bootstraps),
    )


def _media(node: etree._Element, bootstraps: dict[str, Bootstrap]) -> Media:
    given = node.attrib
    size = (int(given["width"]), int(given["height"])) if "width" in given else None
    return Media(
        url=str(given["url"]),
        stream_id=str(given["streamId"]),
        bitrate=int(given["bitrate"]),
        size=size,
        bootstrap=bootstraps[str(given["bootstrapInfoId"])],
        bootstrap_id=str(given["bootstrapInfoId"]),
        facts=read_on_metadata(b64decode(_text(node, "metadata"))),
    )


def read_on_metadata(data: bytes) -> dict[str, float]:
    """The numbers of an AMF0 ``onMetaData`` script (a string, then an ECMA array)."""
    assert data[:13] == b"\2\0\x0aonMetaData"
    assert data[13] == 8
    (count,) = struct.unpack_from(">I", data, 14)
    at, facts = 18, {}
    while data[at : at + 3] != b"\0\0\x09":
        (length,) = struct.unpack_from(">H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        at += 2 + length
        assert data[at] == 0, f"{name} is not a number"
        (facts[name],) = struct.unpack_from(">d", data, at + 1)
        at += 9
    assert at + 3 == len(data)
    assert len(facts) == count
    return facts


def _text(parent: etree._Element, name: str) -> str:
    found = parent.findtext(f"f:{name}", namespaces=NS)
    assert found, f"{parent.tag} has no {name}"
    return found
