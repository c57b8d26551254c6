"""Publishing points as presentations: what a request to one is answered from."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import structlog

from sidecar.errors import FragmentNotAvailable, FragmentNotFound, NotFound
from sidecar.formats.dash.events import is_told
from sidecar.formats.spec import Answer, Request, RequestKind
from sidecar.formats.urls import event_folder, event_of
from sidecar.live.archive_folder import ArchiveFolder
from sidecar.live.database import stamp_of
from sidecar.live.headers import read_header
from sidecar.live.index import PointIndex
from sidecar.live.playable import Playable
from sidecar.live.recovery import overlook_lost
from sidecar.live.said import SAID_MS, events_carried
from sidecar.live.view import PointView
from sidecar.media.events import Event
from sidecar.media.options import Options, parse_options
from sidecar.media.select import select
from sidecar.media.server_manifest import ServerManifest
from sidecar.mux.plan import CacheClass, Plan
from sidecar.service.archive_parts import archive_reader, resolved
from sidecar.service.content import Content, resolve
from sidecar.service.convert import SourceTable
from sidecar.service.maker import Made
from sidecar.service.point_files import EXTENSIONS, identify_point, read_point_manifest
from sidecar.service.windows import ListedWindow, listed_window, longest_minimum, window_length
from sidecar.storage.source import ReadRange, SourceIdentity
from sidecar.timeline.clips import WHOLE, Clip
from sidecar.timeline.growing import GrowingTimeline
from sidecar.timeline.live import Carried, Live

# What is asked of a stream that is not archived is soon gone; else as good as never.
_ARCHIVED_MS = 365 * 86_400_000
_POINTS = 256
_STRETCHES = 4
# What is read around a segment that is older than what is kept in memory, seconds.
_BLOCK = 60
# As much is read behind it, seconds: fragments of Smooth Streaming say which ones come next.
_AHEAD = 30
_SMOOTH_TIMESCALE = 10_000_000
# By so much, seconds, sound may end before the pictures that it came with.
_NEAR = 0.25
_DYNAMIC_DEPTH = "usp_dynamic_time_shift_buffer_depth"
# How a row names the segment that it wants.
_TIME, _NUMBER, _SELECTOR = "time", "number", "selector"
# How a row names the era whose init segment it wants; none is era 0.
_ERA = "era"

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Question:
    """A request, taken apart. ``directives``: those of the location, name -> arguments.
    ``folder``: that of an event, in which the virtual path lies, which it is without."""

    kind: RequestKind
    match: re.Match[str]
    virtual_path: str
    args: str
    directives: Mapping[str, tuple[str, ...]]
    read_ahead: int
    folder: str = ""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sealed:
    """A plan and the files that it holds as long as."""

    plan: Plan
    sources: SourceTable


class PublishingPoint:
    """The reader's side of one publishing point. May be used by several threads."""

    def __init__(self, content: Content, read: ReadRange) -> None:
        self._path = Path(content.path)
        self._name = content.name
        self._read_file = read
        self._lock = threading.Lock()
        self._identity: SourceIdentity | None = None
        self._manifest = ServerManifest()
        self._index: PointIndex | None = None
        self._view: PointView | None = None
        self._stamp: SourceIdentity | None = None
        self._recent: Playable | None = None
        self._ended = False
        self._epoch_ms = 0
        self._said_ms = self._stopped_ms = 0
        self._stretches: OrderedDict[tuple[Fraction, Fraction, int], Playable] = OrderedDict()
        self.made = Made()

    @property
    def stamp(self) -> Path:
        """The file that is set anew with all that players can see."""
        return stamp_of(self._path.with_suffix(".db3"))

    def close(self) -> None:
        """Closes the index; the next request opens it again."""
        with self._lock:
            self._close()

    def request(self, question: Question) -> Request:
        """What the row is to answer, and from what. Raises ``NotFound`` when nothing has been
        received yet, ``BadRequest`` for options that are none, ``StorageError``."""
        with self._lock:
            options = self._refresh(question.args)
            if question.folder and event_of(question.folder) != options.event_id:
                raise NotFound("this event is not the one that is going on")
            if question.kind.lists:
                return self._listing(question, options)
            return self._asked(question, options, self._now_playable(), WHOLE)

    def elsewhere(
        self, question: Question, request: Request, seconds: Fraction | None
    ) -> Request | None:
        """``request`` again, from a part of the archive that is not in memory, when that is where
        the segment lies. ``seconds``: its presentation time, if the row can tell."""
        with self._lock:
            assert self._view is not None
            when = self._time_of(question, request) if seconds is None else seconds
            if when is None:
                return None
            begin = Fraction(int(when) // _BLOCK * _BLOCK)
            playable = self._stretch(begin, begin + _BLOCK, request.options)
            return self._asked(question, request.options, playable, WHOLE)

    def seal(self, request: Request, plan: Plan) -> Sealed:
        """``plan`` with its bytes in real files, and what it holds as long as."""
        assert request.live is not None
        assert self._stamp is not None
        assert self._identity is not None
        live = request.live
        with self._lock:
            parts = resolved(plan.parts, self._archive())
        made = self._identity.mtime_ns // 1_000_000_000
        if plan.describes:
            # As long as the last segment that needs it, whenever that is.
            kept = max(1, self._kept_ms(request.options) // 1000)
            sealed = replace(plan, parts=parts, max_age=kept)
            return Sealed(plan=sealed, sources=SourceTable((self._identity, self._stamp), made))
        if plan.cache_class is not CacheClass.MEDIA:
            modified = plan.last_modified or made
            expires = 0 if live.ended else live.next_ms
            sealed = replace(plan, parts=parts, expires_ms=expires)
            return Sealed(plan=sealed, sources=SourceTable((self._identity, self._stamp), modified))
        modified = plan.last_modified or live.published_ms // 1000
        expires = modified * 1000 + self._kept_ms(request.options)
        return Sealed(
            plan=replace(plan, parts=parts, expires_ms=expires),
            sources=SourceTable((), modified),
        )

    # What there is

    def _refresh(self, args: str) -> Options:
        """Takes in what has changed; returns the options of the query over those of the point."""
        found = identify_point(self._path)
        if found != self._identity:
            self._manifest = read_point_manifest(self._path)
            self._identity = found
            self._close()
        options = parse_options(self._manifest.options, args)
        fixed = self._index is not None and self._index.is_fixed
        if fixed and identify_point(self.stamp) != self._stamp:
            self._close()
        if self._index is None:
            self._index = PointIndex.open(self._path.with_suffix(".db3"))
            lost = overlook_lost(self._index)
            if lost.dropped:
                log.warning("not all is there", point=str(self._path), what=lost.lines)
            kept = parse_options(self._manifest.options, "")
            self._view = PointView(
                self._index,
                name=self._name,
                keep=window_length(kept),
                read_header=read_header,
                splicing=kept.splice_media,
            )
        assert self._view is not None
        stamp = identify_point(self._index.stamp)
        if stamp != self._stamp or self._recent is None:
            self._stamp = stamp
            self._view.refresh()
            self._ended = self._index.setting("state") == "stopped"
            self._epoch_ms = int(self._index.setting("epoch_ms") or 0)
            self._said_ms = int(self._index.setting(SAID_MS) or 0)
            self._stopped_ms = int(self._index.setting("updated_ms") or 0) if self._ended else 0
            self._recent = None
            # They were made of what the index had then, and would not be asked for any more.
            self._stretches.clear()
        return options

    def _close(self) -> None:
        if self._index is not None:
            self._index.close()
        self._index = self._view = self._stamp = self._recent = None
        self._stretches.clear()

    def _now_playable(self) -> Playable:
        if self._recent is None:
            assert self._view is not None
            self._recent = self._view.recent(self._manifest, ended=self._ended)
        return self._recent

    def _stretch(self, begin: Fraction, end: Fraction, options: Options) -> Playable:
        assert self._view is not None
        assert self._index is not None
        end += _AHEAD + 3 * longest_minimum(options)
        key = (begin, end, self._index.last_id)
        found = self._stretches.get(key)
        if found is None:
            found = self._view.stretch(self._manifest, begin, end, ended=self._ended)
            self._stretches[key] = found
            while len(self._stretches) > _STRETCHES:
                self._stretches.popitem(last=False)
        return found

    def _archive(self) -> ArchiveFolder:
        assert self._view is not None
        return self._view.archive

    # Requests

    def _listing(self, question: Question, options: Options) -> Request:
        recent = self._now_playable()
        assert self._view is not None
        extent = self._view.extent
        assert extent is not None
        window = listed_window(
            options,
            recent,
            first=extent[0],
            begun=self._view.begun,
            epoch_ms=self._epoch_ms,
            ended=self._ended,
            depth_is_dynamic=_is_on(question.directives.get(_DYNAMIC_DEPTH)),
        )
        playable = recent
        if window.begin < recent.begin:
            playable = self._stretch(window.begin, window.edge, options)
        by_samples = question.kind.by_samples
        begin = window.begin if by_samples else playable.inside(window.begin)
        return self._asked(question, options, playable, Clip(begin, window.edge), window)

    def _asked(
        self,
        question: Question,
        options: Options,
        playable: Playable,
        clip: Clip,
        window: ListedWindow | None = None,
    ) -> Request:
        begin = playable.begin if clip.begin is None else clip.begin
        end = playable.end if clip.end is None else clip.end
        presentation, known = playable.presentation, playable.eras
        if len(known) > 1 and clip.end is not None:
            presentation = known[playable.era_at(clip.end)].presentation
        named = question.match.groupdict()
        if _ERA in named:
            assert self._view is not None
            number = int(named[_ERA] or 0)
            known = {**known, number: self._view.era(playable, number)}
        ends, came = playable.received
        published = max((int(one) for one in came[ends <= float(end) + _NEAR][-1:]), default=0)
        events = playable.events if options.timed_metadata else ()
        ends, came = playable.belated
        came = came[(ends > float(begin)) & (ends <= float(end) + _NEAR)]
        told = sum(is_told(one, begin) for one in events) if question.kind.lists else 0
        changed = max(published, self._stopped_ms, self._said_ms if told else 0, *map(int, came), 0)
        assert self._identity is not None
        live = Live(
            ended=self._ended if window is None else window.ended,
            begin=begin,
            end=end,
            fixed_begin=window is not None and window.fixed_begin,
            gone=None if window is None else window.gone,
            depth=Fraction(0) if window is None else window.depth,
            epoch_ms=self._epoch_ms,
            published_ms=published,
            changed_ms=changed,
            changes=told + len(came),
            next_ms=published + int(1000 * playable.nominal),
            created_ms=self._identity.mtime_ns // 1_000_000,
            folder=event_folder(options.event_id)
            if options.event_id and not question.folder
            else "",
            arrivals=playable.received,
            events=events,
            streams_carried=playable.carried if options.timed_metadata else (),
            carried=self._carried() if options.timed_metadata else None,
            eras=known,
        )
        return Request(
            presentation=presentation,
            selected=select(presentation, options) if question.kind.lists else presentation,
            clip=clip,
            timeline=playable.timeline.shared(),
            options=options,
            virtual_path=question.virtual_path,
            match=question.match,
            read=archive_reader(self._read_file, self._archive(), self._lock),
            read_ahead=question.read_ahead,
            directives=question.directives,
            live=live,
        )

    def _carried(self) -> Carried:
        index = self._index
        assert index is not None

        def carried(begin: Fraction, end: Fraction) -> tuple[Event, ...]:
            with self._lock:
                return events_carried(index, begin, end)

        return carried

    def _time_of(self, question: Question, request: Request) -> Fraction | None:
        """Where the segment lies that the virtual path names, seconds, if that can be told."""
        assert self._view is not None
        named = question.match.groupdict()
        if named.get(_TIME):
            timescale = _SMOOTH_TIMESCALE
            rendition = request.presentation.find(named.get(_SELECTOR) or "")
            if rendition is not None:
                timescale = rendition.track.timescale
            return Fraction(int(named[_TIME]), timescale)
        if named.get(_NUMBER) and isinstance(request.timeline, GrowingTimeline):
            # A segment with which an era begins may begin earlier than it would otherwise.
            step = request.timeline.step
            return self._view.time_of((int(named[_NUMBER]) - 1 - (step > 1)) * step)
        return None

    def _kept_ms(self, options: Options) -> int:
        if options.archive_length:
            return int(1000 * options.archive_length)
        return _ARCHIVED_MS if options.archiving else int(1000 * window_length(options))


class PublishingPoints:
    """The publishing points that are being watched."""

    def __init__(self, read: ReadRange) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._points: OrderedDict[str, PublishingPoint] = OrderedDict()

    def get(self, document_root: str, path: str) -> PublishingPoint:
        """The point that ``path`` names below ``document_root``. Raises ``BadRequest``,
        ``Forbidden`` or ``NotFound``."""
        content = resolve(document_root, path, EXTENSIONS)
        with self._lock:
            point = self._points.get(content.path)
            if point is None:
                point = self._points[content.path] = PublishingPoint(content, self._read)
            self._points.move_to_end(content.path)
            dropped = []
            while len(self._points) > _POINTS:
                dropped.append(self._points.popitem(last=False)[1])
        for one in dropped:
            one.close()
        return point


def answer_live(point: PublishingPoint, question: Question) -> tuple[Request, Answer]:
    """The answer of a row, wherever in the archive the segment that it wants lies."""
    request = point.request(question)
    try:
        return request, question.kind.answer(request)
    except FragmentNotFound as error:
        try:
            older = point.elsewhere(question, request, error.seconds)
        except NotFound:
            raise error from None  # nothing is left of that time
        if older is None:
            raise
        return older, question.kind.answer(older)
    except FragmentNotAvailable as error:
        error.due_ms = _due_ms(request, error.behind)
        raise


def _due_ms(request: Request, behind: Fraction | None) -> int | None:
    """When the segment will be there that comes behind the newest one, which ends at ``behind``."""
    live, timeline = request.live, request.timeline
    assert live is not None
    if behind is None or live.ended or not isinstance(timeline, GrowingTimeline):
        return None
    return live.received_ms(behind) + timeline.step * (live.next_ms - live.published_ms)


def _is_on(args: tuple[str, ...] | None) -> bool:
    return args is not None and args[:1] != ("off",)
