"""What may take long and nothing waits for: syncing and deleting files, in a thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Chores:
    """Runs functions one after the other in a thread of its own; what is to be done after one is
    done by whoever calls ``settle``."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._pending: list[tuple[Future[bool], Callable[[], None]]] = []

    def __len__(self) -> int:
        """How many are to be settled."""
        return len(self._pending)

    def add(self, work: Callable[[], bool], then: Callable[[], None] | None = None) -> None:
        """Runs ``work`` soon, and ``then`` at a ``settle`` after it has returned true."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="archive")
        future = self._executor.submit(work)
        if then is not None:
            self._pending.append((future, then))

    def settle(self, *, wait: bool = False) -> None:
        """Does what is to be done after what has been done; ``wait``: for all of it.

        A ``then`` that raises is not called again; the others are, next time.
        """
        while self._pending and (wait or self._pending[0][0].done()):
            future, then = self._pending.pop(0)
            if future.result():
                then()

    def close(self) -> None:
        """Waits for what was begun. May be called twice."""
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None
