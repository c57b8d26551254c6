"""Indexes are made once, kept within a budget, and dropped when their file changes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sidecar.codecs.facts import TextFacts
from sidecar.errors import InvalidMedia, NotFound
from sidecar.media.playable import DataFile
from sidecar.media.track import Kind, MediaFile, Samples, Track
from sidecar.service import index_cache
from sidecar.service.index_cache import IndexCache, Key, is_current
from sidecar.storage.local import open_local
from sidecar.storage.source import Source


class Indexer:
    """Stands in for ``index_media``: counts calls, and waits when told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, source: Source, data_file: DataFile | None = None) -> MediaFile:
        self.calls.append(source.identity.path)
        assert self.go.wait(60)
        data = source.read(0, source.identity.size)
        if data.startswith(b"damaged"):
            raise InvalidMedia("it is damaged", box_path="moov", offset=8)
        count = int(data)
        samples = Samples(
            decode_time=np.arange(count + 1, dtype=np.int64),
            composition_offset=None,
            size=np.ones(count, dtype=np.uint32),
            offset=np.arange(count, dtype=np.int64),
            sync=None,
            fragment_start=None,
        )
        track = Track(
            kind=Kind.TEXT,
            track_id=1,
            timescale=1000,
            language=None,
            handler_name="",
            sample_entry_box=b"",
            facts=TextFacts(codec="wvtt", sample_entry="wvtt", fourcc="WVTT"),
            edit_media_time=0,
            samples=samples,
            source=source.identity,
        )
        return MediaFile(source=source.identity, tracks=(track,), skipped=())


@pytest.fixture
def indexer(monkeypatch: pytest.MonkeyPatch) -> Indexer:
    indexer = Indexer()
    monkeypatch.setattr(index_cache, "index_media", indexer)
    return indexer


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


def write(path: Path, samples: int) -> str:
    path.write_text(str(samples))
    return str(path)


async def test_one_index_for_concurrent_callers(
    tmp_path: Path, indexer: Indexer, executor: ThreadPoolExecutor
) -> None:
    cache = IndexCache(1 << 30, executor)
    path = write(tmp_path / "a.mp4", 10)
    indexer.go.clear()
    callers = [asyncio.create_task(cache.get(path)) for _ in range(8)]
    await asyncio.sleep(0.05)
    indexer.go.set()
    found = await asyncio.gather(*callers)
    assert all(media is found[0] for media in found)
    assert await cache.get(path) is found[0]
    assert indexer.calls == [path]


async def test_a_caller_that_goes_away_does_not_take_the_index_along(
    tmp_path: Path, indexer: Indexer, executor: ThreadPoolExecutor
) -> None:
    cache = IndexCache(1 << 30, executor)
    path = write(tmp_path / "a.mp4", 10)
    indexer.go.clear()
    first = asyncio.create_task(cache.get(path))
    second = asyncio.create_task(cache.get(path))
    await asyncio.sleep(0.05)
    first.cancel()
    indexer.go.set()
    assert len((await second).tracks[0].samples) == 10
    with pytest.raises(asyncio.CancelledError):
        await first
    assert indexer.calls == [path]


async def test_a_changed_file_is_indexed_anew(
    tmp_path: Path, indexer: Indexer, executor: ThreadPoolExecutor
) -> None:
    dropped: list[Key] = []
    cache = IndexCache(1 << 30, executor, on_drop=dropped.append)
    path = write(tmp_path / "a.mp4", 10)
    before = await cache.get(path)
    write(tmp_path / "a.mp4", 123)
    after = await cache.get(path)
    assert (len(before.tracks[0].samples), len(after.tracks[0].samples)) == (10, 123)
    assert dropped == [(path, None)]
    assert cache.nbytes == after.nbytes


async def test_a_file_that_is_gone_is_not_found(
    tmp_path: Path, indexer: Indexer, executor: ThreadPoolExecutor
) -> None:
    cache = IndexCache(1 << 30, executor)
    path = write(tmp_path / "a.mp4", 10)
    await cache.get(path)
    Path(path).unlink()
    for _ in range(2):
        with pytest.raises(NotFound):
            await cache.get(path)
    assert (len(cache), cache.nbytes) == (0, 0)


async def test_a_damaged_file_is_parsed_once_until_it_changes(
    tmp_path: Path, indexer: Indexer, executor: ThreadPoolExecutor
) -> None:
    cache = IndexCache(1 << 30, executor)
    path = tmp_path / "a.mp4"
    path.write_text("damaged")
    for _ in range(3):
        with pytest.raises(InvalidMedia) as refused:
            await cache.get(str(path))
        assert str(refused.value) == f"{path}, box moov, offset 8: it is damaged"
    assert indexer.calls == [str(path)]
    write(path, 7)
    assert len((await cache.get(str(path))).tracks[0].samples) == 7


async def test_the_least_recently_used_go_first(
    tmp_path: Path, indexer: Indexer, executor: ThreadPoolExecutor
) -> None:
    dropped: list[Key] = []
    paths = [write(tmp_path / f"{n}.mp4", 10_000) for n in range(4)]
    cache = IndexCache(1 << 30, executor, on_drop=dropped.append)
    media = [await cache.get(path) for path in paths]
    cache.budget = 2 * media[0].nbytes
    cache.keep([media[0]])
    assert dropped == [(paths[1], None), (paths[2], None)]
    assert cache.nbytes == media[0].nbytes + media[3].nbytes
    assert await cache.get(paths[0]) is media[0]


async def test_the_files_of_one_presentation_stay_together(
    tmp_path: Path, indexer: Indexer, executor: ThreadPoolExecutor
) -> None:
    paths = [write(tmp_path / f"{n}.mp4", 10_000) for n in range(4)]
    cache = IndexCache(1, executor)
    media = [await cache.get(path) for path in paths]
    cache.keep(media[:3])
    assert len(cache) == 3
    cache.keep([media[3]])
    assert (len(cache), cache.nbytes) == (1, media[3].nbytes)


def test_identity_follows_what_a_symlink_leads_to(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", 1)
    write(tmp_path / "b.mp4", 1)
    link = tmp_path / "link.mp4"
    link.symlink_to("a.mp4")
    source = open_local(str(link))
    source.close()
    assert is_current(str(link), source.identity)
    link.unlink()
    link.symlink_to("b.mp4")
    assert not is_current(str(link), source.identity)
    assert is_current(source.identity.path, source.identity)
