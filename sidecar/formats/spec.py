"""Request kinds are rows: a URL pattern, a cache class, and one pure function."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sidecar.media.options import Options
from sidecar.media.presentation import Presentation
from sidecar.mux.plan import Plan
from sidecar.storage.source import ReadRange, SourceIdentity
from sidecar.timeline.clips import WHOLE, Clip
from sidecar.timeline.live import Live
from sidecar.timeline.segmenter import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a row answers.

    ``match``: of the row's pattern against the virtual path. ``options``: playout options, those of
    the query over those of the manifest. ``timeline``: the presentation's shared segmenter.
    ``read_ahead``: how many following segments to plan too. ``selected``: the presentation with the
    tracks that the query selects; for manifests only, since the URLs of segments describe
    themselves and boundaries are those of the whole. ``clip``: the part that manifests list.
    ``read``: reads media, for rows with ``reads_media``. ``directives``: those of the location
    that concern the sidecar, name -> arguments. ``live``: of a presentation that grows, else None.
    """

    presentation: Presentation
    timeline: Timeline
    options: Options
    virtual_path: str
    match: re.Match[str]
    selected: Presentation
    read: ReadRange
    read_ahead: int = 0
    clip: Clip = WHOLE
    directives: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    live: Live | None = None

    @property
    def folder(self) -> str:
        """What relative URLs of its manifest begin with."""
        return "" if self.live is None else self.live.folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A plan, and plans for virtual paths that a sequential client asks for next.

    ``following``: of rows with ``follows``, virtual paths that it asks for next, in order;
    ``ahead`` then has plans for the first ones.
    """

    plan: Plan
    ahead: tuple[tuple[str, Plan], ...] = field(default=())
    following: tuple[str, ...] = ()


StoredAnswer = Callable[[Options, SourceIdentity, ReadRange], Answer | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKind:
    """One row. ``pattern`` must match the whole virtual path (already percent-decoded).

    ``reads_media``: ``answer`` calls ``Request.read`` or works long enough to be run in a thread;
    a function where that is true of some of its requests only.
    ``lists``: the answer depends on what the query selects; media segments do not, so for them
    ``Request.selected`` is everything and ``Request.clip`` the whole.
    ``follows``: answers cost so much that those to ``Answer.following`` are made ahead only for
    clients that have been seen to go on; ``Request.read_ahead`` is how many to make along, or
    fewer.
    ``by_samples``: ``Request.clip`` begins at the moment that was asked for, not within a segment.
    ``stored``: answers from a media file that has not been indexed, given the options of the query;
    None when it has to be.
    """

    name: str
    format: str
    pattern: re.Pattern[str]
    answer: Callable[[Request], Answer]
    reads_media: bool | Callable[[Request], bool] = False
    lists: bool = True
    follows: bool = False
    by_samples: bool = False
    stored: StoredAnswer | None = None
