"""What the administrator should know of a migration, each with its place."""

from __future__ import annotations

from collections.abc import Iterator

from sidecar.migrate.tree import Statement


class Notes:
    """Remarks in the order in which they were made; ``lost``: how many directives are left out."""

    def __init__(self) -> None:
        self.lost = 0
        self._said: dict[str, None] = {}

    def leave_out(self, statement: Statement, reason: str) -> None:
        """``statement`` is not carried over."""
        self.lost += 1
        self.say(statement, f"{statement.directive} is left out: {reason}")

    def say(self, statement: Statement, text: str) -> None:
        """Something about ``statement``, said once for each place."""
        self._said[f"{statement.place}: {text}"] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._said)
