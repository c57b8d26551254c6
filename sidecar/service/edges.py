"""Requests that came a moment too early, held until publishing points have changed."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.clock import monotonic_ns

# Seconds between two looks at the stamps of points that are waited for, one for all of them.
_LOOK = 0.01
# Requests that are held at once; each is one segment, for all who want it.
_MOST = 256

# For how long the call that this task works for has been held.
held_ns: ContextVar[int] = ContextVar("held_ns", default=0)


@dataclass(slots=True, eq=False)
class _Watched:
    """A stamp: when it had been set last, and who waits for more."""

    mtime_ns: int
    waiters: set[asyncio.Future[None]] = field(default_factory=set)


class Edges:
    """The points that somebody waits for. One event loop only.

    Other processes may write to a point, so its stamp is watched rather than its writer; and only
    while somebody waits.
    """

    def __init__(self) -> None:
        self._watched: dict[Path, _Watched] = {}
        self._held = 0
        self._next_look: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return self._held

    async def changed(self, stamp: Path, seen_ns: int, until_ns: int) -> bool:
        """Whether ``stamp`` is set anew, behind ``seen_ns`` (its mtime), before ``until_ns``
        (monotonic). At once, False, when too many are held already."""
        began = monotonic_ns()
        left = (until_ns - began) / 1e9
        if left <= 0 or self._held >= _MOST:
            return False
        watched = self._watched.setdefault(stamp, _Watched(set_at(stamp)))
        if watched.mtime_ns != seen_ns:
            if not watched.waiters:
                del self._watched[stamp]
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watched.waiters.add(waiter)
        self._held += 1
        if self._next_look is None:
            self._look_later()
        try:
            async with asyncio.timeout(left):
                await waiter
        except TimeoutError:
            return False
        finally:
            self._held -= 1
            held_ns.set(held_ns.get() + monotonic_ns() - began)
            watched.waiters.discard(waiter)
            if not watched.waiters and self._watched.get(stamp) is watched:
                del self._watched[stamp]
        return True

    def _look_later(self) -> None:
        self._next_look = asyncio.get_running_loop().call_later(_LOOK, self._look)

    def _look(self) -> None:
        for stamp, watched in list(self._watched.items()):
            if set_at(stamp) == watched.mtime_ns:
                continue
            del self._watched[stamp]
            for waiter in watched.waiters:
                if not waiter.done():
                    waiter.set_result(None)
        self._next_look = None
        if self._watched:
            self._look_later()


def set_at(stamp: Path) -> int:
    """When ``stamp`` was set, Unix nanoseconds; 0 when it is not there."""
    try:
        return stamp.stat().st_mtime_ns
    except OSError:
        return 0
