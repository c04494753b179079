"""Work on many cases at once, as far as memory allows, in processes that end with this one."""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import blosc2
import torch

from spine.errors import SpinelineError
from spine.workers import end_with_parent, free_memory

Work = Callable[[str], Any]
BYTES_A_WORKER = 600 << 20
"""What a process holds before it reads anything: torch, nnU-Net and their libraries."""
_VOXELS_WORTH_A_WORKER = 100_000_000
"""A worker takes seconds to start, in which a hundred million voxels are preprocessed."""


class WorkerDiedError(SpinelineError):
    """The process that worked on a case was killed, alone on the machine's memory."""

    def __init__(self, case: str, *, needed_bytes: int) -> None:
        gigabytes = (needed_bytes + BYTES_A_WORKER) / 1e9
        super().__init__(
            f"case '{case}': the process working on it was killed, probably for want of memory; "
            f"expected about {gigabytes:.1f} GB free"
        )


@dataclass(frozen=True)
class PoolPlan:
    """How many processes work side by side, and with how many threads each; none is this process alone."""

    processes: int
    threads: int


def crew_for(*, voxels: int, bytes_a_case: int, cases: int, threads: int) -> PoolPlan:
    """Choose as many processes as the threads, the cases and the free memory allow and the work is worth.

    ``bytes_a_case`` is what the largest case needs beyond an idle process; ``voxels`` are those of all cases.
    """
    fitting = free_memory() // (bytes_a_case + BYTES_A_WORKER)
    processes = min(threads, cases, max(fitting, 1), -(-voxels // _VOXELS_WORTH_A_WORKER))
    if voxels < _VOXELS_WORTH_A_WORKER:
        return PoolPlan(processes=0, threads=threads)
    return PoolPlan(processes=processes, threads=max(threads // processes, 1))


def each_case(work: Work, cases: Mapping[str, int], *, crew: PoolPlan) -> Iterator[str]:
    """Yield the names of cases as ``work`` on each is done; what it raises is raised here.

    ``cases`` maps a name to the bytes that it needs; ``work`` must be picklable. Where a worker dies, the cases that
    are left are tried one by one with the memory to themselves; raises WorkerDiedError for the one that dies again.
    """
    if not crew.processes:
        for case in cases:
            work(case)
            yield case
        return
    waiting = dict(cases)
    try:
        for case in _in_pool(work, list(waiting), crew):
            del waiting[case]
            yield case
    except BrokenProcessPool:
        for case in waiting:
            yield _alone(work, case, needed_bytes=cases[case])


def _alone(work: Work, case: str, *, needed_bytes: int) -> str:
    try:
        return next(_in_pool(work, [case], PoolPlan(processes=1, threads=1)))
    except BrokenProcessPool as error:
        raise WorkerDiedError(case, needed_bytes=needed_bytes) from error


def _in_pool(work: Work, cases: list[str], crew: PoolPlan) -> Iterator[str]:
    context = multiprocessing.get_context("forkserver")
    # Imported once by the server that workers are forked from, not by each of them.
    context.set_forkserver_preload(["spine.nnunet.planning"])
    with ProcessPoolExecutor(crew.processes, context, initializer=_start, initargs=(crew.threads,)) as pool:
        names = {pool.submit(work, case): case for case in cases}
        try:
            for done in as_completed(names):
                done.result()
                yield names[done]
        finally:
            pool.shutdown(cancel_futures=True)


def _start(threads: int) -> None:
    end_with_parent()
    torch.set_num_threads(threads)
    blosc2.set_nthreads(threads)
