"""Structured log lines, one event each, on standard error."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any, Literal, TextIO

import structlog

from sidecar.clock import monotonic_ns

LogFormat = Literal["json", "console"]

# When the call began that this task works for, on the monotonic clock; 0 = for none.
call_started_ns: ContextVar[int] = ContextVar("call_started_ns", default=0)


def configure_logging(log_format: LogFormat, level: str) -> None:
    """Sends every later ``structlog`` event of at least ``level`` to standard error.

    ``json``: one object a line with ``time`` (UTC, ISO 8601), ``level`` and ``event``;
    ``console``: the same for eyes. Events with a ``request_id`` get ``milliseconds``, those since
    the call began. Call it once, before the first event.
    """
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_milliseconds,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    if log_format == "json":
        processors += [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ]
    else:
        processors += [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        # One write a line, with PYTHONUNBUFFERED too: several processes share the file.
        logger_factory=structlog.WriteLoggerFactory(_Lossy(sys.stderr)),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )


class _Lossy:
    """Standard error, from which lines are lost when nobody reads it any more, or its disk is
    full: that must not end who writes them."""

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._output.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._output.flush()


def _add_milliseconds(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    started = call_started_ns.get()
    if started and "request_id" in event:
        event["milliseconds"] = round((monotonic_ns() - started) / 1e6, 1)
    return event
