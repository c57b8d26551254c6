"""Bootstrap information: when the fragments of a stream begin."""

from __future__ import annotations

from collections.abc import Iterator

from sidecar.boxes.hds import FragmentRunEntry, abst, afrt, asrt
from sidecar.formats.hds.fragments import FragmentList
from sidecar.mux.flv import TIMESCALE


def bootstrap(fragments: FragmentList, listed: range) -> bytes:
    """The ``abst`` box of the fragments ``listed`` (indices, at least one).

    They are numbered from 1 and all in segment 1. A clip lists some of them, under their numbers
    and at their times.
    """
    return abst(
        asrt(len(listed)),
        afrt(_runs(fragments.start.tolist(), listed), time_scale=TIMESCALE),
        time_scale=TIMESCALE,
        current_media_time=int(fragments.start[listed.stop]),
    )


def _runs(start: list[int], listed: range) -> Iterator[FragmentRunEntry]:
    """Runs of equal durations. A duration is the difference of two times that were rounded each by
    itself, so that however many make a run, all of them begin where their entry says."""
    last = None
    for index in listed:
        duration = start[index + 1] - start[index]
        if duration != last:
            yield FragmentRunEntry(
                first_fragment=index + 1,
                first_fragment_timestamp=start[index],
                fragment_duration=duration,
            )
            last = duration
