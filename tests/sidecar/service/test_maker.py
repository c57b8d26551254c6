"""Rewritten answers: made once, kept while their files are there, made ahead of who goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sidecar.errors import NotFound
from sidecar.formats.spec import Answer
from sidecar.mux.plan import CacheClass, Inline, Kept, Plan
from sidecar.service.maker import Made, Maker
from sidecar.service.spool import SMALLEST, Spool

LAST = 8


class Row:
    """Answers ``s-<n>`` with a large body, names the two that follow, and makes ``along`` more at
    the most. Segment ``damaged`` cannot be made."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.calls: list[str] = []
        self.along = 1
        self.damaged = 0
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, path: str, more: int) -> Answer:
        self.gate.wait(60)
        number = int(path.removeprefix("s-"))
        last = min(number + min(more, self.along), max(number, LAST))
        self.calls.append(path)
        self.made += [f"s-{n}" for n in range(number, last + 1)]
        if number > LAST or number <= self.damaged <= last:
            raise NotFound("no such segment")
        plans = [
            Plan(
                parts=(Inline(bytes([n]) * (SMALLEST + 1)),),
                content_type="video/mp2t",
                cache_class=CacheClass.MEDIA,
            )
            for n in range(number, last + 1)
        ]
        following = tuple(f"s-{n}" for n in range(number + 1, last + 3) if n <= LAST)
        ahead = tuple(zip(following, plans[1:], strict=False))
        return Answer(plan=plans[0], ahead=ahead, following=following)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def run(
    folder: Path | None, executor: ThreadPoolExecutor, story: Callable[[Maker, Made, Row], object]
) -> None:
    async def play() -> None:
        maker = Maker(Spool(folder, 1 << 22), executor)
        await story(maker, Made(), Row())  # type: ignore[misc]

    asyncio.run(play())


def question(number: int) -> tuple[str, str, tuple[()]]:
    return f"s-{number}", "", ()


def test_who_goes_on_gets_the_next_ones_along(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    async def story(maker: Maker, made: Made, row: Row) -> None:
        first = await maker.answer(made, question(1), row, 16)
        assert row.made == ["s-1"] and not first.ahead, "one segment is no sequence"
        # A client waits: nginx asks for a quarter of what it asks for when none does.
        second = await maker.answer(made, question(2), row, 4)
        assert [path for path, _ in second.ahead] == ["s-3"]
        assert isinstance(second.ahead[0][1].parts[0], Kept)
        third = await maker.answer(made, question(3), row, 16)
        assert [path for path, _ in third.ahead] == ["s-4", "s-5"]
        assert row.made == ["s-1", "s-2", "s-3", "s-4", "s-5"], "each once"
        assert row.calls == ["s-1", "s-2", "s-4"], "and two with a call"

    run(tmp_path, executor, story)


def test_what_nobody_goes_on_to_is_not_made(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    async def story(maker: Maker, made: Made, row: Row) -> None:
        for number in (1, 8, 5):
            await maker.answer(made, question(number), row, 16)
        assert row.made == ["s-1", "s-8", "s-5"]
        # 2 was expected after 1, and it is the first of a call.
        await maker.answer(made, question(2), row, 16)
        assert row.made[3:] == ["s-2", "s-3", "s-4"]

    run(tmp_path, executor, story)


def test_no_more_is_made_than_is_asked_for(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    async def story(maker: Maker, made: Made, row: Row) -> None:
        for number in (1, 2, 3):
            answer = await maker.answer(made, question(number), row, 3)
            assert not answer.ahead
        assert row.made == ["s-1", "s-2", "s-3"]

    run(tmp_path, executor, story)


def test_a_fault_in_what_follows_stops_there(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    async def story(maker: Maker, made: Made, row: Row) -> None:
        row.along, row.damaged = 4, 4
        await maker.answer(made, question(1), row, 16)
        second = await maker.answer(made, question(2), row, 16)
        assert [path for path, _ in second.ahead] == ["s-3"]
        with pytest.raises(NotFound):
            await maker.answer(made, question(4), row, 16)
        assert not made.running

    run(tmp_path, executor, story)


def test_who_asks_for_what_is_made_along_waits_for_it(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    async def story(maker: Maker, made: Made, row: Row) -> None:
        for number in (1, 2):
            await maker.answer(made, question(number), row, 4)
        row.gate.clear()
        ahead = asyncio.create_task(maker.answer(made, question(3), row, 16))
        await asyncio.sleep(0.02)
        other = asyncio.create_task(maker.answer(made, question(5), row, 0))
        await asyncio.sleep(0.02)
        row.gate.set()
        assert [path for path, _ in (await ahead).ahead] == ["s-4", "s-5"]
        assert (await other).plan is (await ahead).ahead[1][1]
        assert row.made == ["s-1", "s-2", "s-3", "s-4", "s-5"]

    run(tmp_path, executor, story)


def test_the_last_segments(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    async def story(maker: Maker, made: Made, row: Row) -> None:
        await maker.answer(made, question(LAST - 2), row, 16)
        answer = await maker.answer(made, question(LAST - 1), row, 16)
        assert [path for path, _ in answer.ahead] == [f"s-{LAST}"]
        assert not (await maker.answer(made, question(LAST), row, 16)).ahead

    run(tmp_path, executor, story)


def test_asked_for_twice_at_once_is_made_once(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    async def story(maker: Maker, made: Made, row: Row) -> None:
        row.gate.clear()
        calls = [asyncio.create_task(maker.answer(made, question(1), row, 0)) for _ in range(5)]
        await asyncio.sleep(0.05)
        # One that goes away does not take the answer from the others.
        calls[0].cancel()
        row.gate.set()
        found = await asyncio.gather(*calls[1:])
        assert row.made == ["s-1"]
        assert len({id(answer.plan) for answer in found}) == 1

    run(tmp_path, executor, story)


def test_a_file_that_is_gone_is_made_anew(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    async def story(maker: Maker, made: Made, row: Row) -> None:
        first = await maker.answer(made, question(1), row, 0)
        again = await maker.answer(made, question(1), row, 0)
        assert again.plan is first.plan and row.made == ["s-1"]
        for path in tmp_path.iterdir():
            path.unlink()
        await maker.answer(made, question(1), row, 0)
        assert row.made == ["s-1", "s-1"]
        assert len(list(tmp_path.iterdir())) == 1

    run(tmp_path, executor, story)


def test_without_a_spool_nothing_heavy_is_kept(executor: ThreadPoolExecutor) -> None:
    async def story(maker: Maker, made: Made, row: Row) -> None:
        for _ in range(2):
            answer = await maker.answer(made, question(1), row, 0)
            assert isinstance(answer.plan.parts[0], Inline)
        assert row.made == ["s-1", "s-1"] and not made.answers

    run(None, executor, story)


def test_errors_reach_who_asks_and_do_not_stay(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    async def story(maker: Maker, made: Made, row: Row) -> None:
        for _ in range(2):
            with pytest.raises(NotFound):
                await maker.answer(made, question(LAST + 1), row, 0)
        assert len(row.made) == 2 and not made.running

    run(tmp_path, executor, story)
