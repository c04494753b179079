"""From checked cases to a data set: duplicates out, groups, splits, the manifest, and the folder that is linked."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.prepare_dataset.case_store import IMAGE_FILE, LABELS_FILE, Entry, PreparedRow
from components.prepare_dataset.checks.catalogue import finding
from components.prepare_dataset.fingerprints import alike
from components.prepare_dataset.grouping import group_cases
from components.prepare_dataset.layouts import RawSet
from components.prepare_dataset.raw_case import PATIENTS_FILE, RawCase
from components.prepare_dataset.splits import Group, SplitLock, deal_folds, draw_test
from spine.dataset import (
    FOLDS,
    MANIFEST_FILE,
    SPLITS_FILE,
    Case,
    Finding,
    Manifest,
    Quarantined,
    Split,
    image_path,
    labels_path,
)
from spine.labels import IDS
from spine.storage import atomic_folder, link, write_json


@dataclass(frozen=True)
class Prepared:
    """A data set before it is written: its manifest, the lock that follows, and where each case is kept."""

    manifest: Manifest
    lock: SplitLock
    folders: Mapping[str, Path]
    hu_counts: Mapping[str, tuple[int, ...]]
    set_aside: Mapping[str, str]


def assemble(
    raw_set: RawSet, entries: Sequence[Entry], *, set_aside: Mapping[str, str], lock: SplitLock, test_share: float
) -> Prepared:
    """Decide on every case: accepted and on which side, or quarantined and why."""
    found = {entry.stored.case: list(entry.stored.findings) for entry in entries}
    raw_cases = {case.case: case for case in raw_set.cases}
    for case, reason in set_aside.items():
        found[case].append(finding("set-aside", case=case, value=1, message=reason))
    for raw in raw_set.cases:
        if not raw.in_patients_table:
            message = f"{PATIENTS_FILE} has no row for it: it counts as a patient of its own"
            found[raw.case].append(finding("known-patient", case=raw.case, value=0, message=message))
    rows = {entry.stored.case: entry.stored.row for entry in entries if entry.stored.row}
    kept = {case: row for case, row in rows.items() if case not in set_aside}
    held = {case: side for case, row in kept.items() if (side := lock.side_of(case, voxels=row.voxels_sha256))}
    for duplicate in _duplicates(kept, lock.cases):
        found[duplicate.case].append(duplicate)
        del kept[duplicate.case]
    patients = {case: raw_cases[case].patient or row.patient or case for case, row in rows.items()}
    prints = {entry.stored.case: entry.fingerprint() for entry in entries if entry.stored.case in kept}
    grouping = group_cases({case: patients[case] for case in kept}, likenesses=alike(prints), lock=held)
    for each in grouping.findings:
        found[each.case].append(each)
    groups = [
        Group(name, cases, _vertebrae(kept, cases), grouping.locked.get(name))
        for name, cases in sorted(grouping.groups.items())
    ]
    sides = draw_test(groups, seed=lock.seed, share=test_share)
    folds = deal_folds([group for group in groups if sides[group.name] == "train"], seed=lock.seed)
    group_of = {case: group.name for group in groups for case in group.cases}
    cases = tuple(
        _case(raw_cases[case], kept[case], patients[case], sides[group], folds.get(group), tuple(found[case]))
        for case, group in sorted(group_of.items())
    )
    quarantine = tuple(
        Quarantined(case=case, patient=patients.get(case, raw.patient or case), findings=tuple(found[case]))
        for case, raw in sorted(raw_cases.items())
        if case not in group_of
    )
    return Prepared(
        manifest=Manifest(
            seed=lock.seed,
            layout=raw_set.layout,
            label_map=raw_set.label_map,
            cases=cases,
            quarantine=quarantine,
        ),
        lock=lock.with_cases(
            {case.case: case.split for case in cases}, voxels={case.voxels_sha256: case.split for case in cases}
        ),
        folders={entry.stored.case: entry.folder for entry in entries if entry.folder},
        hu_counts={case: kept[case].hu_counts for case in group_of},
        set_aside=set_aside,
    )


def write_dataset(output: Path, prepared: Prepared) -> None:
    """Write the data set as a whole: linked cases, manifest, and what nnU-Net reads."""
    with atomic_folder(output) as partial:
        for case in prepared.manifest.cases:
            link(prepared.folders[case.case] / IMAGE_FILE, image_path(partial, case))
            link(prepared.folders[case.case] / LABELS_FILE, labels_path(partial, case))
        training = [case.case for case in prepared.manifest.members(split="train")]
        validated = [
            {case.case for case in prepared.manifest.members(split="train", fold=fold)} for fold in range(FOLDS)
        ]
        splits = [{"train": [case for case in training if case not in held], "val": sorted(held)} for held in validated]
        write_json(partial / SPLITS_FILE, splits)
        write_json(partial / MANIFEST_FILE, prepared.manifest.content)
        write_json(
            partial / "dataset.json",
            {
                "name": "Vertebrae",
                "channel_names": {"0": "CT"},
                "labels": {"background": 0, **IDS},
                "numTraining": len(training),
                "file_ending": ".nii.gz",
                "overwrite_image_reader_writer": "SimpleITKIO",
            },
        )


def _duplicates(rows: Mapping[str, PreparedRow], held: Collection[str]) -> list[Finding]:
    """Find cases with the voxels of another; one that is held by the lock is kept, else the first by name."""
    first_with: dict[str, str] = {}
    found = []
    for case in sorted(rows, key=lambda case: (case not in held, case)):
        row = rows[case]
        twin = first_with.setdefault(row.voxels_sha256, case)
        if twin != case:
            i, j, k = row.shape
            found.append(finding("duplicate", case=case, value=i * j * k, message=f"same voxels as {twin}"))
    return found


def _vertebrae(rows: Mapping[str, PreparedRow], cases: Sequence[str]) -> frozenset[str]:
    """Return the vertebrae that a group shows; slivers at the border don't count."""
    return frozenset(name for case in cases for name in rows[case].label_voxels if name not in rows[case].fragments)


def _case(
    raw: RawCase, row: PreparedRow, patient: str, split: Split, fold: int | None, findings: tuple[Finding, ...]
) -> Case:
    known = row.model_dump(exclude={"patient", "hu_counts"})
    return Case(case=raw.case, patient=patient, split=split, fold=fold, source=raw.source, findings=findings, **known)
