"""Two folders of masks evaluated as a user asks for it: whose ids they use, who the patients are, what is shown."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.prepare_dataset.label_maps import OURS, label_map
from components.prepare_dataset.raw_case import read_patients
from spine.errors import InvalidValueError
from spine.metrics.folders import Reader, evaluate_folders
from spine.metrics.naming import misnamed, misnamed_in_words
from spine.metrics.scores import Evaluation, Summary
from spine.volume.nifti import Volume, read_labels, read_volume

GROUP_COLUMNS = ("where", "scans", "vertebrae", "Dice", "NSD 1.5 mm", "NSD 3 mm", "HD95, mm", "missed", "ID rate")
_TOTALS = {
    "Dice (GT-present, scan mean)": "dice_scan_mean",
    "Dice (GT-present, label macro)": "dice_label_macro",
    "Dice (nnU-Net)": "dice_nnunet",
    "bone Dice (names ignored)": "bone_dice",
    "NSD at 1.5 mm": "nsd_1_5mm",
    "NSD at 3 mm": "nsd_3mm",
    "HD95 of vertebrae found, mm": "hd95_mm",
    "identification rate": "id_rate",
    "scans with all levels right": "all_correct_rate",
    "scans at a wrong level": "wrong_level_rate",
    "vertebrae found under a wrong name": "misnamed_rate",
    "localisation error, mm": "localisation_mm",
    "vertebrae missed": "missed_labels",
    "labels that the reference lacks": "false_positive_labels",
    "their volume, mm³": "false_positive_mm3",
}


@dataclass(frozen=True)
class MappedReader:
    """Reads masks whose ids are those of another data set, by the name of their label map."""

    labels: str

    def __call__(self, path: Path) -> Volume:
        """Read a mask as uint8 in our ids; anatomy without a name of ours, such as VerSe's L6, is background."""
        volume = read_volume(path)
        array, _ = label_map(self.labels).apply(volume.array, path=path)
        return Volume(array=array, grid=volume.grid)


def evaluate_masks(
    *,
    references: Path,
    predictions: Path,
    output: Path,
    name: str,
    patients: Path | None,
    reference_labels: str,
    prediction_labels: str,
    workers: int,
    surfaces: bool,
    only_predicted: bool,
    on_case: Callable[[str, int, int], None],
) -> Evaluation:
    """Evaluate two folders; whatever is wrong with what was asked for is told before the first mask is read.

    Raises what ``evaluate_folders`` does, InvalidValueError (``output`` can't be written), UnknownNameError (a label
    map), MissingPathError and MalformedFileError (``patients``, a CSV).
    """
    require_writable(output)
    return evaluate_folders(
        references=references,
        predictions=predictions,
        name=name,
        patients=read_patients(patients) if patients else None,
        on_case=on_case,
        workers=workers,
        surfaces=surfaces,
        only_predicted=only_predicted,
        read_reference=_reader(reference_labels),
        read_prediction=_reader(prediction_labels),
    )


def require_writable(output: Path) -> None:
    """Raise InvalidValueError where ``output`` is no place for a JSON file; nothing is left there."""
    if output.suffix != ".json" or output.is_dir():
        raise InvalidValueError("output", str(output), expected="a file named .json")
    folder = next(parent for parent in output.absolute().parents if parent.exists())
    try:
        # Permissions don't tell of a read-only or a full disk.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = (error.strerror or "refused").lower()
        expected = f"a file in a folder that can be written to, unlike {folder} ({reason})"
        raise InvalidValueError("output", str(output), expected=expected) from error


def _reader(labels: str) -> Reader:
    return read_labels if label_map(labels) is OURS else MappedReader(labels)


def total_rows(summary: Summary) -> list[tuple[object, ...]]:
    """Return a row a total that is known."""
    rows = [(words, getattr(summary, attribute)) for words, attribute in _TOTALS.items()]
    return [row for row in rows if row[1] is not None]


def group_rows(summary: Summary) -> list[tuple[object, ...]]:
    """Return a row a region that any reference shows, then whole and cut vertebrae."""
    return [
        (
            group.name,
            group.scans,
            group.vertebrae,
            group.dice,
            group.nsd_1_5mm,
            group.nsd_3mm,
            group.hd95_mm,
            group.missed,
            group.id_rate,
        )
        for group in (*summary.regions, summary.whole, summary.border)
        if group.scans
    ]


def misnamed_lines(evaluation: Evaluation) -> list[str]:
    """Name the scans in which vertebrae go under a wrong name, those with most of them first."""
    odd = [scan for scan in evaluation.scans if misnamed(scan)]
    odd.sort(key=lambda scan: (-len(misnamed(scan)), scan.case))
    return [f"{scan.case}: {misnamed_in_words(scan)}" for scan in odd]
