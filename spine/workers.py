"""Worker processes: work on many items side by side, within the memory there is, ending with who started them."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_BYTES_A_WORKER = 2 << 30
"""What a worker may need for a large scan."""
_PR_SET_PDEATHSIG = 1
_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def each(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    bytes_a_worker: int = _BYTES_A_WORKER,
    on_crash: Callable[[Item], Result] | None = None,
) -> Iterator[tuple[int, Result]]:
    """Yield (position, result) of ``work`` on every item, in the order in which they are done.

    ``work`` must be picklable; what it raises is raised here. Where a worker process dies, as decoders can make it
    and the system when memory runs out, what is left is tried one by one, and the result of an item that does it
    again is ``on_crash`` of it. As many workers run as have ``bytes_a_worker`` of free memory each. Without
    ``on_crash``, one item, or one worker, is worked on in this process.
    """
    workers = min(workers, len(items), max(free_memory() // bytes_a_worker, 1))
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


def end_with_parent() -> None:
    """Have a worker of ``multiprocessing`` end when its parent does; to be called first thing in it.

    An interrupt at the keyboard reaches the whole group: it is the parent's to act on.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def signal_after_parent(number: int) -> None:
    """Ask the kernel to send this process a signal when the thread that started it has ended; Linux alone can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def free_memory() -> int:
    """Return the bytes that can be had without swapping, within the container's limit where there is one."""
    free = _free_on_machine()
    try:
        limit = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
        statistics = dict(line.split() for line in (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return free
    # The page cache is counted as used, and given back when asked for.
    return min(free, limit - used + int(statistics.get("inactive_file", 0)))


def _free_on_machine() -> int:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


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
    context.set_forkserver_preload([_module_of(work)])
    with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
        positions = {pool.submit(work, item): index for index, item in items.items()}
        try:
            for done in as_completed(positions):
                yield positions[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _module_of(work: Callable[[Item], Result]) -> str:
    """Return the name of the module that a function, or a partial of one, lives in."""
    return str(getattr(getattr(work, "func", work), "__module__", __name__))
