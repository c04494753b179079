"""How the folds of candidates stand, as their journals and checkpoints tell: also when no process of theirs is left."""

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from spine.journal import JOURNAL_FILE, Entry, JournalReader, Status
from spine.nnunet.checkpoint_files import held

CANDIDATES_TOLD = 20
"""Candidates that are told of at most, the last active ones; five folds each."""
_CANDIDATE = re.compile(r"[0-9a-f]{12}")
_FOLD = re.compile(r"fold_([0-4])")


@dataclass(frozen=True)
class JournalSummary:
    """What a journal has told so far; times are Unix times, None before the first."""

    status: Status | None = None
    status_at_s: float | None = None
    epoch: int = 0
    epoch_at_s: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Those of the last epoch."""
    parameters: Mapping[str, str] = field(default_factory=dict)

    def and_then(self, entry: Entry) -> "JournalSummary":
        """Return what is told with one more entry."""
        updated = replace(self, parameters={**self.parameters, **entry.parameters}) if entry.parameters else self
        if entry.status:
            updated = replace(updated, status=entry.status, status_at_s=entry.time_s)
        if entry.metrics:
            updated = replace(updated, epoch=entry.step, epoch_at_s=entry.time_s, metrics=entry.metrics)
        return updated


@dataclass(frozen=True)
class FoldStanding:
    """One fold of one candidate."""

    candidate: str
    """The first digits of the digest that its folder is named by."""
    fold: int
    epochs: int | None
    summary: JournalSummary
    checkpoint_at_s: float | None
    """When the newest checkpoint was written, as its file says."""


@dataclass(frozen=True)
class Training:
    """The folds that were active lately, and how many candidates were so but are not told of."""

    folds: tuple[FoldStanding, ...]
    left_out: int


class Trainings:
    """The candidates below a root; of a journal only what was added since the last look is read."""

    def __init__(self, root: Path, *, days: float) -> None:
        self._folder, self._days = root / "candidates", days
        self._journals: dict[Path, _Journal] = {}

    def look(self) -> Training:
        """Return how the folds stand now; raises OSError where the folder can't be read."""
        active = self._active()
        shown = active[:CANDIDATES_TOLD]
        folds = tuple(standing for candidate in shown for standing in self._standings(candidate))
        self._forget_others(shown)
        return Training(folds=folds, left_out=len(active) - len(shown))

    def _active(self) -> list[Path]:
        """Return the folders of candidates whose journals grew lately, the last one first."""
        since = time.time() - self._days * 86400
        if not self._folder.exists():
            return []
        changed = {
            folder: max((_changed_at(journal) for journal in _fold_journals(folder)), default=0.0)
            for folder in self._folder.iterdir()
            if _CANDIDATE.fullmatch(folder.name)
        }
        return sorted((each for each in changed if changed[each] >= since), key=lambda each: -changed[each])

    def _standings(self, candidate: Path) -> Iterator[FoldStanding]:
        epochs = self._summarize(candidate / JOURNAL_FILE).parameters.get("training.epochs", "")
        for journal in _fold_journals(candidate):
            found = _FOLD.fullmatch(journal.parent.name)
            if found:
                yield FoldStanding(
                    candidate=candidate.name,
                    fold=int(found[1]),
                    epochs=int(epochs) if epochs.isdigit() else None,
                    summary=self._summarize(journal),
                    checkpoint_at_s=max((_changed_at(path) for path in held(journal.parent)), default=None),
                )

    def _summarize(self, path: Path) -> JournalSummary:
        return self._journals.setdefault(path, _Journal(path)).read_on()

    def _forget_others(self, shown: list[Path]) -> None:
        self._journals = {path: each for path, each in self._journals.items() if set(path.parents) & set(shown)}


class _Journal:
    """A journal, and how much of it was read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset, self._so_far = 0, JournalSummary()

    def read_on(self) -> JournalSummary:
        if self._path.is_file() and self._path.stat().st_size < self._offset:
            self._offset, self._so_far = 0, JournalSummary()  # another one has its name now
        for entry, offset in JournalReader(self._path, self._offset):
            self._so_far, self._offset = self._so_far.and_then(entry), offset
        return self._so_far


def _fold_journals(candidate: Path) -> list[Path]:
    return sorted(candidate.glob(f"*/*/fold_*/{JOURNAL_FILE}"))


def _changed_at(path: Path) -> float:
    with contextlib.suppress(FileNotFoundError):  # the trainer drops old checkpoints
        return path.stat().st_mtime
    return 0.0
