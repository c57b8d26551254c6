"""What a sidecar process counts, as text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.errors import NoLicense, Result
from sidecar.formats.registry import KINDS
from sidecar.license.terms import VOD
from sidecar.service.metrics import BOUNDS, Metrics
from sidecar.service.presentations import PresentationCache
from sidecar.service.spool import Spool
from tests.support.license import DAY, issued, licensing
from tests.support.media import generated

ROOT = Path(__file__).resolve().parents[3]
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def presentations() -> Iterator[PresentationCache]:
    with ThreadPoolExecutor(1) as executor:
        yield PresentationCache(1, executor)


def values(metrics: Metrics) -> Values:
    """Every value by name and labels, as Prometheus reads them."""
    text = "".join(family.head + family.samples for family in metrics.families())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    wanted = frozenset({"worker": "3", **labels}.items())
    return values(metrics)[f"origin_sidecar_{name}", wanted]


def test_calls(presentations: PresentationCache) -> None:
    metrics = Metrics("3", presentations, Spool(None, 0), licensing())
    metrics.began()
    metrics.began()
    assert value(metrics, "calls_running") == 2
    metrics.ended("hls.segment", Result.FMP4_OK.value, 0.007, 16)
    metrics.ended("", Result.FMP4_NOT_FOUND.value, 40.0, 0)
    assert value(metrics, "calls_running") == 0
    assert value(metrics, "calls_total", kind="hls.segment", result="FMP4_OK") == 1
    assert value(metrics, "calls_total", kind="other", result="FMP4_NOT_FOUND") == 1
    assert value(metrics, "plans_ahead_total") == 16
    buckets = [
        value(metrics, "call_duration_seconds_bucket", kind="hls.segment", le=le)
        for le in (*map(str, BOUNDS), "+Inf")
    ]
    assert buckets == [0.0] + [1.0] * len(BOUNDS)
    assert value(metrics, "call_duration_seconds_sum", kind="hls.segment") == 0.007
    assert value(metrics, "call_duration_seconds_bucket", kind="other", le="30.0") == 0
    assert value(metrics, "call_duration_seconds_count", kind="other") == 1


def test_cancelled_calls(presentations: PresentationCache) -> None:
    metrics = Metrics("3", presentations, Spool(None, 0), licensing())
    metrics.began()
    metrics.ended("", None, 1.0, 0)
    assert value(metrics, "calls_running") == 0
    assert value(metrics, "calls_total", kind="other", result="CANCELLED") == 1


def test_every_value_names_its_process(presentations: PresentationCache) -> None:
    metrics = Metrics("3", presentations, Spool(None, 0), licensing())
    metrics.ended("a", 0, 0.1, 0)
    found = values(metrics)
    assert len(found) > 20
    assert all(("worker", "3") in labels for _, labels in found)
    assert not any(name.endswith("_created") for name, _ in found)


async def test_the_caches(presentations: PresentationCache, tmp_path: Path) -> None:
    metrics = Metrics("3", presentations, Spool(tmp_path / "spool", 1000), licensing())
    assert value(metrics, "index_bytes") == 0
    for name in ("one.mp4", "two.mp4"):
        (tmp_path / name).write_bytes(generated("bframes_closed.mp4").read_bytes())
        await presentations.get(str(tmp_path), f"/{name}")
    assert value(metrics, "index_bytes") == presentations.index.nbytes > 1000
    assert value(metrics, "index_budget_bytes") == 1
    assert value(metrics, "index_files") == value(metrics, "presentations") == 1
    assert value(metrics, "index_evictions_total") == 1, "the budget holds none but the last one"
    assert value(metrics, "spool_budget_bytes") == 1000
    assert value(metrics, "spool_bytes") == value(metrics, "spool_files") == 0


def test_the_process_itself(presentations: PresentationCache) -> None:
    metrics = Metrics("3", presentations, Spool(None, 0), licensing())
    assert value(metrics, "process_resident_memory_bytes") > 10 << 20
    assert value(metrics, "process_cpu_seconds_total") > 0
    assert 0 < value(metrics, "process_open_fds") <= value(metrics, "process_max_fds")
    assert value(metrics, "process_start_time_seconds") < time.time()


def test_when_the_license_ends(presentations: PresentationCache) -> None:
    known = licensing()
    metrics = Metrics("3", presentations, Spool(None, 0), known)
    assert value(metrics, "license_expiry_seconds") == 0
    with pytest.raises(NoLicense):
        known.require(VOD, (issued(ends=-1),))
    assert value(metrics, "license_expiry_seconds") == 0
    known.require(VOD, (issued(ends=DAY),))
    assert abs(value(metrics, "license_expiry_seconds") - time.time() - DAY) < 600


def test_labels_are_escaped(presentations: PresentationCache) -> None:
    metrics = Metrics('a"b\\c\nd', presentations, Spool(None, 0), licensing())
    assert {dict(labels)["worker"] for _, labels in values(metrics)} == {'a"b\\c\nd'}


def test_both_sides_know_the_same_buckets_and_kinds() -> None:
    lua = (ROOT / "lua/origin/metrics.lua").read_text()
    bounds = lua.partition("BOUNDS = {")[2].partition("}")[0]
    assert tuple(map(float, bounds.split(","))) == BOUNDS
    # Lua takes a kind for "other" when there are too many, or with other signs.
    names = {kind.name for kind in KINDS} | {"hds.packaged", "static", "other"}
    assert len(names) < 60
    assert all(name.replace("_", "").replace(".", "").isalnum() for name in names)
    assert all(name == name.lower() for name in names)
