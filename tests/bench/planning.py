"""What planning one segment costs in the sidecar, without gRPC: 2 hours against 2 minutes."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from sidecar.formats.registry import find
from sidecar.formats.spec import Answer, Request
from sidecar.media.build import presentation_from_media
from sidecar.media.index import index_media
from sidecar.media.options import parse_options
from sidecar.media.presentation import Presentation
from sidecar.media.track import Kind
from sidecar.service.reader import MediaReader
from sidecar.storage.local import open_local
from sidecar.timeline.segmenter import Timeline

ROUNDS = 60
SEGMENTS = 28  # as many as 2 minutes have, but for the last, which may be shorter


def microseconds(paths: list[Path], kind: Kind) -> list[float]:
    """Median time that a row needs for one HLS segment of ``kind``, for each media file.

    Files take turns. Every segment is planned once beforehand: what is made once for each track
    counts as the first request's cost, not as that of a segment.
    """
    planners = [_planners(path, kind) for path in paths]
    spent: list[list[float]] = [[] for _ in paths]
    for _ in range(ROUNDS):
        for position, plans in enumerate(planners):
            started = time.perf_counter_ns()
            for plan in plans:
                plan()
            spent[position].append((time.perf_counter_ns() - started) / len(plans) / 1000)
    return [statistics.median(times) for times in spent]


def _planners(path: Path, kind: Kind) -> list[Callable[[], Answer]]:
    """Calls that plan segments spread over the whole file."""
    source = open_local(str(path))
    presentation = presentation_from_media(path.stem, index_media(source))
    source.close()
    timeline = Timeline(presentation)
    (rendition,) = presentation.of_kind(kind)
    seconds = int(presentation.duration)
    last = seconds // 4 - 1
    numbers = [1 + round(last * step / SEGMENTS) for step in range(SEGMENTS)]
    names = [f"hls/{path.stem}-{rendition.selector}-{number}.m4s" for number in numbers]
    calls = [_call(presentation, timeline, name) for name in names]
    for call in itertools.chain(calls, calls):
        call()
    return calls


def _call(presentation: Presentation, timeline: Timeline, name: str) -> Callable[[], Answer]:
    found = find(name)
    if found is None:
        raise RuntimeError(f"no row answers {name}")
    kind, match = found
    request = Request(
        presentation=presentation,
        selected=presentation,
        timeline=timeline,
        options=parse_options(presentation.options, ""),
        virtual_path=name,
        match=match,
        read=MediaReader(),
    )
    return lambda: kind.answer(request)
