"""Two encoders of the same streams: the index is the same however their fragments interleave."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.live.connection import Connection
from sidecar.live.index import PointIndex
from sidecar.live.ledger import ConnectionState
from sidecar.live.model import Fragment
from sidecar.live.point import Point
from sidecar.media.track import Kind
from tests.support.pushed import NOW, SECOND, audio, content, header, manifest, track, video

STREAMS = {
    "v": (header(track(1, Kind.VIDEO)), [video(at) for at in range(0, 24, 2)]),
    "a": (header(track(2, Kind.AUDIO), digest=b"2"), [audio(at) for at in range(0, 24, 2)]),
}


def fed(*deliveries: tuple[str, str, Fragment]) -> list[tuple[object, ...]]:
    """What is in the index after fragments came, each as (encoder, stream, fragment)."""
    with tempfile.TemporaryDirectory() as folder:
        path, options = manifest(Path(folder))
        point = Point.open(path, options, NOW)
        connections: dict[tuple[str, str], Connection] = {}
        now = NOW
        for encoder, stream, fragment in deliveries:
            connection = connections.get((encoder, stream))
            if connection is None:
                connection = connections[encoder, stream] = point.connect(stream, encoder)
                connection.take(STREAMS[stream][0], now)
            now += SECOND
            connection.take(fragment, now)
        for connection in connections.values():
            connection.end(ConnectionState.CLOSED, now)
        point.close(now)
        index = PointIndex.open(path.with_suffix(".db3"))
        found = content(index)
        tracks = index.all("SELECT stream, nominal, bitrate FROM track ORDER BY 1")
        index.close()
        return [*found, *tracks]


ALONE = fed(*(("a", stream, one) for stream, (_, all_) in STREAMS.items() for one in all_))


@st.composite
def interleavings(draw: st.DrawFn) -> list[tuple[str, str, Fragment]]:
    """Fragments of both encoders, each stream of each in its order but for neighbours that swap.
    One may lack some that the other has; none is more than a few seconds behind."""
    sent: list[tuple[float, str, str, Fragment]] = []
    for stream, (_, fragments) in STREAMS.items():
        for at, one in enumerate(fragments):
            missing = draw(st.sampled_from(("", "", "", "one", "two"))) if at > 1 else ""
            for encoder in ("one", "two"):
                if encoder != missing:
                    # In units of fragments; the grace is five of them.
                    late = draw(st.floats(0, 0.9 if at < 2 else 3))
                    sent.append((at + late, encoder, stream, one))
    sent.sort(key=lambda one: one[0])
    return [(encoder, stream, one) for _, encoder, stream, one in sent]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(interleavings())
def test_any_interleaving_gives_the_same(deliveries: list[tuple[str, str, Fragment]]) -> None:
    found = fed(*deliveries)
    assert [(row[0], *row[2:5]) for row in found if len(row) > 4] == [
        (row[0], *row[2:5]) for row in ALONE if len(row) > 4
    ]
    assert found == ALONE
