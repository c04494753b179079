"""A locked test set and five folds: by group, seeded, balanced over the regions of the spine and the rare labels.

A group (a patient, with whatever looks like one of his scans) is drawn by the hash of its own name, so that it falls
on the same side whoever else is there. Where that leaves a region or a rare label with less than half or much more
than its share of the test set, groups nearest to the threshold change sides, but only new ones: the lock, a file that
is versioned with the data, holds every case where it was once put.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from spine.dataset import FOLDS, Split
from spine.errors import InvalidValueError
from spine.labels import IDS, REGIONS
from spine.storage import read_json, write_json
from spine.values import StoredValue

_RARE: Final = ("C1", "C2", "C3", "C4")
_ALL: Final = "all"
_LEAST, _MOST = 0.5, 1.75
"""Bounds of what the test set may hold of a region's groups, as multiples of its share."""


@dataclass(frozen=True)
class Group:
    """Cases that stay together, the vertebrae (names) that they show, and where the lock holds them."""

    name: str
    cases: tuple[str, ...]
    vertebrae: frozenset[str]
    locked: Split | None = None

    @property
    def factors(self) -> frozenset[str]:
        """What the splits are balanced over: regions seen, and each rare label."""
        ids = {IDS[name] for name in self.vertebrae}
        regions = {region for region, labels in REGIONS.items() if ids & set(labels)}
        return frozenset({_ALL, *regions, *(self.vertebrae & set(_RARE))})


class SplitLock(StoredValue):
    """On which side of the locked test set every case was put, once and for all."""

    seed: int
    cases: dict[str, Split]
    voxels: dict[str, Split]
    """The same by the hash of a case's voxels: a scan under another name is still the scan that it was."""

    @classmethod
    def of(cls, path: Path, *, seed: int) -> "SplitLock":
        """Read the lock, or begin one; raises InvalidValueError where it was drawn with another seed."""
        if not path.is_file():
            return cls(seed=seed, cases={}, voxels={})
        lock = cls.from_stored(read_json(path, expected="the lock of a test set"), where=path)
        if lock.seed != seed:
            message = f"{lock.seed}, with which {path} locked the test set; remove that file to draw a new test set"
            raise InvalidValueError("seed", seed, expected=message)
        return lock

    def with_cases(self, cases: Mapping[str, Split], *, voxels: Mapping[str, Split]) -> "SplitLock":
        """Return the lock with new cases added; old ones stay, those that are missing now included."""
        return SplitLock(seed=self.seed, cases={**cases, **self.cases}, voxels={**voxels, **self.voxels})

    def side_of(self, case: str, *, voxels: str) -> Split | None:
        """Return where a case is held, by its name or else by its voxels."""
        return self.cases.get(case) or self.voxels.get(voxels)

    def write(self, path: Path) -> None:
        """Write the lock as JSON, a case a line."""
        write_json(path, self.content)


def draw_test(groups: Iterable[Group], *, seed: int, share: float) -> dict[str, Split]:
    """Return the side of every group by name: locked ones where they are, new ones by hash, then balanced."""
    known = sorted(groups, key=lambda group: group.name)
    order = {group.name: _fraction(f"test {seed} {group.name}") for group in known}
    sides: dict[str, Split] = {
        group.name: group.locked or ("test" if order[group.name] < share else "train") for group in known
    }
    by_factor = _by_factor(known)
    rarest_first = sorted(by_factor, key=lambda factor: (len(by_factor[factor]), factor))
    for factor in rarest_first:
        low, _ = _bounds(len(by_factor[factor]), share)
        # However small a set is, one group of several is tested on.
        low = max(low, min(1, len(known) - 1)) if factor == _ALL else low
        waiting = sorted(_free(by_factor[factor], sides, "train"), key=lambda group: order[group.name])
        for group in waiting[: max(low - _held(by_factor[factor], sides), 0)]:
            sides[group.name] = "test"
    for factor in rarest_first:
        _, high = _bounds(len(by_factor[factor]), share)
        leaving = sorted(_free(by_factor[factor], sides, "test"), key=lambda group: -order[group.name])
        for group in leaving:
            if _held(by_factor[factor], sides) > high and _may_leave(group, by_factor, sides, share):
                sides[group.name] = "train"
    return sides


def deal_folds(groups: Iterable[Group], *, seed: int) -> dict[str, int]:
    """Deal training groups to the folds that validate on them, by iterative stratification over their factors.

    Source: Sechidis, Tsoumakas and Vlahavas 2011, On the stratification of multi-label data, ECML PKDD.
    """
    waiting = {group.name: group for group in sorted(groups, key=lambda group: _fraction(f"fold {seed} {group.name}"))}
    by_factor = _by_factor(waiting.values())
    wanted = {factor: [len(members) / FOLDS] * FOLDS for factor, members in by_factor.items()}
    room = [sum(len(group.cases) for group in waiting.values()) / FOLDS] * FOLDS
    folds: dict[str, int] = {}
    while waiting:
        left = {factor: [g for g in members if g.name in waiting] for factor, members in by_factor.items()}
        factor = min((name for name in left if left[name]), key=lambda name: (len(left[name]), name))
        for group in left[factor]:
            short = [
                (wanted[factor][fold], sum(wanted[shown][fold] / len(by_factor[shown]) for shown in group.factors))
                for fold in range(FOLDS)
            ]
            fold = max(range(FOLDS), key=lambda index: (*short[index], room[index], -index))
            folds[group.name] = fold
            room[fold] -= len(group.cases)
            for shown in group.factors:
                wanted[shown][fold] -= 1
            del waiting[group.name]
    return folds


def _by_factor(groups: Iterable[Group]) -> dict[str, list[Group]]:
    members: dict[str, list[Group]] = {}
    for group in groups:
        for factor in group.factors:
            members.setdefault(factor, []).append(group)
    return members


def _bounds(count: int, share: float) -> tuple[int, int]:
    target = share * count
    low = math.ceil(_LEAST * target) if target >= _LEAST else 0
    high = math.floor(_MOST * target + 1)
    # Something is left to learn from, and something to be tested on.
    return min(low, count - 1), max(min(high, count - 1), 0)


def _held(members: list[Group], sides: Mapping[str, Split]) -> int:
    return sum(sides[group.name] == "test" for group in members)


def _free(members: list[Group], sides: Mapping[str, Split], side: Split) -> list[Group]:
    return [group for group in members if group.locked is None and sides[group.name] == side]


def _may_leave(group: Group, by_factor: Mapping[str, list[Group]], sides: Mapping[str, Split], share: float) -> bool:
    return all(_held(by_factor[factor], sides) > _bounds(len(by_factor[factor]), share)[0] for factor in group.factors)


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
