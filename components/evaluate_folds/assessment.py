"""Scores of masks under several ways of post-processing, side by side and kept by case: a kill costs one case."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from components.evaluate_folds.predictions import Predictions
from spine.dataset import Case, labels_path
from spine.errors import MalformedFileError, MissingPathError
from spine.labels import MAX_LABEL
from spine.metrics.headers import needed_bytes, read_head
from spine.metrics.scans import score_scan
from spine.metrics.scores import Evaluation, FoundVertebra, ScanScores
from spine.metrics.summary import summarize
from spine.postprocessing.choice import Postprocessing, apply
from spine.postprocessing.components import ComponentCounts, counts_with_and_without
from spine.postprocessing.decoding import Decoded
from spine.postprocessing.instances import Instances, find_instances
from spine.storage import digest_value, read_json, short, write_json
from spine.volume.nifti import Volume, read_labels, write_volume
from spine.workers import each

FORMAT: Final = 1
"""Raise it where the same mask and reference come to other scores or names: all are scored again then."""
_LABELS = MAX_LABEL + 1
_DECODING_BYTES_A_VOXEL = 12
"""What finding and naming vertebrae takes at the most, beside the maps themselves."""


@dataclass(frozen=True)
class Masks:
    """Cases of a data set, with the raw masks that a model made of them."""

    cases: Sequence[Case]
    dataset: Path
    predictions: Predictions
    workers: int

    def reference(self, case: Case) -> Path:
        """Return where a case's reference lies."""
        return labels_path(self.dataset, case)

    def bytes_a_worker(self) -> int:
        """Return what a worker needs for the largest case."""
        heads = [read_head(self.reference(case)) for case in self.cases]
        needed = [needed_bytes(head, head) + _DECODING_BYTES_A_VOXEL * math.prod(head.grid.shape) for head in heads]
        return max(needed, default=0)


def evaluate_ways(
    masks: Masks,
    *,
    name: str,
    ways: Mapping[str, Postprocessing],
    scores: Path,
    finished: Path | None,
    on_case: Callable[[str], None],
) -> dict[str, Evaluation]:
    """Score every mask under every way, and return an evaluation a way.

    Scores are kept below ``scores`` and found again. With a folder ``finished``, surfaces are scored too, and the mask
    of the last way is written there: the one that people look at.
    """
    work = partial(_score, masks=masks, ways=ways, scores=scores, finished=finished)
    found: dict[int, list[ScanScores]] = {}
    for index, scans in each(work, masks.cases, workers=masks.workers, bytes_a_worker=masks.bytes_a_worker()):
        found[index] = scans
        on_case(masks.cases[index].case)
    evaluations = {}
    for place, way in enumerate(ways):
        ordered = tuple(found[index][place] for index in sorted(found))
        evaluations[way] = Evaluation(name=name, scans=ordered, summary=summarize(ordered))
    return evaluations


def count_components(
    masks: Masks, *, ways: Sequence[Postprocessing], on_case: Callable[[str], None]
) -> list[list[ComponentCounts]]:
    """Count, after each way, the voxels of every mask that there is, with and without what is not a largest component.

    The result is a list a way, of one count a mask.
    """
    counted: dict[int, list[ComponentCounts]] = {}
    work = partial(_count, masks=masks, ways=ways)
    for index, counts in each(work, masks.cases, workers=masks.workers, bytes_a_worker=masks.bytes_a_worker()):
        counted[index] = counts
        on_case(masks.cases[index].case)
    made = [counted[index] for index in sorted(counted) if counted[index]]
    return [[counts[place] for counts in made] for place in range(len(ways))]


def _count(case: Case, *, masks: Masks, ways: Sequence[Postprocessing]) -> list[ComponentCounts]:
    if not masks.predictions.mask(case.case).is_file():
        return []
    reference = read_labels(masks.reference(case)).array
    raw, instances, evidence = _opened(case, masks)
    decoded = [apply(raw, evidence=evidence, postprocessing=way, instances=instances).labels.array for way in ways]
    return [counts_with_and_without(reference=reference, prediction=array) for array in decoded]


def _score(
    case: Case, *, masks: Masks, ways: Mapping[str, Postprocessing], scores: Path, finished: Path | None
) -> list[ScanScores]:
    files = [_kept(scores, way, case, surfaces=finished is not None) for way in ways.values()]
    found = [_read(file) for file in files]
    target = finished / f"{case.case}.nii.gz" if finished else None
    if all(found) and (target is None or target.is_file()):
        return [scan for scan in found if scan]
    reference = read_labels(masks.reference(case))
    if not masks.predictions.mask(case.case).is_file():
        missing = score_scan(case=case.case, patient=case.patient, reference=reference, prediction=None)
        return [missing] * len(ways)
    raw, instances, evidence = _opened(case, masks)
    scans = []
    for file, way in zip(files, ways.values(), strict=True):
        decoded = apply(raw, evidence=evidence, postprocessing=way, instances=instances)
        scan = score_scan(
            case=case.case,
            patient=case.patient,
            reference=reference,
            prediction=decoded.labels,
            surfaces=finished is not None,
        )
        scans.append(scan.model_copy(update={"vertebrae": _found(decoded, instances, reference.array)}))
        write_json(file, scans[-1].model_dump(mode="json"))
    if target:
        write_volume(target, decoded.labels)
    return scans


def _opened(case: Case, masks: Masks) -> tuple[Volume, Instances, NDArray[np.float64]]:
    """Return a case's raw mask, the vertebrae in it, and what the network says of each."""
    raw = read_labels(masks.predictions.mask(case.case))
    instances = find_instances(raw)
    return raw, instances, masks.predictions.read_evidence(case.case, mask=raw, instances=instances)


def _found(decoded: Decoded, instances: Instances, reference: NDArray[np.uint8]) -> tuple[FoundVertebra, ...]:
    """Return each vertebra of a mask with the reference label that most of it lies on; none where none was named."""
    if not decoded.vertebrae:
        return ()
    inside = np.flatnonzero(instances.owners >= 0)
    places = tuple(instances.indices(inside).T)
    kept = decoded.labels.array[places] > 0
    owners, under = instances.owners[inside][kept], reference[places][kept]
    counts = np.bincount(owners.astype(np.intp) * _LABELS + under, minlength=len(decoded.vertebrae) * _LABELS)
    table = counts.reshape(-1, _LABELS)
    return tuple(
        FoundVertebra(
            label=named.label,
            was=named.was,
            covers=int(row.argmax()),
            voxels=int(row.sum()),
            margin=named.margin,
            flags=named.flags,
        )
        for named, row in zip(decoded.vertebrae, table, strict=True)
        if row.sum()
    )


def _kept(scores: Path, way: Postprocessing, case: Case, *, surfaces: bool) -> Path:
    return scores / short(digest_value([way.digest, surfaces, FORMAT])) / f"{case.case}.json"


def _read(file: Path) -> ScanScores | None:
    try:
        return ScanScores.parse(read_json(file, expected="scores of a scan"), where=file)
    except (MissingPathError, MalformedFileError):
        return None
