"""Request kinds are rows: a URL pattern, a cache class, and one pure function."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from sidecar.media.options import Options
from sidecar.media.presentation import Presentation
from sidecar.mux.plan import Plan
from sidecar.timeline.segmenter import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a row answers.

    ``match``: of the row's pattern against the virtual path. ``options``: playout options, those of
    the query over those of the manifest. ``timeline``: the presentation's shared segmenter.
    ``read_ahead``: how many following segments to plan too.
    """

    presentation: Presentation
    timeline: Timeline
    options: Options
    virtual_path: str
    match: re.Match[str]
    read_ahead: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A plan, and plans for virtual paths that a sequential client asks for next."""

    plan: Plan
    ahead: tuple[tuple[str, Plan], ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKind:
    """One row. ``pattern`` must match the whole virtual path (already percent-decoded)."""

    name: str
    format: str
    pattern: re.Pattern[str]
    answer: Callable[[Request], Answer]
