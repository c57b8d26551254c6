"""What one sidecar process has counted, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from sidecar.errors import Result
from sidecar.service.licensing import Licensing
from sidecar.service.presentations import PresentationCache
from sidecar.service.spool import Spool

# As in lua/origin/metrics.lua, seconds.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Of calls that no row claims, and that whoever made them did not wait for.
OTHER, CANCELLED = "other", "CANCELLED"

_PREFIX = "origin_sidecar"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. ``head``: its lines HELP and TYPE; ``samples``: those of its values."""

    name: str
    head: str
    samples: str


class Metrics:
    """Counters of one process, and what it holds. One event loop only.

    ``worker``: its number, a label of every value. ``registry``: for others of this process.
    """

    def __init__(
        self, worker: str, presentations: PresentationCache, spool: Spool, licensing: Licensing
    ) -> None:
        self._worker = worker
        self.registry = registry = CollectorRegistry()
        self._calls = Counter(
            f"{_PREFIX}_calls", "Calls of Plan, by kind and result.", ("kind", "result"),
            registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            f"{_PREFIX}_call_duration_seconds", "How long they took.", ("kind",),
            buckets=BOUNDS, registry=registry,
        )  # fmt: skip
        self._running = Gauge(
            f"{_PREFIX}_calls_running", "Calls of Plan that go on now.", registry=registry
        )
        self._ahead = Counter(
            f"{_PREFIX}_plans_ahead", "Plans that were sent before anybody asked.",
            registry=registry,
        )  # fmt: skip
        registry.register(_Held(presentations, spool, licensing))
        ProcessCollector(namespace=_PREFIX, registry=registry)

    def began(self) -> None:
        """A call has begun."""
        self._running.inc()

    def ended(self, kind: str, result: int | None, seconds: float, ahead: int) -> None:
        """It has ended so; ``result`` None = cancelled. ``ahead``: plans beside the one asked for.

        ``kind``: name of a row, one of a few dozen, or empty.
        """
        self._running.dec()
        name = CANCELLED if result is None else Result(result).name
        self._calls.labels(kind or OTHER, name).inc()
        self._seconds.labels(kind or OTHER).observe(seconds)
        if ahead:
            self._ahead.inc(ahead)

    def families(self) -> Iterator[Family]:
        """All metrics, each with its values now."""
        for metric in self.registry.collect():
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            head = f"# HELP {name} {metric.documentation}\n# TYPE {name} {metric.type}\n"
            yield Family(name, head, "".join(self._lines(metric)))

    def _lines(self, metric: Metric) -> Iterator[str]:
        for sample in metric.samples:
            if not sample.name.endswith("_created"):
                yield _line(sample, self._worker)


class _Held(Collector):
    """What caches and license hold, looked up when it is asked for."""

    def __init__(
        self, presentations: PresentationCache, spool: Spool, licensing: Licensing
    ) -> None:
        self._presentations = presentations
        self._spool = spool
        self._licensing = licensing

    def collect(self) -> Iterable[Metric]:
        index, spool = self._presentations.index, self._spool
        for name, help_text, value in (
            ("index_bytes", "Memory of track indexes.", index.nbytes),
            ("index_budget_bytes", "What they may take.", index.budget),
            ("index_files", "Media files whose index is kept.", len(index)),
            ("presentations", "Presentations that are kept.", len(self._presentations)),
            ("spool_bytes", "Rewritten segments on disk.", spool.nbytes),
            ("spool_budget_bytes", "What they may take.", spool.budget),
            ("spool_files", "Files of rewritten segments.", len(spool)),
        ):
            yield GaugeMetricFamily(f"{_PREFIX}_{name}", help_text, value)
        yield CounterMetricFamily(
            f"{_PREFIX}_index_evictions", "Indexes dropped for the budget.", index.evictions
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}_license_expiry_seconds",
            "When the license key ends that was accepted last, Unix time; 0 = none was.",
            self._licensing.expires or 0,
        )
        build = GaugeMetricFamily(f"{_PREFIX}_build_info", "Version; always 1.", labels=["version"])
        build.add_metric([_version()], 1)
        yield build


def _version() -> str:
    try:
        return version("openorigin")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "unknown"


def _line(sample: Sample, worker: str) -> str:
    labels = {"worker": worker, **sample.labels}
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{sample.name}{{{pairs}}} {_number(sample.value)}\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
