"""What came of a fold that ran as child processes, as far as exit codes and the end of its log tell."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spine.errors import SpinelineError
from spine.log_lines import readable
from spine.logs import INTERRUPTED

_REFUSED = 2
_TAIL_LINES = 15
_TAIL_BYTES = 1 << 16
_LONGEST_REASON = 600

State = Literal["done", "failed", "interrupted"]


@dataclass(frozen=True)
class FoldOutcome:
    """How a fold ended; ``reason`` is one line, empty where it is done, ``log_tail`` the last lines of its log."""

    fold: int
    state: State
    reason: str = ""
    log_tail: str = ""
    restarts: int = 0


class FoldsFailedError(SpinelineError):
    """Some folds of a group failed; each is named with its reason, and the ends of their logs come along."""

    def __init__(self, outcomes: Sequence[FoldOutcome]) -> None:
        failed = [outcome for outcome in outcomes if outcome.state == "failed"]
        self.log_tail = "\n".join(f"--- log of fold {outcome.fold}\n{outcome.log_tail}" for outcome in failed)
        reasons = "; ".join(f"fold {row.fold}: {row.reason.removeprefix(f'fold {row.fold}: ')}" for row in failed)
        super().__init__(f"{len(failed)} of {len(outcomes)} folds failed: {reasons}")


def decisive(codes: Sequence[int]) -> int:
    """Return the exit code, of those of a fold's processes, that says what happened to the fold.

    When one process refuses or is killed, those that trained with it fail in its wake.
    """
    ranked = [*(code for code in codes if code == _REFUSED), *(code for code in codes if code < 0)]
    ranked += [*(code for code in codes if code == INTERRUPTED), *(code for code in codes if code), 0]
    return ranked[0]


def reason_of(code: int, tail: str) -> str:
    """Say in one line why a process ended with ``code`` (not 0), its last printed lines being ``tail``."""
    lines = [line for line in tail.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if code == _REFUSED and errors:
        message = errors[-1]
    elif code == INTERRUPTED:
        message = "stopped after saving a checkpoint"
    elif code < 0:
        message = f"killed by {signal_name(code)}"
    else:
        message = f"ended with status {code}" + (f": {lines[-1].strip()}" if lines else "")
    return message if len(message) <= _LONGEST_REASON else message[: _LONGEST_REASON - 1] + "…"


def signal_name(code: int) -> str:
    """Return the name of the signal that a process with the negative exit code ``code`` died of."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def log_tail(log: Path, *, since: int) -> str:
    """Return the last lines of what was appended to ``log`` beyond its first ``since`` bytes."""
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(since, size - _TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(readable(line) for line in text.splitlines()[-_TAIL_LINES:])
