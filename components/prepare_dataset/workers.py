"""All cores at work on cases: worker processes that end with their parent, and results as they come."""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from spine.workers import end_with_parent, free_memory

Item = TypeVar("Item")
Result = TypeVar("Result")
_BYTES_A_WORKER = 2 << 30
"""What a worker may need for a large scan: as many run as fit the memory that is free."""


def each(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    on_crash: Callable[[Item], Result] | None = None,
) -> Iterator[tuple[int, Result]]:
    """Yield (position, result) of ``work`` on every item, in the order in which they are done.

    ``work`` must be picklable; what it raises is raised here. Where a worker process dies, as decoders can make it
    and the system when memory runs out, what is left is tried one by one, and the result of an item that does it
    again is ``on_crash`` of it. Without ``on_crash``, one item, or one worker, is worked on in this process.
    """
    workers = min(workers, len(items), max(free_memory() // _BYTES_A_WORKER, 1))
    if workers <= 1 and on_crash is None:
        yield from ((index, work(item)) for index, item in enumerate(items))
        return
    waiting = dict(enumerate(items))
    try:
        for index, result in _in_pool(work, dict(waiting), workers=workers):
            del waiting[index]
            yield index, result
    except BrokenProcessPool:
        if on_crash is None:
            raise
        for index, item in waiting.items():
            yield index, _alone(work, item, on_crash)


def _alone(work: Callable[[Item], Result], item: Item, on_crash: Callable[[Item], Result]) -> Result:
    try:
        ((_, result),) = _in_pool(work, {0: item}, workers=1)
    except BrokenProcessPool:
        return on_crash(item)
    return result


def _in_pool(
    work: Callable[[Item], Result], items: Mapping[int, Item], *, workers: int
) -> Iterator[tuple[int, Result]]:
    context = multiprocessing.get_context("forkserver")
    # Imported once by the server that workers are forked from, not by each of them.
    context.set_forkserver_preload([work_module(work)])
    with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
        positions = {pool.submit(work, item): index for index, item in items.items()}
        try:
            for done in as_completed(positions):
                yield positions[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def work_module(work: Callable[[Item], Result]) -> str:
    """Return the name of the module that a function, or a partial of one, lives in."""
    return str(getattr(getattr(work, "func", work), "__module__", __name__))
