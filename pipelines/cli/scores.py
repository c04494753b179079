"""Commands on scores: evaluate, gate and compare."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.output import console, print_json, print_table, progress_view
from spine.settings import settings

JsonOption = Annotated[bool, typer.Option("--json", help="Print strict JSON instead of a table.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command()(evaluate)
    app.command()(gate)
    app.command()(compare)


def evaluate(
    references: Annotated[Path, typer.Option(help="Folder of reference masks, a NIfTI a case.")],
    predictions: Annotated[Path, typer.Option(help="Folder of predicted masks of the same names.")],
    output: Annotated[Path, typer.Option(help="File for the evaluation, as JSON.")],
    name: Annotated[str, typer.Option(help="Name of what is evaluated.")] = "candidate",
    as_json: JsonOption = False,
) -> None:
    """Score predicted masks against references: any tool's output, labels 1 (C1) to 25 (S1).

    A reference without a prediction scores 0 and is named. The file is what [cyan]spineline gate[/cyan] judges.
    """
    from spine.metrics.folders import evaluate_folders
    from spine.progress import ProgressEvent
    from spine.storage import write_json

    with progress_view() as view:
        done = 0

        def on_case(case: str) -> None:
            nonlocal done
            done += 1
            view.show(ProgressEvent(step="evaluate", task="score", done=done, total=max(done, total), note=case, at=0))

        total = len(list(references.glob("*.nii*"))) if references.is_dir() else 0
        result = evaluate_folders(references=references, predictions=predictions, name=name, on_case=on_case)
    write_json(output, result.model_dump(mode="json"))
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    from pipelines.comparison import score_rows

    print_table(f"{name}: {result.summary.scans} scans", ["score", "value"], score_rows([result.summary]))
    absent = [region.name for region in result.summary.regions if not region.scans]
    if absent:
        console.print(f"no case shows {', '.join(absent)}: nothing is said about them")
    if result.summary.missing_predictions:
        console.print(f"missing predictions, scored 0: {', '.join(result.summary.missing_predictions)}")


def gate(
    candidate: Annotated[Path, typer.Option(help="Evaluation of the candidate, as evaluate wrote it.")],
    policy: Annotated[str, typer.Option(help="Name of a policy, or a path to a .yaml.")],
    champion: Annotated[Path | None, typer.Option(help="Evaluation of the model in use, on the same scans.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Judge a candidate's evaluation under a policy. Exit code 0: pass; 1: fail or inconclusive."""
    from model_registry.gate import judge
    from model_registry.policy import load_policy
    from spine.metrics.scores import Evaluation
    from spine.storage import read_json

    def read(path: Path) -> Evaluation:
        return Evaluation.parse(read_json(path, expected="an evaluation as `spineline evaluate` writes it"), where=path)

    verdict = judge(
        candidate=read(candidate), champion=read(champion) if champion else None, policy=load_policy(policy)
    )
    if as_json:
        print_json({**verdict.model_dump(mode="json"), "digest": verdict.digest})
    else:
        words = {True: "holds", False: "BROKEN", None: "undecided"}
        print_table(
            f"policy {verdict.policy_name}",
            ["rule", "value", "expected", "decision", "worst cases"],
            [
                (rule.name, rule.value, rule.expected, words[rule.passed], " ".join(rule.worst_cases[:3]))
                for rule in verdict.rules
            ],
        )
        if verdict.regions_without_cases:
            console.print(f"no case shows {', '.join(verdict.regions_without_cases)}: nothing is said about them")
        console.print(verdict.summary, highlight=False)
    return 0 if verdict.outcome == "pass" else 1


def compare(
    versions: Annotated[list[int], typer.Argument(help="Two or more versions; the first is what others are held to.")],
    as_json: JsonOption = False,
) -> None:
    """Compare model versions on their locked test sets, with paired intervals where these are the same scans."""
    from pipelines.comparison import compare_versions

    comparison = compare_versions(settings().root_path, versions)
    if as_json:
        print_json(comparison.as_json())
        return
    columns = ["score", *(f"version {number}" for number in versions)]
    print_table("locked test set", columns, comparison.rows())
    for line in comparison.differences_in_words():
        console.print(line, highlight=False)
