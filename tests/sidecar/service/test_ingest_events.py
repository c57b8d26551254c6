"""A track of events that is posted beside the media, and what players get."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sidecar.live.index import PointIndex
from sidecar.live.said import events_between
from sidecar.live.statistics import state_of, tracks_of
from tests.support.boxes import Traf, Trun, box, empty, init, moof
from tests.support.encoder import stream
from tests.support.events import emib, splice_insert
from tests.support.ingest import Process

HEADER = init(empty(handler_type=b"meta", entry=box(b"evte", bytes(6), b"\0\1"), timescale=1000))
OUT, DAMAGED = splice_insert(7, duration=900_000), splice_insert(8)[:-1]


@pytest.fixture(autouse=True)
def point(tmp_path: Path) -> None:
    (tmp_path / "ch.isml").write_text("<smil/>")


def fragment(time: int, data: bytes) -> bytes:
    sample = emib(data=data, id=time)

    def made(offset: int) -> bytes:
        return moof(Traf(time=time, truns=(Trun(rows=[(500, len(sample))], data_offset=offset),)))

    return made(len(made(0)) + 8) + box(b"mdat", sample)


async def test_a_track_of_events_beside_the_media(process: Process, tmp_path: Path) -> None:
    with capture_logs() as logs:
        # The header once, and each fragment in a request of its own, as some encoders do.
        for body in (HEADER, fragment(2000, OUT), fragment(3000, DAMAGED), fragment(2000, OUT)):
            answer = await process.ask("Streams(cues)", body, method="PUT")
            assert (answer.status, answer.result) == (200, "FMP4_OK")
        answer = await process.ask("Streams(main)", stream("smooth"))
        assert answer.status == 200
    (noted,) = [one["note"] for one in logs if one["event"] == "taken" and "damaged" in one["note"]]
    assert "event 3000" in noted
    assert ["events evte"] in [one["tracks"] for one in logs if one["event"] == "encoder connected"]
    with closing(PointIndex.open(tmp_path / "ch.db3")) as index:
        # Its end is that of the media: nobody waits for more events.
        assert state_of(index).state == "stopped"
        assert sorted(one.kind for one in tracks_of(index)) == ["audio", "video"]
        found = events_between(index, Fraction(0), Fraction(100))
        assert [(one.begin, one.data) for one in found] == [(2, OUT), (3, DAMAGED)]
