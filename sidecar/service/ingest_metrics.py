"""What encoders have sent to this process, in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sidecar.live.connection import Outcome

_PREFIX = "origin_sidecar_ingest"
# Seconds: a manifest lists a fragment at once when it is in the index.
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 10.0)


class IngestMetrics:
    """Counters of one process. The outcomes of fragments are those of ``live.point.Outcome``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._streams = Gauge(
            f"{_PREFIX}_streams", "Encoders that are connected now.", registry=registry
        )
        self._fragments = Counter(
            f"{_PREFIX}_fragments", "Fragments that came, by what became of them.", ("outcome",),
            registry=registry,
        )  # fmt: skip
        self._fragment_bytes = Counter(
            f"{_PREFIX}_fragment_bytes", "Their bytes.", ("outcome",), registry=registry
        )
        for outcome in Outcome:  # from 0 on
            self._fragments.labels(outcome.value)
            self._fragment_bytes.labels(outcome.value)
        self._bytes = Counter(
            f"{_PREFIX}_bytes", "Bytes that came, all together.", registry=registry
        )
        self._seconds = Histogram(
            f"{_PREFIX}_store_seconds",
            "From the last byte of a fragment to its place in the index.",
            buckets=_BOUNDS, registry=registry,
        )  # fmt: skip

    @contextmanager
    def stream(self) -> Iterator[None]:
        """An encoder is connected as long as the block runs."""
        self._streams.inc()
        try:
            yield
        finally:
            self._streams.dec()

    def received(self, count: int) -> None:
        """So many bytes have come."""
        self._bytes.inc(count)

    def fragment(self, outcome: str, size: int) -> None:
        """A fragment of ``size`` bytes has been judged. From any thread."""
        self._fragments.labels(outcome).inc()
        self._fragment_bytes.labels(outcome).inc(size)

    def stored(self, seconds: float) -> None:
        """It took so long to store what was complete."""
        self._seconds.observe(seconds)
