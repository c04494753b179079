"""Reading evaluations: our own JSON, and the ``summary.json`` that nnU-Net writes for the model of today."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath
from statistics import fmean
from typing import Any, Final

from spine.errors import MalformedFileError
from spine.labels import MAX_LABEL
from spine.metrics.overlap import present_dice
from spine.metrics.scores import Evaluation, LabelScore, ScanScores
from spine.metrics.summary import summarize
from spine.storage import read_json
from spine.volume.nifti import case_name

_EXPECTED: Final = "an evaluation as `spineline evaluate` writes it, or a summary.json of nnU-Net"
_LARGEST_BYTES: Final = 1 << 30
"""Ten thousand scans with all 25 vertebrae take a quarter of it."""
_LABELS: Final = {str(label): label for label in range(MAX_LABEL + 1)}
_COUNTS: Final = ("TP", "FP", "FN")


def read_evaluation(path: Path, *, name: str | None = None) -> Evaluation:
    """Read an evaluation of ours, or nnU-Net's ``summary.json``, which is told by its ``metric_per_case``.

    ``name`` is that of the evaluation; without it, the one in the file, or the folder that holds the summary.
    Raises MissingPathError and MalformedFileError.
    """
    content = _content(path)
    if not isinstance(content, dict):
        raise MalformedFileError(path, reason=f"the whole file: is a {type(content).__name__}", expected=_EXPECTED)
    if "metric_per_case" in content:
        return _evaluation(content["metric_per_case"], name=name or _name_of(path), path=path)
    if not content.keys() & Evaluation.model_fields.keys():
        found = ", ".join(sorted(content)[:3]) or "nothing"
        raise MalformedFileError(path, reason=f"the whole file: holds {found}", expected=_EXPECTED)
    evaluation = Evaluation.from_stored(content, where=path)
    return evaluation.model_copy(update={"name": name}) if name else evaluation


def _evaluation(cases: Any, *, name: str, path: Path) -> Evaluation:
    """Rebuild an evaluation from voxel counts; what these don't tell (names, distances, borders) is None.

    nnU-Net lists predictions, so a reference that was never predicted is not in the file and can't be counted.
    """
    if not isinstance(cases, list) or not cases:
        raise _fault(path, "metric_per_case", found=cases, expected="a list with at least one case")
    scans: dict[str, ScanScores] = {}
    for number, case in enumerate(cases):
        scan = _scan(case, where=f"metric_per_case.{number}", path=path)
        if scan.case in scans:
            raise _fault(path, f"metric_per_case.{number}", found=scan.case, expected="one entry a case")
        scans[scan.case] = scan
    ordered = tuple(scans[case] for case in sorted(scans))
    return Evaluation(name=name, scans=ordered, summary=summarize(ordered))


def _scan(case: Any, *, where: str, path: Path) -> ScanScores:
    if not isinstance(case, dict):
        raise _fault(path, where, found=case, expected="an object with reference_file, prediction_file and metrics")
    message = case.get("metrics")
    if not isinstance(message, dict):
        raise _fault(path, f"{where}.metrics", found=message, expected="an object with the counts of each label")
    labels = tuple(sorted(_labels(message, where=f"{where}.metrics", path=path), key=lambda score: score.label))
    present = [score.dice for score in labels if score.dice is not None]
    return ScanScores(
        case=_case(case, where=where, path=path),
        patient=None,
        labels=labels,
        mean_dice=fmean(present) if present else None,
        bone_dice=None,
        all_correct=None,
        level_shift=None,
        false_positive_labels=sum(1 for score in labels if not score.reference_voxels),
        false_positive_mm3=None,
        missing=None,
    )


def _case(case: Mapping[str, Any], *, where: str, path: Path) -> str:
    for field in ("reference_file", "prediction_file"):
        file = case.get(field)
        # The file may have been written on either kind of system; this reads both kinds of paths.
        if isinstance(file, str) and PureWindowsPath(file).name:
            return case_name(Path(PureWindowsPath(file).name))
    raise _fault(path, f"{where}.reference_file", found=case.get("reference_file"), expected="a path")


def _labels(message: Mapping[str, Any], *, where: str, path: Path) -> Iterator[LabelScore]:
    for key, counts in message.items():
        label = _label(key, where=where, path=path)
        if label == 0:
            continue
        common, extra, lost = (_count(counts, field, where=f"{where}.{key}", path=path) for field in _COUNTS)
        if common + extra + lost == 0:
            continue
        overlap = {
            "reference_voxels": common + lost,
            "predicted_voxels": common + extra,
            "common_voxels": common,
        }
        yield LabelScore(
            label=label,
            **overlap,
            dice=present_dice(**overlap),
            at_border=None,
            identified=None,
            localisation_mm=None,
        )


def _label(key: str, *, where: str, path: Path) -> int:
    if key.startswith("("):
        expected = "single labels: scores of regions, which merge vertebrae, say nothing about levels"
        raise _fault(path, where, found=key, expected=expected)
    if key not in _LABELS:
        raise _fault(path, where, found=key, expected=f"labels 1-{MAX_LABEL} (1 = C1 … 25 = S1)")
    return _LABELS[key]


def _count(counts: Any, field: str, *, where: str, path: Path) -> int:
    value = counts.get(field) if isinstance(counts, dict) else None
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value % 1 == 0
    if not is_whole or value is None:
        raise _fault(path, f"{where}.{field}", found=value, expected="a whole number of voxels")
    return int(value)


def _content(path: Path) -> Any:
    if path.is_file() and path.stat().st_size > _LARGEST_BYTES:
        reason = f"the whole file: has {path.stat().st_size / 2**30:.1f} GiB"
        raise MalformedFileError(path, reason=reason, expected=f"{_EXPECTED}, of at most 1 GiB")
    try:
        return read_json(path, expected=_EXPECTED)
    except RecursionError as error:
        raise MalformedFileError(path, reason="is nested too deeply", expected=_EXPECTED) from error


def _name_of(path: Path) -> str:
    return (path.resolve().parent.name if path.stem == "summary" else "") or path.stem


def _fault(path: Path, field: str, *, found: Any, expected: str) -> MalformedFileError:
    shown = repr(found)
    shown = shown if len(shown) <= 60 else shown[:57] + "…"
    return MalformedFileError(path, reason=f"{field}: found {shown}", expected=expected)
