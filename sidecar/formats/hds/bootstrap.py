"""Bootstrap information: when the fragments of a stream begin."""

from __future__ import annotations

from collections.abc import Iterator

from sidecar.boxes.hds import Discontinuity, FragmentRunEntry, abst, afrt, asrt
from sidecar.errors import UnsupportedMedia
from sidecar.formats.hds.fragments import FragmentList
from sidecar.mux.flv import TIMESCALE, written

_UINT32_MAX = 0xFFFFFFFF


def bootstrap(fragments: FragmentList, listed: range, *, live: bool = False) -> bytes:
    """The ``abst`` box of the fragments ``listed`` (indices; the first and the last are there).

    All are in segment 1. A clip lists some of them, under their numbers and at their times.
    ``live``: more will come. Raises ``UnsupportedMedia`` when a number is too large for the box.
    """
    last = fragments.first_number + listed.stop - 1
    if last > _UINT32_MAX:
        raise UnsupportedMedia(f"HDS cannot count up to fragment {last}")
    start = fragments.start.tolist()
    # Times go on from where the tags of the first fragment are, wherever those begin anew.
    before = start[listed.start] - written(start[listed.start])
    return abst(
        asrt(len(listed)),
        afrt(_runs(fragments, start, before, listed), time_scale=TIMESCALE, ends=not live),
        time_scale=TIMESCALE,
        current_media_time=start[listed.stop] - before,
        live=live,
        bootstrap_info_version=last if live else 1,
    )


def _runs(
    fragments: FragmentList, start: list[int], before: int, listed: range
) -> Iterator[FragmentRunEntry | Discontinuity]:
    """Runs of equal durations. A duration is the difference of two times that were rounded each by
    itself, so that however many make a run, all of them begin where their entry says."""
    last: int | None = None
    for index in listed:
        number, time = fragments.first_number + index, start[index] - before
        duration = 0 if fragments.is_gap(index) else start[index + 1] - start[index]
        if duration != last:
            if duration:
                yield FragmentRunEntry(
                    first_fragment=number,
                    first_fragment_timestamp=time,
                    fragment_duration=duration,
                )
            else:
                yield Discontinuity(first_fragment=number, first_fragment_timestamp=time)
            last = duration
