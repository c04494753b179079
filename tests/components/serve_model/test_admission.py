"""Who is let in to be worked on, in what order, and who is refused for want of memory."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from components.serve_model.admission import Admission
from components.serve_model.errors import ShortOfMemoryError, TooLargeError


class Line:
    """Scans that enter an admission and stay until they are told to leave."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.inside: list[str] = []
        self._leave: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def comes(self, name: str, need: int) -> None:
        self._leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._stay(name, need))
        await settled()

    async def leaves(self, name: str) -> None:
        self._leave[name].set()
        await self.tasks[name]
        await settled()

    async def _stay(self, name: str, need: int) -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.admission.place(need))
            self.inside.append(name)
            stack.callback(self.inside.remove, name)
            await self._leave[name].wait()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 10))


def test_as_many_are_let_in_as_memory_holds_and_the_first_comes_first() -> None:
    async def story() -> None:
        line = Line(Admission(slots=4, budget=lambda: 100))
        await line.comes("a", 60)
        await line.comes("large", 50)
        await line.comes("small", 10)
        # The small one would fit, but the large one must not wait for ever behind small ones.
        assert line.inside == ["a"]
        assert line.admission.waiting == 2
        await line.leaves("a")
        assert line.inside == ["large", "small"]
        assert line.admission.waiting == 0

    run(story)


def test_no_more_are_let_in_than_there_are_slots() -> None:
    async def story() -> None:
        line = Line(Admission(slots=2, budget=lambda: 100))
        for name in "abc":
            await line.comes(name, 1)
        assert line.inside == ["a", "b"]
        await line.leaves("a")
        assert line.inside == ["b", "c"]

    run(story)


def test_what_never_fits_is_refused_at_once_also_while_others_wait() -> None:
    async def story() -> None:
        line = Line(Admission(slots=1, budget=lambda: 100))
        await line.comes("a", 10)
        await line.comes("b", 10)
        await line.comes("huge", 101)
        with pytest.raises(TooLargeError, match="GiB of memory"):
            await line.tasks["huge"]
        await line.leaves("a")
        assert line.inside == ["b"]

    run(story)


def test_memory_that_others_took_is_not_given_out() -> None:
    free = 100

    async def story() -> None:
        nonlocal free
        admission = Admission(slots=4, budget=lambda: free)
        line = Line(admission)
        await line.comes("a", 40)
        free = 10
        await line.comes("b", 40)
        assert line.inside == ["a"]
        # Nothing that is worked on will free any: waiting would be for ever.
        await line.leaves("a")
        with pytest.raises(ShortOfMemoryError):
            await line.tasks["b"]
        with pytest.raises(ShortOfMemoryError) as refused:
            async with admission.place(40):
                pass
        assert refused.value.status == 503
        assert refused.value.retry_after_s >= 1
        free = 100
        await line.comes("c", 90)
        assert line.inside == ["c"]

    run(story)


def test_who_gives_up_in_the_line_leaves_no_gap() -> None:
    async def story() -> None:
        line = Line(Admission(slots=1, budget=lambda: 100))
        for name in "abc":
            await line.comes(name, 100)
        line.tasks["b"].cancel()
        await settled()
        assert line.admission.waiting == 1
        await line.leaves("a")
        assert line.inside == ["c"]
        line.tasks["c"].cancel()
        await settled()
        await line.comes("d", 100)
        assert line.inside == ["d"]

    run(story)


def test_who_gives_up_as_it_is_let_in_gives_its_memory_back() -> None:
    async def story() -> None:
        line = Line(Admission(slots=1, budget=lambda: 100))
        async with line.admission.place(100):
            await line.comes("b", 100)
        line.tasks["b"].cancel()
        await settled()
        assert line.inside == []
        await line.comes("c", 100)
        assert line.inside == ["c"]

    run(story)


def test_the_pause_that_is_asked_for_follows_what_lately_was_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("components.serve_model.admission.time.monotonic", lambda: now)

    async def story() -> None:
        nonlocal now
        admission = Admission(slots=2, budget=lambda: 100)
        assert admission.retry_after_s(ahead=2) == 30
        for _ in range(3):
            async with admission.place(1):
                now += 8.0
        assert admission.retry_after_s(ahead=1) == 4
        assert admission.retry_after_s(ahead=16) == 64
        assert admission.retry_after_s(ahead=10_000) == 600

    run(story)
