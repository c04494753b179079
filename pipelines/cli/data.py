"""Commands on data: prepare, label-issues, exclude and phantom."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.output import console, print_json, print_table, progress_view
from spine.settings import settings

JsonOption = Annotated[bool, typer.Option("--json", help="Print strict JSON instead of a table.")]
_NOTES_SHOWN = 20
_SET_ASIDE = Path("set_aside.yaml")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module; those of 0.1 keep their names for one release."""
    app.command()(prepare)
    app.command()(label_issues)
    app.command()(exclude)
    app.command(name="suspects", hidden=True, deprecated=True)(label_issues)
    app.command(name="set-aside", hidden=True, deprecated=True)(exclude)
    app.command()(phantom)


def prepare(
    raw: Annotated[Path, typer.Argument(help="Folder of raw scans.")],
    output: Annotated[Path, typer.Option(help="Folder of the prepared data set; replaced as a whole.")] = Path(
        "data/prepared"
    ),
    layout: Annotated[
        str | None,
        typer.Option(help="kaggle, totalsegmentator, verse, ctspine1k, nnunet or dicom; recognised where not given."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Label map of the masks: ours, totalsegmentator, verse or ctspine1k; the layout's own."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the splits.")] = 1,
    test_share: Annotated[float, typer.Option(help="Share of patients locked away for the test set.")] = 0.2,
    rejects_allowed: Annotated[
        float, typer.Option(help="Share of cases that checks may refuse before the whole set is refused.")
    ] = 0.5,
    splits: Annotated[Path | None, typer.Option(help="Lock of the test set; OUTPUT.splits.json by default.")] = None,
    set_aside: Annotated[Path | None, typer.Option(help="YAML of cases to leave out: case: reason.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder of the report; OUTPUT.report by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Check raw scans, bring them to one canonical form and split them by patient.

    Layouts: [cyan]kaggle[/cyan] volumes/ and segmentations/ with files of the same names, ids 1 (C1) to 25 (S1);
    [cyan]totalsegmentator[/cyan] a folder a case with ct.nii.gz and segmentations/vertebrae_*.nii.gz;
    [cyan]verse[/cyan] rawdata/ and derivatives/ with BIDS names; [cyan]ctspine1k[/cyan] volumes/ and labels/;
    [cyan]nnunet[/cyan] imagesTr/, labelsTr/ and dataset.json; [cyan]dicom[/cyan] dicom/ with a folder a series, and
    segmentations/.

    Patients come from [cyan]patients.csv[/cyan] (case,patient) in the raw folder, from the layout, or from DICOM;
    without either every scan is a patient of its own. Cases that fail a check are quarantined with the reason, never
    repaired; the report shows what was found. What was prepared before, from the same files, is not prepared again.

    Then version the result: [cyan]dvc repro && dvc push && git add dvc.lock splits.json && git commit[/cyan].
    """
    from components.prepare_dataset.main import STEP, Choices, prepare_dataset
    from spine.progress import followed

    choices = Choices(
        seed=seed,
        test_share=test_share,
        rejects_allowed=rejects_allowed,
        layout=layout,
        label_map=labels,
        splits=splits,
        set_aside=set_aside,
        report=report,
    )
    with progress_view() as view, followed(view.show):
        manifest = prepare_dataset(raw=raw, output=output, choices=choices)
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    notes = [finding for finding in manifest.findings if finding.severity == "note"]
    shown = [finding for finding in manifest.findings if finding.severity != "note"] + notes[:_NOTES_SHOWN]
    rows = [(finding.severity, finding.check, finding.case, finding.message) for finding in shown]
    if rows:
        print_table(f"{STEP}: findings", ["severity", "check", "case", "what"], rows)
    if len(notes) > _NOTES_SHOWN:
        console.print(f"and {len(notes) - _NOTES_SHOWN} more notes, in the report")
    training, test = (len(manifest.members(split=split)) for split in ("train", "test"))
    print_table(
        str(output),
        ["layout", "training cases", "locked test cases", "quarantined"],
        [(manifest.layout, training, test, len(manifest.quarantined))],
    )
    if manifest.empty_folds:
        folds = ", ".join(str(fold) for fold in manifest.empty_folds)
        console.print(f"no case validates fold {folds}: too few patients; train the others (--folds)", style="yellow")
    console.print(f"report: {choices.report_of(output) / 'index.html'}", highlight=False, soft_wrap=True)


def label_issues(
    evaluation: Annotated[
        Path | None, typer.Argument(help="Folder of an evaluation; the newest below the root where not given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List training cases whose reference and out-of-fold prediction disagree by a whole level.

    One of the two is wrong. Look at the pictures; where it is the reference, keep the case out of the next data set
    with [cyan]spineline exclude CASE --reason "…"[/cyan] until it is corrected.
    """
    from spine.metrics.label_issues import SuspectList

    found = SuspectList.newest(settings().root_path) if evaluation is None else SuspectList.of(evaluation)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    if not found.suspects:
        console.print(f"no label issues among {found.cases} cases of {found.name}", highlight=False)
        return
    rows = [(each.case, each.patient, each.vertebrae, each.misnamed, each.message) for each in found.suspects]
    print_table(
        f"{found.name}: {len(found.suspects)} label issues in {found.cases} cases",
        ["case", "patient", "vertebrae", "misnamed", "reference → prediction"],
        rows,
    )
    console.print(f"pictures: {found.page}", highlight=False, soft_wrap=True)


def exclude(
    case: Annotated[str, typer.Argument(help="Name of the case, as in the manifest.")],
    reason: Annotated[str, typer.Option(help="Why it is left out; part of the record.")],
    file: Annotated[Path, typer.Option(help="The file, versioned with the data.")] = _SET_ASIDE,
) -> None:
    """Leave a case out of the next prepared data set, with the reason, in a file that is versioned with the data."""
    from components.prepare_dataset.set_aside import add_to_set_aside
    from spine.errors import InvalidValueError

    if not case.strip() or not reason.strip():
        raise InvalidValueError("case and reason", f"{case} {reason}".strip(), expected="a case's name and a reason")
    add_to_set_aside(file, case=case, reason=reason)
    console.print(
        f"{case} is excluded by {file}; next: `dvc repro`, then commit {file} and dvc.lock",
        highlight=False,
        soft_wrap=True,
    )


def phantom(
    folder: Annotated[Path, typer.Argument(help="Folder for the raw set.")],
    scans: Annotated[int, typer.Option(help="How many scans; every third patient has two.")] = 20,
    layout: Annotated[
        str, typer.Option(help="kaggle, totalsegmentator, verse, ctspine1k, nnunet or dicom.")
    ] = "kaggle",
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
) -> None:
    """Write a raw set of phantom scans of the lumbar spine in any layout, to try the other commands on."""
    from spine.phantom.raw_set import write_raw_set

    cases = write_raw_set(folder, scans=scans, seed=seed, layout=layout)
    console.print(
        f"{len(cases)} scans in {folder}; next: `spineline prepare {folder}`", highlight=False, soft_wrap=True
    )
