"""Ranges of media files for rows that rewrite media: files stay open between requests."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace

from sidecar.errors import StorageError
from sidecar.storage.local import LocalSource, open_local
from sidecar.storage.source import SourceIdentity


class MediaReader:
    """``ReadRange`` over local files; may be called from several threads at once.

    ``most``: files kept open, the least recently used are closed.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._open: OrderedDict[SourceIdentity, LocalSource] = OrderedDict()

    def __call__(self, identity: SourceIdentity, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes at ``offset`` of the file ``identity``.

        Raises ``StorageError`` when the file is no longer that one.
        """
        # Held while reading: a file that another thread closes meanwhile might lend its
        # descriptor to a third.
        with self._lock:
            # A file that grows is one file, whatever it had when it was looked at.
            key = replace(identity, size=0) if identity.growing else identity
            source = self._open.get(key)
            if source is not None and source.identity.size < offset + length and identity.growing:
                source.close()
                source = None
            if source is None:
                source = self._open[key] = self._opened(identity)
            self._open.move_to_end(key)
            data = source.read(offset, length)
            while len(self._open) > self._most:
                self._open.popitem(last=False)[1].close()
            return data

    def close(self) -> None:
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    @staticmethod
    def _opened(identity: SourceIdentity) -> LocalSource:
        source = open_local(identity.path)
        same = source.identity == identity
        if identity.growing:
            found = source.identity
            same = found.inode == identity.inode and found.size >= identity.size
        if not same:
            source.close()
            raise StorageError("the media file has been replaced", path=identity.path)
        return source
