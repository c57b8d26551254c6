"""A few hundred cases at every run of the suite; ``tests/fuzz/run.py`` makes the ten thousand."""

from __future__ import annotations

import shutil

import pytest

from tests.fuzz import run as fuzz
from tests.support.memory_source import MemorySource


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_mutated_files_give_results_or_our_errors() -> None:
    figures = fuzz.run(600, seed=20261123)
    assert figures.broken == []
    assert figures.cases == 600
    assert figures.results > 60, "mutations that leave nothing readable test little"
    assert figures.errors["InvalidMedia"] > 60


def broken_by(monkeypatch: pytest.MonkeyPatch, fault) -> list[str]:
    monkeypatch.setattr(fuzz, "index_media", fault)
    figures = fuzz.Figures()
    fuzz.run_case(b"data", figures, 7)
    return figures.broken


@pytest.fixture
def small_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of this process is that of the whole suite, and says nothing of a case."""
    monkeypatch.setattr(fuzz, "_peak", lambda: 1 << 20)


@pytest.mark.usefixtures("small_process")
def test_another_exception_counts_as_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(source: MemorySource) -> None:
        raise KeyError("moov")

    (text,) = broken_by(monkeypatch, fault)
    assert "case 7" in text and "KeyError" in text


@pytest.mark.usefixtures("small_process")
def test_too_much_time_counts_as_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter((0.0, 3.0))
    monkeypatch.setattr(fuzz.time, "process_time", lambda: next(ticks))

    def fault(source: MemorySource) -> None:
        raise fuzz.MediaError("slow", path="x")

    assert broken_by(monkeypatch, fault) == ["case 7: 3.0 s"]


def test_too_much_memory_counts_as_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "MAX_MEMORY", 1 << 20)

    def fault(source: MemorySource) -> None:
        raise fuzz.MediaError("large", path="x")

    (text,) = broken_by(monkeypatch, fault)
    assert text.endswith("MB")


def test_a_case_is_made_from_its_number_alone() -> None:
    seeds = {"a": bytes(range(200)), "b": bytes(100)}
    assert fuzz.make(seeds, 1, 3) == fuzz.make(seeds, 1, 3)
    assert len({fuzz.make(seeds, 1, number) for number in range(0, 20, 2)}) > 5
