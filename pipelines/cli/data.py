"""Commands on data: prepare."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.output import print_json, print_table, progress_view


def add_to(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command()(prepare)


def prepare(
    raw: Annotated[Path, typer.Argument(help="Folder with volumes/ and segmentations/, files of the same names.")],
    output: Annotated[Path, typer.Option(help="Folder of the prepared data set; replaced as a whole.")] = Path(
        "data/prepared"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the splits.")] = 1,
    test_share: Annotated[float, typer.Option(help="Share of patients locked away for the test set.")] = 0.2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Check raw scans, bring them to one canonical form and split them by patient.

    Patients come from [cyan]patients.csv[/cyan] (case,patient) beside the two folders; without it every scan is a
    patient of its own. Cases that fail a check are quarantined with the reason, never repaired.

    Then version the result: [cyan]dvc repro && dvc push && git add dvc.lock && git commit[/cyan].
    """
    from components.prepare_dataset.program import STEP, Choices, prepare_dataset
    from spine.progress import followed

    with progress_view() as view, followed(view.show):
        manifest = prepare_dataset(raw=raw, output=output, choices=Choices(seed=seed, test_share=test_share))
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    rows = [(finding.severity, finding.check, finding.case, finding.message) for finding in manifest.findings]
    if rows:
        print_table(f"{STEP}: findings", ["severity", "check", "case", "what"], rows)
    training, test = (len(manifest.members(split=split)) for split in ("train", "test"))
    print_table(
        str(output),
        ["training cases", "locked test cases", "quarantined"],
        [(training, test, len(manifest.quarantined))],
    )
