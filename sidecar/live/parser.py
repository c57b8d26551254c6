"""What a stream says as its bytes arrive: headers, fragments, its end.

Memory is bounded by what one header or one fragment may have; all else is passed over as it comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy

from sidecar.boxes.fragment import Run
from sidecar.boxes.piff import LIVE_SERVER_MANIFEST
from sidecar.errors import InvalidMedia, OriginError, UnsupportedMedia
from sidecar.live.cutter import BoxCutter, BoxStart
from sidecar.live.fragments import FragmentReader
from sidecar.live.headers import MAX_FRAGMENT, read_header_boxes
from sidecar.live.initial import InitialSamples, as_fragment
from sidecar.live.model import EndOfStream, Fragment, Header, Incoming
from sidecar.live.topbox import TopBox
from sidecar.media.playable import printable

MAX_HEADER = 16 << 20
# It is held as objects: a minute in samples of 2.5 ms is 400 kB.
MAX_MOOF = 4 << 20
# Boxes beside one moof, as each costs more than its bytes.
MAX_BESIDE = 1 << 10

_BEFORE_MOOF = frozenset((b"styp", b"sidx", b"ssix", b"prft", b"emsg"))
_KNOWN = _BEFORE_MOOF.union(
    (b"ftyp", b"moov", b"moof", b"mdat", b"mfra", b"uuid"),
    (b"free", b"skip", b"wide", b"pdin", b"meta"),
)
# What cannot come between samples and their bytes.
_BEGIN_ANEW = frozenset((b"ftyp", b"moov", b"styp", b"moof", b"mfra"))


class StreamParser:
    """Parses what one connection sends.

    ``header``: of a stream whose header came over an earlier connection. ``max_header``,
    ``max_fragment``: bytes that are taken of one.
    """

    def __init__(
        self,
        header: Header | None = None,
        *,
        max_header: int = MAX_HEADER,
        max_fragment: int = MAX_FRAGMENT,
    ) -> None:
        self._max_header = max_header
        self._max_fragment = max_fragment
        self._cutter = BoxCutter()
        self._reader = FragmentReader()
        self._described = header is not None
        if header is not None:
            self._reader.take(header)
        self._failed: OriginError | None = None
        # Complete boxes that wait for others: of a header; in front of a moof; the moof that waits
        # for its mdat, and what stands between them.
        self._header: list[TopBox] = []
        self._before: list[TopBox] = []
        self._moof: TopBox | None = None
        self._runs: Sequence[Run] = ()
        self._has_samples = False
        self._between: list[TopBox] = []
        self._initial: InitialSamples | None = None

    @property
    def offset(self) -> int:
        """Bytes that have been taken; while something is yielded, those up to its end."""
        return self._cutter.offset

    def feed(self, data: bytes | memoryview) -> Iterator[Incoming]:
        """What is complete with ``data``, in order, each as soon as its last byte is seen.

        To be iterated to its end. Raises, for good, ``InvalidMedia`` (box path, offset in the
        stream) for what is no box or contradicts itself, ``UnsupportedMedia`` for what is sound,
        but larger or other than is taken.
        """
        if self._failed is not None:
            raise self._failed
        try:
            yield from self._parsed(memoryview(data))
        except OriginError as error:
            self._fail(error)
            raise

    def _parsed(self, data: memoryview) -> Iterator[Incoming]:
        # The cutter does not keep what refers to the parser: both go with the connection, with all
        # that has come of a fragment, not when garbage is collected.
        for start, box in self._cutter.feed(data, self._admit):
            incoming = self._take(start, box)
            if incoming is not None:
                yield incoming

    def _fail(self, error: OriginError) -> None:
        # The error itself refers to where it was raised, and so to what was parsed there.
        self._failed = copy(error)
        self._cutter.forget()
        self._header, self._before, self._between = [], [], []
        self._moof = self._initial = None

    def finish(self) -> list[Incoming]:
        """At the end of the stream: what is complete only there (an mdat without a size).

        Raises ``InvalidMedia`` when the stream ends inside a box or where samples should be, and
        again what ``feed`` raised.
        """
        if self._failed is not None:
            raise self._failed
        last = self._cutter.finish()
        incoming = None if last is None else self._take(*last)
        if self._awaits_data:
            raise InvalidMedia(
                "the stream ends where the mdat of the samples before should be",
                box_path="moov" if self._moof is None else "moof",
                offset=self.offset,
            )
        return [] if incoming is None else [incoming]

    @property
    def _awaits_data(self) -> bool:
        """Whether there are samples whose mdat has not come."""
        return self._initial is not None or (self._moof is not None and self._has_samples)

    def _admit(self, start: BoxStart) -> int | None:
        """How many bytes the box may have; None when it is passed over.

        Raises ``InvalidMedia`` when it cannot stand here.
        """
        self._check_form(start)
        if self._moof is not None and not self._has_samples:
            # A fragment that says that there is nothing in it: whatever follows is its end.
            self._moof = None
            if start.type == b"mdat":
                return None
        self._check_place(start)
        if self._is_of_header(start):
            kept = () if start.type == b"ftyp" else self._header
            return max(0, self._max_header - _size(kept))
        if not self._is_of_fragment(start):
            return None
        beside = [*self._before, *self._between]
        if len(beside) == MAX_BESIDE and start.type not in (b"moof", b"mdat"):
            raise UnsupportedMedia(
                f"there are more than {MAX_BESIDE} boxes beside one moof",
                box_path=printable(start.type),
                offset=start.offset,
            )
        if self._moof is not None:
            beside.append(self._moof)
        room = max(0, self._max_fragment - _size(beside))
        return min(MAX_MOOF, room) if start.type == b"moof" else room

    def _check_form(self, start: BoxStart) -> None:
        """Raises ``InvalidMedia`` when it does not look like a box."""
        typical = all(0x20 <= octet < 0x7F or octet == 0xA9 for octet in start.type)
        if not typical or (start.offset == 0 and start.type not in _KNOWN):
            raise start.damaged("this is no ISO BMFF box")
        if start.type not in _KNOWN and (start.size or 0) > self._max_fragment:
            raise start.damaged(f"a box of unknown type claims {start.size} bytes")

    def _check_place(self, start: BoxStart) -> None:
        """Raises ``InvalidMedia`` when samples and their bytes do not come together."""
        if self._awaits_data:
            if start.type in _BEGIN_ANEW:
                raise start.damaged("the samples before it have no mdat")
        elif start.type == b"mdat" and not start.is_empty:
            raise start.damaged("nothing describes the samples in it")
        if start.type == b"moof" and not self._described:
            raise start.damaged("no moov came before it")

    def _is_of_header(self, start: BoxStart) -> bool:
        if self._moof is not None:
            return False
        return start.type in (b"ftyp", b"moov") or start.extended_type == LIVE_SERVER_MANIFEST

    def _is_of_fragment(self, start: BoxStart) -> bool:
        if self._moof is not None:
            return True
        if start.type == b"mdat":
            return self._initial is not None and bool(self._initial.tracks)
        return start.type == b"moof" or start.type in _BEFORE_MOOF

    def _take(self, start: BoxStart, box: TopBox | None) -> Incoming | None:
        """Takes a box that is complete, and returns what is complete with it."""
        if start.type == b"mdat":
            return self._fragment(box)
        if box is None:
            return EndOfStream() if start.type == b"mfra" else None
        if self._moof is not None:
            self._between.append(box)
        elif box.type == b"moov":
            return self._take_header(box)
        elif box.type == b"moof":
            self._runs = self._reader.runs(box)
            self._has_samples = any(run.sample_count for run in self._runs)
            self._moof = box
        elif box.type in _BEFORE_MOOF:
            self._before.append(box)
        elif box.type == b"ftyp":
            self._header = [box]
        else:  # a live server manifest, which takes the place of an earlier one
            self._header = [*(one for one in self._header if one.type == b"ftyp"), box]
        return None

    def _take_header(self, moov: TopBox) -> Header:
        read = read_header_boxes([*self._header, moov], limit=self._max_fragment)
        self._header = []
        self._initial = read.samples
        self._described = True
        self._reader.take(read.header)
        return read.header

    def _fragment(self, mdat: TopBox | None) -> Fragment | None:
        """The fragment that is complete with ``mdat``; None when nothing of it is of use."""
        moof, runs, between, initial = self._moof, self._runs, self._between, self._initial
        self._moof, self._runs, self._between, self._initial = None, (), [], None
        if mdat is None:
            return None
        if moof is None:
            assert initial is not None
            moof, mdat = as_fragment(initial, mdat)
            runs = self._reader.runs(moof)
        before, self._before = self._before, []
        fragment = self._reader.fragment(before, moof, runs, between, mdat)
        return fragment if fragment.tracks or fragment.events else None


def _size(boxes: Sequence[TopBox]) -> int:
    return sum(len(box.data) for box in boxes)
