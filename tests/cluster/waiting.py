"""Waiting for a state of the cluster, with an error that names what was waited for."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 2.0


def wait_until(
    look: Callable[[], T | None], what: str, *, timeout_s: float, state: Callable[[], object] | None = None
) -> T:
    """Return the first result of ``look`` that is true; ``state`` describes the cluster for the error."""
    deadline = time.monotonic() + timeout_s
    while True:
        if found := look():
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {timeout_s:g} s for {what}{f': {state()}' if state else ''}")
        time.sleep(POLL_S)
