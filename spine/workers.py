"""Worker processes: how they end with the process that started them, and how much memory there is for them."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import wait
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


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
