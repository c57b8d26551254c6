"""Bodies laid down in files, so that nginx sends them as it sends media.

A megabyte that travels through gRPC costs both ends more than making it did. Files are named by
what they hold, known to nobody before they are complete, and removed in the order of their making.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections import OrderedDict
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import structlog

from sidecar.mux.plan import Body, CacheClass, Composed, Inline, Kept, Part, Plan
from sidecar.service.index_cache import is_current
from sidecar.storage.source import SourceIdentity

# Shorter parts travel with the plan: opening a file costs nginx more than these bytes.
SMALLEST = 64 << 10

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Spool:
    """Files of at most ``budget`` bytes together in ``folder``, which is this object's alone.

    What is left there by an earlier process is removed. The folder is readable by the group, as
    the sockets are, and so are its files. May be used from several threads at once. Without a
    folder, or with a budget of 0, everything stays inline.
    """

    def __init__(self, folder: Path | None, budget: int) -> None:
        self.budget = budget
        self.nbytes = 0
        self._lock = threading.Lock()
        self._files: OrderedDict[bytes, SourceIdentity] = OrderedDict()
        self._count = 0
        self._complained = False
        self._folder = _emptied(folder) if folder is not None and budget else ""

    def __len__(self) -> int:
        return len(self._files)

    def laid_down(self, plan: Plan) -> Plan:
        """``plan`` with its large inline parts in files, where that can be done, and all others
        composed."""
        wanted = bool(self._folder) and plan.cache_class is CacheClass.MEDIA
        parts = tuple(
            self._laid_down(plan, part, wanted and part.length > SMALLEST)
            if isinstance(part, Body)
            else part
            for part in plan.parts
        )
        return plan if parts == plan.parts else replace(plan, parts=parts)

    def _laid_down(self, plan: Plan, part: Body, wanted: bool) -> Part:
        identity = None
        if wanted:
            key = content_key(plan, part)
            identity = self._put(key, part)
            if identity is not None:
                return Kept(identity, key)
        return Inline(part.data) if isinstance(part, Composed) else part

    def holds(self, plan: Plan) -> bool:
        """Whether the files of ``plan`` are there as they were laid down."""
        kept = [part for part in plan.parts if isinstance(part, Kept)]
        return all(
            self._files.get(part.key) == part.source and is_current(part.source.path, part.source)
            for part in kept
        )

    def _put(self, key: bytes, part: Body) -> SourceIdentity | None:
        size = part.length
        if size > self.budget:
            return None
        with self._lock:
            known = self._files.get(key)
            self._count += 1
            number = self._count
        if known is not None:
            if is_current(known.path, known):
                return known
            self._forget(key)
        path = f"{self._folder}/{key.hex()}-{number}"
        stale = self._make_room(size)
        spare = stale.pop() if stale else None
        for file in stale:
            _remove(file.path)
        try:
            identity = _written(path, part.data, spare)
        except OSError as error:
            with self._lock:
                self.nbytes -= size
            # A full disk makes answers slower, not wrong. Said once, not for every segment.
            if not self._complained:
                log.warning("spool not usable", folder=self._folder, reason=error.strerror)
            self._complained = True
            return None
        self._complained = False
        with self._lock:
            replaced = self._files.pop(key, None)
            self._files[key] = identity
            self.nbytes -= replaced.size if replaced is not None else 0
        if replaced is not None:
            _remove(replaced.path)
        return identity

    def _make_room(self, size: int) -> list[SourceIdentity]:
        """Counts ``size`` bytes; the files that go for them."""
        stale = []
        with self._lock:
            self.nbytes += size
            while self.nbytes > self.budget and self._files:
                _, oldest = self._files.popitem(last=False)
                self.nbytes -= oldest.size
                stale.append(oldest)
        return stale

    def _forget(self, key: bytes) -> None:
        with self._lock:
            file = self._files.pop(key, None)
            if file is None:
                return
            self.nbytes -= file.size
        _remove(file.path)


def content_key(plan: Plan, part: Body) -> bytes:
    """16 bytes that identify a large inline part of ``plan``."""
    return plan.made_from or sha256(part.data).digest()[:16]


def _emptied(folder: Path) -> str:
    """The real path of ``folder``, made and emptied; "" when that fails."""
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        for left in folder.iterdir():
            left.unlink()
    except OSError as error:
        log.warning("spool not usable", folder=str(folder), reason=error.strerror)
        return ""
    return os.path.realpath(folder)


def _written(path: str, data: bytes | memoryview, spare: SourceIdentity | None) -> SourceIdentity:
    """The file ``path`` with ``data``, new or made of ``spare``, which is gone then; raises
    ``OSError`` and leaves nothing then."""
    descriptor = -1 if spare is None else _reused(spare.path, path)
    is_new = descriptor < 0
    if is_new:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o640)
    try:
        try:
            if is_new:
                # Whatever the umask is: who may use the sockets may read the files.
                os.fchmod(descriptor, 0o640)
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            if spare is not None and spare.size > len(data):
                os.ftruncate(descriptor, len(data))
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        _remove(path)
        raise
    return SourceIdentity(path, status.st_size, status.st_mtime_ns, status.st_ino)


def _reused(old: str, path: str) -> int:
    """A descriptor of the file ``old``, which is called ``path`` now, to be overwritten: that costs
    half of removing it and filling a new one. -1, and it is gone, when somebody has it open."""
    try:
        os.rename(old, path)  # noqa: PTH104 - the hot path: no Path object
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        _remove(path)
        return -1
    try:
        # Granted only where no other descriptor is open; nobody knows the new name.
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        os.close(descriptor)
        _remove(path)
        return -1
    return descriptor


def _remove(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108 - as above
    except OSError:
        return
