"""The report's folder: page, JSON and pictures, replaced as a whole."""

from pathlib import Path
from typing import Any

from components.prepare_dataset.assembly import Prepared
from components.prepare_dataset.case_store import IMAGE_FILE, LABELS_FILE
from components.prepare_dataset.checks.catalogue import CHECKS
from spine import progress
from spine.dataset import Case
from spine.storage import atomic_file, atomic_folder, link, write_json, write_text
from spine.volume.nifti import read_image, read_labels
from spine.workers import each

PICTURES, REPORT_FILE = "pictures", "report.json"
_PICTURE_FILE = "picture.png"
_STEP = "prepare_dataset"


def write_report(folder: Path, *, prepared: Prepared, name: str, workers: int) -> None:
    """Write ``index.html``, ``report.json`` and a picture of every warned case; ``name`` is that of the raw data."""
    from components.prepare_dataset.report.page import page

    warned = [case for case in prepared.manifest.cases if is_warned(case)]
    with atomic_folder(folder) as partial_folder:
        entries = [prepared.folders[case.case] for case in warned]
        for done, (index, picture) in enumerate(each(draw_picture, entries, workers=workers), start=1):
            link(picture, partial_folder / PICTURES / f"{warned[index].case}.png")
            progress.report(_STEP, "draw warned cases", done=done, total=len(warned))
        write_json(partial_folder / REPORT_FILE, as_json(prepared, name=name))
        write_text(partial_folder / "index.html", page(prepared, name=name, warned=warned))


def is_warned(case: Case) -> bool:
    """Whether a case has a finding that a person should look at."""
    return any(finding.severity == "warn" for finding in case.findings)


def draw_picture(entry: Path) -> Path:
    """Draw one kept case, sagittal and coronal, with its labels, unless it was drawn: the work of one worker."""
    from spine.drawing.overlays import draw_case
    from spine.drawing.planes import cut

    picture = entry / _PICTURE_FILE
    if picture.is_file():
        return picture
    planes = cut(image=read_image(entry / IMAGE_FILE), reference=read_labels(entry / LABELS_FILE), prediction=None)
    with atomic_file(picture) as partial_file:
        partial_file.write_bytes(draw_case(case="", planes=planes, compared=False))
    return picture


def as_json(prepared: Prepared, *, name: str) -> dict[str, Any]:
    """Return the report as strict JSON: how many cases went where, and every finding by its check."""
    manifest = prepared.manifest
    findings = manifest.findings
    return {
        "raw": name,
        "layout": manifest.layout,
        "label_map": manifest.label_map,
        "seed": manifest.seed,
        "cases": {
            "found": len(manifest.cases) + len(manifest.quarantine),
            "training": len(manifest.members(split="train")),
            "test": len(manifest.members(split="test")),
            "quarantined": len(manifest.quarantine),
            "warned": sum(is_warned(case) for case in manifest.cases),
        },
        "patients": len({case.patient for case in manifest.cases}),
        "checks": [
            {
                "check": name,
                "severity": check.severity,
                "about": check.about,
                "number": check.number,
                "findings": [
                    {"case": found.case, "value": found.value, "message": found.message}
                    for found in findings
                    if found.check == name
                ],
            }
            for name, check in CHECKS.items()
        ],
        "quarantine": [row.case for row in manifest.quarantine],
    }
