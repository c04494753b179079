"""Commands on scores: evaluate and gate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.output import print_json, print_line, print_table, progress_view
from spine.settings import settings

if TYPE_CHECKING:
    from model_registry.verdict import Verdict
    from spine.metrics.scores import Evaluation

JsonOption = Annotated[bool, typer.Option("--json", help="Print strict JSON instead of a table.")]
_CASES_SHOWN = 20


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(evaluate)
    app.command()(gate)


def evaluate(
    references: Annotated[Path, typer.Option(help="Folder of reference masks, a NIfTI a case.")],
    predictions: Annotated[Path, typer.Option(help="Folder of predicted masks of the same names.")],
    output: Annotated[Path, typer.Option(help="File for the evaluation, .json; replaced as a whole.")],
    name: Annotated[str, typer.Option(help="Name of what is evaluated.")] = "candidate",
    patients: Annotated[
        Path | None, typer.Option(help="CSV with the header case,patient: scans of one patient count as one.")
    ] = None,
    labels: Annotated[
        str, typer.Option(help="Ids in the predictions: ours, totalsegmentator, verse or ctspine1k.")
    ] = "ours",
    reference_labels: Annotated[str, typer.Option(help="Ids in the references, likewise.")] = "ours",
    surfaces: Annotated[bool, typer.Option(help="Also score surfaces: NSD and HD95.")] = True,
    only_predicted: Annotated[
        bool,
        typer.Option(
            "--only-predicted",
            help="Leave references without a prediction out: for the validation of one fold. No gate passes that.",
        ),
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; all cores by default, fewer where memory is short.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score predicted masks against references, whatever tool made them.

    [bold]Folders[/bold]: a .nii or .nii.gz a case in each, named alike, on the same voxels:
    references/case_7.nii.gz and predictions/case_7.nii.gz. Number type and
    order of axes don't matter. A reference without a prediction scores 0 and
    is named; a prediction without a reference is not looked at.

    [bold]Labels[/bold]: 0 background, 1-7 C1-C7, 8-19 T1-T12, 20-24 L1-L5, 25 S1. Masks
    with other ids need [cyan]--labels[/cyan] to say whose they are: the 25 of VerSe is L6, and
    would pass for S1. What has no name here (L6, T13, sacrum) is background.

    [bold]Example[/bold]:
    spineline evaluate --references labelsTs --predictions out --output new.json
    spineline gate --candidate new.json --champion today.json --policy research

    [bold]Exit codes[/bold]: 0 scored, however badly; 2 bad input, of which nothing is
    written; 130 interrupted.
    """
    from pipelines.evaluation import evaluate_masks
    from spine.progress import ProgressEvent
    from spine.storage import write_json

    with progress_view() as view:

        def on_case(case: str, done: int, total: int) -> None:
            view.show(ProgressEvent(step="evaluate", task="score", done=done, total=total, note=case, at=0))

        result = evaluate_masks(
            references=references,
            predictions=predictions,
            output=output,
            name=name,
            patients=patients,
            reference_labels=reference_labels,
            prediction_labels=labels,
            workers=workers or settings().cpu_threads,
            surfaces=surfaces,
            only_predicted=only_predicted,
            on_case=on_case,
        )
    write_json(output, result.content)
    if as_json:
        print_json(result.content)
    else:
        _print_evaluation(result, output)


def gate(
    candidate: Annotated[Path, typer.Option(help="The candidate's evaluation, or a summary.json of nnU-Net.")],
    policy: Annotated[str, typer.Option(help="Name of a policy (demo, research), or a path to a .yaml.")],
    champion: Annotated[
        Path | None, typer.Option(help="The same of the model in use today, on the same scans.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Judge a candidate's evaluation under a policy.

    [bold]Evaluations[/bold] are files that [cyan]spineline evaluate[/cyan] wrote, or the summary.json of
    nnUNetv2_evaluate_folder or of a fold's validation. A summary.json holds
    voxel counts only: rules about names, distances and cut vertebrae stay
    undecided where it is the candidate's.

    [bold]Example[/bold]:
    spineline gate --candidate new.json --champion out/summary.json --policy research

    [bold]Exit codes[/bold]: 0 pass; 1 fail or inconclusive; 2 bad input.
    """
    from model_registry.gate import judge
    from model_registry.policy import load_policy
    from spine.metrics.nnunet_summary import read_evaluation

    verdict = judge(
        candidate=read_evaluation(candidate),
        champion=read_evaluation(champion) if champion else None,
        policy=load_policy(policy),
    )
    if as_json:
        print_json({**verdict.content, "digest": verdict.digest})
    else:
        _print_verdict(verdict)
    return 0 if verdict.outcome == "pass" else 1


def _print_evaluation(result: "Evaluation", output: Path) -> None:
    from pipelines.evaluation import GROUP_COLUMNS, group_rows, misnamed_lines, total_rows

    summary = result.summary
    print_table(f"{result.name}: {summary.scans} scans", ["score", "value"], total_rows(summary))
    print_table("by region, and whole and cut vertebrae", GROUP_COLUMNS, group_rows(summary))
    absent = [region.name for region in summary.regions if not region.scans]
    if absent:
        print_line(f"no case shows {', '.join(absent)}: nothing is said about them")
    if summary.missing_predictions:
        print_line(f"missing predictions, scored 0: {', '.join(summary.missing_predictions[:_CASES_SHOWN])}")
        _say_more(len(summary.missing_predictions), output)
    wrong = misnamed_lines(result)
    if wrong:
        print_line(f"vertebrae under a wrong name in {len(wrong)} of {summary.scans} scans:")
    for line in wrong[:_CASES_SHOWN]:
        print_line(f"  {line}")
    _say_more(len(wrong), output)


def _print_verdict(verdict: "Verdict") -> None:
    from pipelines.verdicts import claims_in_words, rule_table, tests_in_words

    columns, rows = rule_table(verdict.rules)
    print_table(f"policy {verdict.policy_name}, version {verdict.policy_version}", columns, rows)
    for line in (*tests_in_words(verdict.secondary), *claims_in_words(verdict.claims)):
        print_line(line)
    if verdict.regions_without_cases:
        print_line(f"no case shows {', '.join(verdict.regions_without_cases)}: nothing is said about them")
    print_line(verdict.summary)


def _say_more(cases: int, output: Path) -> None:
    if cases > _CASES_SHOWN:
        print_line(f"  and {cases - _CASES_SHOWN} more scans, in {output}")
