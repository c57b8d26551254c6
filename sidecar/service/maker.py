"""Answers that take reading and rewriting of media: made once for all who ask, laid down in the
spool, and made ahead for clients that go through a presentation in order."""

from __future__ import annotations

import asyncio
import itertools
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
# Makes the answer to a virtual path, and to as many of those that follow it, in a thread.
Make = Callable[[str, int], Answer]

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
    running: dict[Question, asyncio.Task[dict[Question, Answer]]] = field(default_factory=dict)


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
        wanted = read_ahead // _PLANS_FOR_ONE if question in made.expected else 0
        answer = await self._get(made, [question], make, wanted)
        following: list[Question] = [(path, *question[1:]) for path in answer.following]
        ahead: list[tuple[str, Plan]] = []
        began = False
        for at, one in enumerate(following[:wanted]):
            ready = self._ready(made, one)
            if ready is None:
                if began:
                    break  # more than is made in one piece
                began = True
                missing = itertools.takewhile(
                    lambda other: self._ready(made, other) is None, following[at + 1 : wanted]
                )
                try:
                    ready = await self._get(made, [one, *missing], make)
                except OriginError:
                    break  # whoever asks for it gets the reason
            ahead.append((one[0], ready.plan))
        for one in following:
            made.expected[one] = None
            made.expected.move_to_end(one)
        while len(made.expected) > _EXPECTED:
            made.expected.popitem(last=False)
        return Answer(plan=answer.plan, ahead=tuple(ahead) or answer.ahead)

    async def _get(
        self, made: Made, questions: list[Question], make: Make, more: int = 0
    ) -> Answer:
        """The answer to the first of ``questions``: as it is kept, or made now, once for all who
        ask, and then the others, which follow it, along with it, or so many ``more``."""
        question = questions[0]
        while True:
            answer = self._ready(made, question)
            if answer is not None:
                return answer
            task = made.running.get(question)
            if task is None:
                task = self._start(made, questions, make, more)
            # A caller that goes away must not take the answer from the others.
            answer = (await asyncio.shield(task)).get(question)
            if answer is not None:
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

    def _start(
        self, made: Made, questions: list[Question], make: Make, more: int
    ) -> asyncio.Task[dict[Question, Answer]]:
        task = asyncio.create_task(self._make(made, questions, make, more))
        mine = [one for one in questions if made.running.setdefault(one, task) is task]
        task.add_done_callback(lambda done: _finished(made, mine, done))
        return task

    async def _make(
        self, made: Made, questions: list[Question], make: Make, more: int
    ) -> dict[Question, Answer]:
        loop = asyncio.get_running_loop()
        path, query, directives = questions[0]
        answers = await loop.run_in_executor(
            self._executor, self._made, path, make, more or len(questions) - 1
        )
        found = {(path, query, directives): answer for path, answer in answers}
        for question, answer in found.items():
            if _is_light(answer.plan):
                made.answers[question] = answer
        while len(made.answers) > _KEPT:
            made.answers.popitem(last=False)
        return found

    def _made(self, path: str, make: Make, more: int) -> list[tuple[str, Answer]]:
        """The answer to ``path``, and those that were made along, laid down."""
        try:
            answer = make(path, more)
        except OriginError:
            if not more:
                raise
            answer = make(path, 0)  # the fault may be in what follows
        following = answer.following
        along = answer.ahead if following else ()
        plan = self.spool.laid_down(answer.plan)
        first = Answer(plan=plan, ahead=() if along else answer.ahead, following=following)
        return [
            (path, first),
            *(
                (other, Answer(plan=self.spool.laid_down(one), following=following[at:]))
                for at, (other, one) in enumerate(along, start=1)
            ),
        ]


def _is_light(plan: Plan) -> bool:
    """Whether ``plan`` can be kept for nothing: its body is in the spool."""
    return all(
        isinstance(part, Kept) or (isinstance(part, Inline) and part.length <= _LIGHT)
        for part in plan.parts
    )


def _finished(
    made: Made, questions: list[Question], task: asyncio.Task[dict[Question, Answer]]
) -> None:
    for question in questions:
        del made.running[question]
    if not task.cancelled():
        task.exception()  # seen, even when every caller has gone away
