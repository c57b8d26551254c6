"""The manifest: Flash Media Manifest 1.0 (F4M)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from lxml import etree

from sidecar.formats.hds.bootstrap import bootstrap
from sidecar.formats.hds.fragments import FragmentList
from sidecar.formats.hds.metadata import on_metadata
from sidecar.formats.hds.streams import Stream
from sidecar.formats.urls import encoded
from sidecar.mux.flv import TIMESCALE
from sidecar.mux.movie import display_size
from sidecar.timeline.live import Live
from sidecar.units import decimal, rescale

CONTENT_TYPE = "application/f4m+xml"
NAMESPACE = "http://ns.adobe.com/f4m/1.0"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Listed:
    """A stream, its fragments, and the indices of those that the manifest lists (at least one)."""

    stream: Stream
    fragments: FragmentList
    indices: range

    @property
    def duration(self) -> Fraction:
        """Seconds of the listed fragments."""
        start = self.fragments.start
        return Fraction(int(start[self.indices.stop]) - int(start[self.indices.start]), TIMESCALE)


def manifest(
    name: str,
    listed: Sequence[Listed],
    query: str,
    *,
    live: Live | None = None,
    bootstrap_query: str = "",
    folder: str = "",
) -> bytes:
    """The F4M of the streams ``listed`` (at least one) of the presentation ``name``, UTF-8.

    Bootstrap information stands in the manifest, once for all streams that share it: those with
    aligned key frames all do. There is no baseURL: URLs are relative to the manifest, which is
    wherever the client found it. ``query``: what the URLs of fragments end with (``?a=b`` or
    nothing); players put ``Seg1-Frag1`` before it.

    ``live``: of a presentation that goes on, else None. Then each stream has the URL of its
    bootstrap information, which players ask for again and again, with ``bootstrap_query``.
    ``folder``: what URLs begin with.
    """
    root = etree.Element(f"{{{NAMESPACE}}}manifest", nsmap={None: NAMESPACE})  # type: ignore[dict-item]
    has_video = any(one.stream.video is not None for one in listed)
    _text(root, "id", name)
    _text(root, "streamType", "recorded" if live is None else "live")
    _text(root, "deliveryType", "streaming")
    _text(root, "mimeType", "video/mp4" if has_video else "audio/mp4")
    if live is not None:
        _append_live(root, name, listed, query, live, bootstrap_query, folder)
    else:
        _append_recorded(root, name, listed, query, folder)
    document: bytes = etree.tostring(
        root, encoding="utf-8", xml_declaration=True, pretty_print=True
    )
    return document


def _append_live(
    root: etree._Element,
    name: str,
    listed: Sequence[Listed],
    query: str,
    live: Live,
    bootstrap_query: str,
    folder: str,
) -> None:
    # -1: from the begin on.
    window = -1 if live.only_grows else max(1, int(live.depth))
    etree.SubElement(root, f"{{{NAMESPACE}}}dvrInfo", windowDuration=str(window))
    ids = [f"bootstrap{at + 1}" for at in range(len(listed))]
    for one, bootstrap_id in zip(listed, ids, strict=True):
        url = folder + encoded(f"{name}-{one.stream.name}.abst")
        etree.SubElement(
            root,
            f"{{{NAMESPACE}}}bootstrapInfo",
            profile="named",
            id=bootstrap_id,
            url=f"{url}?{bootstrap_query}" if bootstrap_query else url,
        )
    for one, bootstrap_id in zip(listed, ids, strict=True):
        _media(root, name, one, bootstrap_id, query, Fraction(0), folder)


def _append_recorded(
    root: etree._Element, name: str, listed: Sequence[Listed], query: str, folder: str
) -> None:
    _text(root, "duration", decimal(max(one.duration for one in listed), 3))
    ids: dict[bytes, str] = {}
    for one in listed:
        information = bootstrap(one.fragments, one.indices)
        if information not in ids:
            ids[information] = f"bootstrap{len(ids) + 1}"
            _text(
                root,
                "bootstrapInfo",
                b64encode(information).decode("ascii"),
                profile="named",
                id=ids[information],
            )
    for one in listed:
        information = bootstrap(one.fragments, one.indices)
        _media(root, name, one, ids[information], query, one.duration, folder)


def _media(
    root: etree._Element,
    name: str,
    one: Listed,
    bootstrap_id: str,
    query: str,
    duration: Fraction,
    folder: str,
) -> None:
    stream = one.stream
    attributes = {
        "streamId": f"{name}-{stream.name}",
        "url": folder + encoded(f"{name}-{stream.name}-") + query,
        "bitrate": str(rescale(stream.bitrate, 1000, 1)),
        "bootstrapInfoId": bootstrap_id,
    }
    if stream.video is not None:
        width, height = display_size(stream.video.video)
        attributes |= {"width": str(width), "height": str(height)}
    media = etree.SubElement(root, f"{{{NAMESPACE}}}media", attributes)
    metadata = on_metadata(stream, duration)
    _text(media, "metadata", b64encode(metadata).decode("ascii"))


def _text(parent: etree._Element, name: str, text: str, **attributes: str) -> None:
    etree.SubElement(parent, f"{{{NAMESPACE}}}{name}", attributes).text = text
