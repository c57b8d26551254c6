"""Large bodies in files: bounded, complete, readable by the group, gone when they must be."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from sidecar.mux.plan import CacheClass, Composed, Inline, Kept, Plan
from sidecar.rpc import origin_pb2
from sidecar.service.convert import SourceTable, write_plan
from sidecar.service.spool import SMALLEST, Spool
from sidecar.storage.source import SourceIdentity

SIZE = SMALLEST + 1
MEDIA = SourceIdentity("/media/a.mp4", 10, 5, 3)


def plan(
    content: bytes, *, made_from: bytes | None = None, kind: CacheClass = CacheClass.MEDIA
) -> Plan:
    return Plan(
        parts=(Inline(b"head"), Inline(memoryview(content))),
        content_type="video/mp2t",
        cache_class=kind,
        made_from=made_from,
    )


def kept(laid: Plan) -> Kept:
    (part,) = [part for part in laid.parts if isinstance(part, Kept)]
    return part


def test_a_large_part_becomes_a_file_that_the_group_may_read(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        spool = Spool(tmp_path / "spool", 1 << 20)
        laid = spool.laid_down(plan(b"x" * SIZE))
    finally:
        os.umask(old)
    assert laid.parts[0].length == 4 and laid.length == 4 + SIZE
    source = kept(laid).source
    path = Path(source.path)
    assert path.read_bytes() == b"x" * SIZE
    status = path.stat()
    assert (status.st_size, status.st_mtime_ns, status.st_ino) == (
        source.size,
        source.mtime_ns,
        source.inode,
    )
    assert stat.S_IMODE(status.st_mode) == 0o640
    assert spool.holds(laid)
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing half-made"


def test_small_parts_and_manifests_stay(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20)
    for one in (plan(b"x" * SMALLEST), plan(b"x" * SIZE, kind=CacheClass.MANIFEST)):
        assert spool.laid_down(one) is one
    assert not list(tmp_path.iterdir())


def test_the_same_content_is_one_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20)
    first = spool.laid_down(plan(b"x" * SIZE))
    assert kept(spool.laid_down(plan(b"x" * SIZE))).source == kept(first).source
    assert len(spool) == 1 and spool.nbytes == SIZE
    # What is made from the same things is the same.
    named = spool.laid_down(plan(b"y" * SIZE, made_from=b"recipe"))
    assert kept(named).key == b"recipe"
    assert kept(spool.laid_down(plan(b"y" * SIZE, made_from=b"recipe"))).source == (
        kept(named).source
    )


def test_the_oldest_go_when_the_budget_is_used_up(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 3 * SIZE)
    laid = [spool.laid_down(plan(bytes([n]) * SIZE)) for n in range(5)]
    assert [spool.holds(one) for one in laid] == [False, False, True, True, True]
    assert spool.nbytes == 3 * SIZE
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 3 * SIZE
    # Larger than everything: inline.
    large = plan(b"x" * (4 * SIZE))
    assert spool.laid_down(large).parts == large.parts
    assert spool.holds(laid[4])


def test_files_of_an_earlier_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / "left").write_bytes(b"x")
    Spool(tmp_path, 100)
    assert not list(tmp_path.iterdir())


def test_a_file_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20)
    laid = spool.laid_down(plan(b"x" * SIZE))
    Path(kept(laid).source.path).unlink()
    assert not spool.holds(laid)
    again = spool.laid_down(plan(b"x" * SIZE))
    assert spool.holds(again) and Path(kept(again).source.path).exists()
    assert spool.nbytes == SIZE


def test_without_room_everything_stays_inline(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    for spool in (Spool(blocked / "spool", 1 << 20), Spool(None, 1 << 20), Spool(tmp_path, 0)):
        one = plan(b"x" * SIZE)
        assert spool.laid_down(one) is one


def test_a_full_disk_leaves_the_part_inline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, 1 << 20)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        one = plan(b"x" * SIZE)
        assert spool.laid_down(one).parts == one.parts
    assert not list(tmp_path.iterdir()), "no remains"
    assert spool.holds(spool.laid_down(one)), "and it goes on when there is room again"


def test_many_threads(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 6 * SIZE)
    laid: list[Plan] = []

    def work(seed: int) -> None:
        laid.extend(spool.laid_down(plan(bytes([(seed + n) % 9]) * SIZE)) for n in range(30))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = list(tmp_path.iterdir())
    assert spool.nbytes == len(spool) * SIZE == len(files) * SIZE <= 6 * SIZE
    for one in laid:
        if spool.holds(one):
            data = Path(kept(one).source.path).read_bytes()
            assert len(set(data)) == 1


def test_the_plan_lists_its_file_behind_those_of_the_presentation(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20)
    one = plan(b"x" * SIZE, made_from=b"recipe")
    sources = SourceTable((MEDIA,), 7)
    for _ in range(2):  # and only in this plan
        message = origin_pb2.Plan()
        write_plan(message, spool.laid_down(one), sources)
        assert message.sources[0].path == MEDIA.path
        assert len(message.sources) == 2
        ranges = message.parts[1].file
        assert message.sources[ranges.source].size == SIZE
        assert list(ranges.offset) == [0] and list(ranges.length) == [SIZE]
        assert message.length == 4 + SIZE
    inline = origin_pb2.Plan()
    write_plan(inline, one, sources)
    assert inline.parts[1].inline == b"x" * SIZE
    assert inline.etag == message.etag, "the same answer, wherever its bytes are"
    other = origin_pb2.Plan()
    write_plan(other, plan(b"x" * SIZE, made_from=b"another"), sources)
    assert other.etag != message.etag


def test_a_file_that_goes_is_overwritten_unless_somebody_reads_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 3 * SIZE + 9)
    laid = [kept(spool.laid_down(plan(bytes([n]) * SIZE))).source for n in range(3)]
    with Path(laid[0].path).open("rb") as reader:
        reader.read(100)
        first = kept(spool.laid_down(plan(b"x" * SIZE))).source
        assert first.inode != laid[0].inode
        assert reader.read() == bytes(SIZE - 100), "whoever reads gets what was there"
    for content, old in ((b"y" * (SIZE + 9), laid[1]), (b"z" * SIZE, laid[2])):
        found = kept(spool.laid_down(plan(content))).source
        assert found.inode == old.inode
        assert Path(found.path).read_bytes() == content
    assert not any(Path(old.path).exists() for old in laid)
    longer = kept(spool.laid_down(plan(b"w" * (2 * SIZE)))).source
    assert Path(longer.path).read_bytes() == b"w" * (2 * SIZE)
    shorter = kept(spool.laid_down(plan(b"v" * (2 * SIZE - 5)))).source
    assert Path(shorter.path).read_bytes() == b"v" * (2 * SIZE - 5)
    assert spool.nbytes == sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * SIZE + 9


def composed(content: bytes, calls: list[int], *, made_from: bytes | None = b"recipe") -> Plan:
    def compose() -> memoryview:
        calls.append(len(content))
        return memoryview(content)

    return Plan(
        parts=(Composed(len(content), compose),),
        content_type="video/mp2t",
        cache_class=CacheClass.MEDIA,
        made_from=made_from,
    )


def test_what_is_laid_down_already_is_not_put_together_again(tmp_path: Path) -> None:
    spool, calls = Spool(tmp_path, 1 << 20), list[int]()
    first = spool.laid_down(composed(b"x" * SIZE, calls))
    assert calls == [SIZE] and Path(kept(first).source.path).read_bytes() == b"x" * SIZE
    again = spool.laid_down(composed(b"x" * SIZE, calls))
    assert calls == [SIZE] and kept(again).source == kept(first).source


@pytest.mark.parametrize("size", [SMALLEST, SIZE])
def test_what_is_not_laid_down_is_put_together_all_the_same(tmp_path: Path, size: int) -> None:
    calls: list[int] = []
    for spool in (Spool(None, 0), Spool(tmp_path, SMALLEST)):
        (part,) = spool.laid_down(composed(b"x" * size, calls)).parts
        assert isinstance(part, Inline) and bytes(part.data) == b"x" * size
    assert calls == [size, size] and not list(tmp_path.iterdir())


def test_a_plan_says_the_same_wherever_its_bytes_are(tmp_path: Path) -> None:
    """The entity tag must not tell how a body travels."""
    tags = set()
    for recipe in (b"recipe", None):
        for lay in (Spool(tmp_path, 1 << 20).laid_down, Spool(None, 0).laid_down, lambda one: one):
            message = origin_pb2.Plan()
            write_plan(
                message, lay(composed(b"x" * SIZE, [], made_from=recipe)), SourceTable([MEDIA], 7)
            )
            assert message.length == SIZE
            tags.add(message.etag)
    assert len(tags) == 2
