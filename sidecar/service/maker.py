"""Answers that take reading and rewriting of media: made once for all who ask, laid down in the
spool, and made ahead for clients that go through a presentation in order."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from sidecar.errors import OriginError
from sidecar.formats.spec import Answer
from sidecar.mux.plan import Inline, Kept, Plan
from sidecar.service.spool import Spool

# What was asked, of one presentation: virtual path, query, directives.
Question = tuple[str, str, tuple[tuple[str, tuple[str, ...]], ...]]
# Makes the answer to a virtual path, in a thread.
Make = Callable[[str], Answer]

# An answer that is made costs as much as so many that are only planned.
_PLANS_FOR_ONE = 4
# Plans are small, their bodies are in the spool.
_KEPT = 512
_EXPECTED = 64
_LIGHT = 2048


@dataclass(slots=True, eq=False)
class Made:
    """What has been made of one presentation; goes with it.

    ``answers``: plans whose bodies are laid down. ``expected``: questions that someone who goes on
    asks next. ``running``: what is being made.
    """

    answers: OrderedDict[Question, Answer] = field(default_factory=OrderedDict)
    expected: OrderedDict[Question, None] = field(default_factory=OrderedDict)
    running: dict[Question, asyncio.Task[Answer]] = field(default_factory=dict)


class Maker:
    """Runs rows that read media, in ``executor``. One event loop only.

    Its threads bound how many segments stand in memory at once.
    """

    def __init__(self, spool: Spool, executor: Executor) -> None:
        self.spool = spool
        self._executor = executor

    async def answer(self, made: Made, question: Question, make: Make, read_ahead: int) -> Answer:
        """The answer to ``question``, with plans of what follows it.

        A client that asks what was expected next is going through the presentation: then a part of
        ``read_ahead`` is made before the answer is given, which saves calls. nginx asks for more
        when no client waits. Raises what ``make`` raises.
        """
        goes_on = question in made.expected
        answer = await self._get(made, question, make)
        following: list[Question] = [(path, *question[1:]) for path in answer.following]
        for one in following:
            made.expected[one] = None
            made.expected.move_to_end(one)
        while len(made.expected) > _EXPECTED:
            made.expected.popitem(last=False)
        wanted = min(read_ahead // _PLANS_FOR_ONE, len(following)) if goes_on else 0
        ahead: list[tuple[str, Plan]] = []
        for one in following[:wanted]:
            try:
                ahead.append((one[0], (await self._get(made, one, make)).plan))
            except OriginError:
                break  # whoever asks for it gets the reason
        return Answer(plan=answer.plan, ahead=tuple(ahead) or answer.ahead)

    async def _get(self, made: Made, question: Question, make: Make) -> Answer:
        """As it is kept, or made now, once for all who ask."""
        answer = self._ready(made, question)
        if answer is None:
            # A caller that goes away must not take the answer from the others.
            answer = await asyncio.shield(self._task(made, question, make))
        return answer

    def _ready(self, made: Made, question: Question) -> Answer | None:
        answer = made.answers.get(question)
        if answer is None:
            return None
        if not self.spool.holds(answer.plan):
            del made.answers[question]
            return None
        made.answers.move_to_end(question)
        return answer

    def _task(self, made: Made, question: Question, make: Make) -> asyncio.Task[Answer]:
        task = made.running.get(question)
        if task is None:
            task = asyncio.create_task(self._make(made, question, make))
            made.running[question] = task
            task.add_done_callback(lambda done: _finished(made, question, done))
        return task

    async def _make(self, made: Made, question: Question, make: Make) -> Answer:
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._executor, self._made, question[0], make)
        if _is_light(answer.plan):
            made.answers[question] = answer
            while len(made.answers) > _KEPT:
                made.answers.popitem(last=False)
        return answer

    def _made(self, virtual_path: str, make: Make) -> Answer:
        answer = make(virtual_path)
        return Answer(
            plan=self.spool.laid_down(answer.plan),
            ahead=answer.ahead,
            following=answer.following,
        )


def _is_light(plan: Plan) -> bool:
    """Whether ``plan`` can be kept for nothing: its body is in the spool."""
    return all(
        isinstance(part, Kept) or (isinstance(part, Inline) and part.length <= _LIGHT)
        for part in plan.parts
    )


def _finished(made: Made, question: Question, task: asyncio.Task[Answer]) -> None:
    del made.running[question]
    if not task.cancelled():
        task.exception()  # seen, even when every caller has gone away
