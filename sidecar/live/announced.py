"""The tracks of a publishing point as server manifests name them."""

from __future__ import annotations

from sidecar.live.headers import read_header
from sidecar.live.index import PointIndex
from sidecar.media.naming import default_name, unique_names
from sidecar.media.server_manifest import KIND_ORDER, Entry


def announced(index: PointIndex) -> tuple[Entry, ...]:
    """An entry for each track that has come, with the names and bitrates that URLs have; ``src`` is
    the stream that it came in. Those without a bitrate yet are left out."""
    found = []
    for row in index.tracks():
        header = read_header(index.header(row.header))
        for one in header.tracks:
            bitrate = one.bitrate or row.bitrate
            if one.track_ID == row.track_ID and bitrate:
                name = one.name or default_name(one.kind, one.language)
                found.append((row, one, name, bitrate))
    found.sort(key=lambda one: (KIND_ORDER[one[1].kind], one[3], one[0].id))
    names = unique_names((name, bitrate) for _, _, name, bitrate in found)
    return tuple(
        Entry(
            kind=one.kind,
            src=f"Streams({row.stream})",
            bitrate=bitrate,
            language=one.language,
            params=(("trackID", str(row.track_ID)), ("trackName", name)),
        )
        for (row, one, _, bitrate), name in zip(found, names, strict=True)
    )
