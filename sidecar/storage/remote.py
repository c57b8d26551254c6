"""Files on other servers as sources: read in ranges, and looked at again now and then."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace

import structlog

from sidecar.clock import monotonic_ns, now_ns
from sidecar.errors import Forbidden, InvalidMedia, NotFound, Replaced, StorageError
from sidecar.storage.access import Access
from sidecar.storage.addresses import connect_address
from sidecar.storage.ahead import Ahead
from sidecar.storage.blocks import BLOCK, Blocks
from sidecar.storage.fetch import TRIES, Fetched, Fetcher
from sidecar.storage.freshness import fresh_seconds
from sidecar.storage.known import Known, digest_tag, is_document, is_same, unless_same
from sidecar.storage.signing import HEADER_SECONDS, QUERY_SECONDS, Signed, signed
from sidecar.storage.source import SourceIdentity
from sidecar.storage.urls import endpoint, host_header

_SECOND_NS = 1_000_000_000
_MOST_FILES = 4096
# These are kept with what they say, of which there are at most so many bytes.
_MOST_DOCUMENTS = 256
_MOST_SAID = 32 << 20
_MOST_SIGNED = 1024
# What turns out to be another file is asked for at most so often, whatever clients do.
_LOOK_AGAIN_NS = _SECOND_NS

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRequest:
    """How nginx gets ranges of a file; fields as in ``origin.v1.Remote``."""

    url: str = field(repr=False)
    host: str
    address: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    expires_ms: int


class RemoteStore:
    """What the locations with one ``Access`` read on other servers. For several threads.

    ``executor``: threads for its blocking calls.
    """

    def __init__(
        self, access: Access, fetcher: Fetcher, blocks: Blocks, executor: Executor
    ) -> None:
        self.access = access
        self.executor = executor
        self._fetcher = fetcher
        self._blocks = blocks
        self._lock = threading.Lock()
        self._files: OrderedDict[str, Known] = OrderedDict()
        self._documents: OrderedDict[str, Known] = OrderedDict()
        self._missing: OrderedDict[str, int] = OrderedDict()
        self._looking: dict[tuple[str, bool], Future[Known]] = {}
        self._signed: OrderedDict[str, tuple[int, Signed]] = OrderedDict()

    def open(self, url: str) -> RemoteSource:
        """The file at the canonical URL ``url``.

        Raises ``NotFound``, ``Forbidden``, ``StorageTimeout``, ``StorageError``.
        """
        return RemoteSource(self, self.identity(url))

    def identity(self, url: str) -> SourceIdentity:
        """The file at ``url`` as it is, or was within its validity. Raises as ``open``."""
        return self._current(url, None).identity

    def found(self, url: str) -> SourceIdentity | None:
        """As ``identity``, None when there is nothing, or nothing that may be read: S3 says that of
        what does not exist, unless one may list the bucket. That is remembered, too."""
        with self._lock:
            looked_ns = self._missing.get(url)
        if looked_ns is not None and monotonic_ns() - looked_ns < self._valid_ns(""):
            return None
        now = monotonic_ns()
        try:
            return self.identity(url)
        except (NotFound, Forbidden):
            with self._lock:
                self._missing[url] = now
                self._missing.move_to_end(url)
                while len(self._missing) > _MOST_FILES:
                    self._missing.popitem(last=False)
            return None

    def document(self, url: str, limit: int) -> tuple[bytes, SourceIdentity]:
        """A whole file of at most ``limit`` bytes. Its identity changes with its bytes only, and it
        is taken to be the same for as long as its server says. Raises as ``open``."""
        known = self._current(url, limit)
        return known.data, known.identity

    def read(self, identity: SourceIdentity, offset: int, length: int) -> bytes:
        """Exactly those bytes of the file ``identity``.

        Raises ``InvalidMedia`` when it ends before, ``Replaced`` when it is no longer that one, and
        as ``open``.
        """
        if offset < 0 or length < 0 or offset + length > identity.size:
            raise InvalidMedia(
                f"the file ends before byte {offset + length}: it has {identity.size}",
                path=identity.path,
                offset=max(0, min(offset, identity.size)),
            )

        def fetch(first: int, end: int) -> bytes:
            return self._fetch(identity, first, end)

        key = (self.access.credentials, identity)
        return self._blocks.read(key, identity.size, offset, offset + length, fetch)

    def kept(self, identity: SourceIdentity, offset: int, length: int) -> bytes | None:
        """Those bytes of the file ``identity`` if they are at hand, in one piece."""
        if offset < 0 or length < 0 or offset + length > identity.size:
            return None
        key = (self.access.credentials, identity)
        return self._blocks.kept(key, offset, offset + length)

    def ahead(self, identity: SourceIdentity, spans: Sequence[tuple[int, int]]) -> Ahead:
        """Pieces of the file ``identity``, within its size, that are going to be read in order."""

        def fetch(first: int, end: int) -> bytes:
            return self._fetch(identity, first, end)

        return Ahead(spans, fetch, self._fetcher.threads)

    def are_fresh(self, identities: Iterable[SourceIdentity]) -> bool:
        """Whether the files are known to be the same, and nobody need be asked yet."""
        now = monotonic_ns()
        for identity in identities:
            known = self._last_seen(identity)
            if known is None or known.identity != identity:
                return False
            if now - known.looked_ns >= known.valid_ns:
                return False
        return True

    def holds(self, identity: SourceIdentity) -> bool:
        """Whether the file is what it was; asks its server when it is time for that.

        Raises as ``open``, but a server that fails is taken to have what it had for a while.
        """
        limit = None
        if is_document(identity):
            known = self._last_seen(identity)
            if known is None:
                return False
            limit = known.limit
        return self._current(identity.path, limit).identity == identity

    def left_ms(self, identities: Iterable[SourceIdentity]) -> int:
        """Milliseconds until one of the files has to be looked at again, 0 = now."""
        now = monotonic_ns()
        known = [self._last_seen(identity) for identity in identities]
        left = [one.looked_ns + one.valid_ns - now if one is not None else 0 for one in known]
        return max(0, min(left, default=0)) // 1_000_000

    def expire(self, identities: Iterable[SourceIdentity], *, is_sure: bool = False) -> None:
        """Has the files looked at again before they are used, but for those that were just now,
        unless it ``is_sure`` that they are others."""
        now = monotonic_ns()
        with self._lock:
            for identity in identities:
                known = self._last_seen(identity)
                if known is not None and (is_sure or now - known.looked_ns >= _LOOK_AGAIN_NS):
                    kept = self._documents if is_document(identity) else self._files
                    kept[identity.path] = replace(known, valid_ns=0, is_doubtful=False)

    def request(self, identity: SourceIdentity) -> RemoteRequest:
        """How ranges of the file ``identity`` are requested; accepted for at least half of what a
        signature lasts. Raises ``StorageError``, ``Forbidden`` when its server has no address."""
        url = self._where(identity)
        signature = self._sign(url)
        _, host, port = endpoint(url)
        return RemoteRequest(
            url=signature.url,
            host=host_header(url),
            address=connect_address(self._fetcher.addresses.of(host)[0], port),
            headers=signature.headers,
            expires_ms=signature.expires_ms,
        )

    def _last_seen(self, identity: SourceIdentity) -> Known | None:
        kept = self._documents if is_document(identity) else self._files
        return kept.get(identity.path)

    def _where(self, identity: SourceIdentity) -> str:
        known = self._files.get(identity.path)
        return known.url if known is not None else identity.path

    def _current(self, url: str, limit: int | None) -> Known:
        """What is at ``url``: as it was seen within its validity, or now, by one request for all
        who ask. Nobody waits for a server that failed the last time, unless that is all too long.
        ``limit``: it is a document."""
        kept = self._files if limit is None else self._documents
        asked = (url, limit is not None)
        now = monotonic_ns()
        with self._lock:
            known = kept.get(url)
            if known is not None and now - known.looked_ns < known.valid_ns:
                kept.move_to_end(url)
                return known
            running = self._looking.get(asked)
            is_mine = running is None
            if running is None:
                running = self._looking[asked] = Future()
        if known is not None and known.is_doubtful and self._may_be_stale(known, now):
            if is_mine:
                self.executor.submit(self._look, url, known, limit, running)
            return known
        if is_mine:
            self._look(url, known, limit, running)
        return running.result()

    def _look(
        self, url: str, known: Known | None, limit: int | None, running: Future[Known]
    ) -> None:
        """Sets ``running``, which is the look at ``url``, and keeps what is found."""
        kept = self._files if limit is None else self._documents
        asked = (url, limit is not None)
        try:
            found = self._looked(url, known, limit)
        except BaseException as error:
            with self._lock:
                del self._looking[asked]
                if isinstance(error, NotFound | Forbidden):
                    kept.pop(url, None)
            running.set_exception(error)
            return
        with self._lock:
            del self._looking[asked]
            kept[url] = found
            kept.move_to_end(url)
            held = sum(len(one.data) for one in kept.values()) if limit is not None else 0
            while len(kept) > (_MOST_FILES if limit is None else _MOST_DOCUMENTS) or (
                held > _MOST_SAID and len(kept) > 1
            ):
                held -= len(kept.popitem(last=False)[1].data)
        running.set_result(found)

    def _looked(self, url: str, known: Known | None, limit: int | None) -> Known:
        now = monotonic_ns()
        headers = unless_same(known)
        # A range of one byte tells as much as HEAD does, which signatures for GET do not allow.
        span = None if limit is not None else (0, BLOCK) if known is None else (0, 1)
        most = limit if limit is not None else BLOCK if known is None else 0
        tries = TRIES if known is None else 1
        try:
            found = self._fetcher.get(
                url, self._sign, span=span, headers=headers, limit=most, tries=tries
            )
        except StorageError as error:
            now = monotonic_ns()
            if known is None or not self._may_be_stale(known, now):
                raise
            log.warning("storage fails, what is known is served", file=url, reason=error.sentence)
            valid_ns = self._valid_ns("")
            return replace(known, looked_ns=now, valid_ns=valid_ns, is_doubtful=True)
        if known is not None and found.status == 304:
            said = found.cache_control or known.cache_control if limit is not None else ""
            return replace(
                known,
                looked_ns=now,
                confirmed_ns=now,
                valid_ns=self._valid_ns(said),
                is_doubtful=False,
                cache_control=said,
            )
        return self._seen(url, known, found, limit, now)

    def _seen(
        self, url: str, known: Known | None, found: Fetched, limit: int | None, now: int
    ) -> Known:
        if found.size is None:
            raise StorageError("the storage does not say how long the content is", path=url)
        etag = found.strong_etag
        if limit is not None:
            etag = digest_tag(found.data)
        identity = SourceIdentity(url, found.size, found.mtime_ns, 0, etag=etag)
        if known is not None and limit is not None and known.identity.etag == etag:
            identity = known.identity
        said = found.cache_control if limit is not None else ""
        if limit is None:
            key = (self.access.credentials, identity)
            self._blocks.put(key, identity.size, found.first, found.data)
        return Known(
            identity=identity,
            url=found.url,
            etag=found.etag,
            looked_ns=now,
            confirmed_ns=now,
            valid_ns=self._valid_ns(said),
            cache_control=said,
            data=found.data if limit is not None else b"",
            limit=limit,
        )

    def _may_be_stale(self, known: Known, now: int) -> bool:
        return now - known.confirmed_ns <= self.access.stale_seconds * _SECOND_NS

    def _valid_ns(self, cache_control: str) -> int:
        seconds = fresh_seconds(cache_control)
        return (self.access.valid_seconds if seconds is None else seconds) * _SECOND_NS

    def _fetch(self, identity: SourceIdentity, first: int, end: int) -> bytes:
        """Those bytes of the file ``identity``, from its server."""
        headers = {"If-Match": identity.etag} if identity.etag else {}
        is_whole = first == 0 and end == identity.size
        try:
            found = self._fetcher.get(
                self._where(identity),
                self._sign,
                span=(first, end),
                headers=headers,
                limit=identity.size if is_whole else 0,
            )
            if not is_same(found, identity):
                raise Replaced("the content has been replaced", path=identity.path)
        except Replaced:
            self.expire((identity,), is_sure=True)
            raise
        if len(found.data) != end - first:
            raise StorageError("the storage does not answer ranges", path=identity.path)
        return found.data

    def _sign(self, url: str) -> Signed:
        credentials = self.access.credentials_for(url)
        if credentials is None:
            return Signed(url)
        seconds = HEADER_SECONDS if credentials.in_headers else QUERY_SECONDS
        now_ms = now_ns() // 1_000_000
        with self._lock:
            before = self._signed.get(url)
        if before is not None and before[0] <= now_ms < before[0] + seconds * 500:
            return before[1]
        signature = signed(url, credentials)
        with self._lock:
            self._signed[url] = (now_ms, signature)
            self._signed.move_to_end(url)
            while len(self._signed) > _MOST_SIGNED:
                self._signed.popitem(last=False)
        return signature


class RemoteSource:
    """A file on another server. Implements ``storage.source.Source``; there is nothing to close."""

    def __init__(self, store: RemoteStore, identity: SourceIdentity) -> None:
        self._store = store
        self._identity = identity
        self._ahead: Ahead | None = None

    @property
    def identity(self) -> SourceIdentity:
        return self._identity

    def read(self, offset: int, length: int) -> bytes:
        if self._ahead is not None:
            piece = self._store.kept(self._identity, offset, length)
            if piece is None:
                piece = self._ahead.read(offset, offset + length)
            if piece is not None:
                return piece
        return self._store.read(self._identity, offset, length)

    def expect(self, spans: Sequence[tuple[int, int]]) -> None:
        """Fetches ``spans`` in parallel, once the first of them is read."""
        self._ahead = self._store.ahead(self._identity, spans)

    def close(self) -> None:
        """Does nothing: connections and blocks are the process's."""
