"""Which cases must stay on one side of every split: those of one patient, and those that look like one scan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from components.prepare_dataset.checks.catalogue import finding
from components.prepare_dataset.fingerprints import Likeness
from spine.dataset import Finding, Split


@dataclass
class _Group:
    cases: list[str]
    split: Split | None


@dataclass
class Grouping:
    """Groups of cases by name, the side that the lock holds each on, and what was found on the way."""

    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    locked: dict[str, Split] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    rejected: set[str] = field(default_factory=set)


def group_cases(patients: Mapping[str, str], *, likenesses: Sequence[Likeness], lock: Mapping[str, Split]) -> Grouping:
    """Group cases (``patients`` gives each case's) by patient and by likeness across patients.

    A group is named by its first patient. Where the lock holds members on both sides, those in training are
    rejected, or the new case that would tie them: the test set never changes, and nothing leaks into it.
    """
    made = Grouping()
    group_of = _by_patient(patients, lock, made)
    for like in sorted(likenesses, key=lambda like: (-like.correlation, like.first, like.second)):
        if {like.first, like.second} & made.rejected or patients[like.first] == patients[like.second]:
            continue
        _tie(like, group_of, lock, made)
    for group in {id(group): group for group in group_of.values()}.values():
        kept = tuple(sorted(case for case in group.cases if case not in made.rejected))
        if kept:
            name = min(patients[case] for case in kept)
            made.groups[name] = kept
            if group.split:
                made.locked[name] = group.split
    return made


def _by_patient(patients: Mapping[str, str], lock: Mapping[str, Split], made: Grouping) -> dict[str, _Group]:
    members: dict[str, list[str]] = {}
    for case, patient in sorted(patients.items()):
        members.setdefault(patient, []).append(case)
    group_of = {}
    for patient, cases in members.items():
        sides = {lock[case] for case in cases if case in lock}
        for case in cases:
            if len(sides) == 2 and lock.get(case) == "train":
                template = f"is of patient {patient}, of whom other scans are locked in the test set"
                _reject(made, case, template)
        group = _Group(cases, "test" if "test" in sides else next(iter(sides), None))
        group_of.update(dict.fromkeys(cases, group))
    return group_of


def _tie(like: Likeness, group_of: dict[str, _Group], lock: Mapping[str, Split], made: Grouping) -> None:
    first, second = group_of[like.first], group_of[like.second]
    template = f"looks like {{}} (correlation {like.correlation:.3f})"
    if first is not second and {first.split, second.split} == {"train", "test"}:
        free = [case for case in (like.first, like.second) if case not in lock]
        in_training = like.first if first.split == "train" else like.second
        case = free[0] if free else in_training
        other = like.second if case == like.first else like.first
        _reject(made, case, template.format(other) + ", which the lock holds on the other side of the split")
        return
    message = template.format(like.first) + ", of another patient: both go to the same side of every split"
    made.findings.append(finding("near-duplicate", case=like.second, value=like.correlation, message=message))
    if first is not second:
        first.cases += second.cases
        first.split = first.split or second.split
        group_of.update(dict.fromkeys(second.cases, first))


def _reject(made: Grouping, case: str, message: str) -> None:
    made.rejected.add(case)
    made.findings.append(finding("split-conflict", case=case, value=1, message=message))
