"""The command that holds a policy's margins against the noise of retraining."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.output import console, print_json, print_table
from spine.settings import settings

if TYPE_CHECKING:
    from model_registry.noise import MarginNoise


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(noise)


def noise(
    first: Annotated[str, typer.Argument(help="Evaluation of one training: a file, or the number of a version.")],
    second: Annotated[str, typer.Argument(help="Evaluation of the same recipe trained with another seed.")],
    policy: Annotated[str, typer.Option(help="Name of a policy, or a path to a .yaml.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print strict JSON instead of a table.")] = False,
) -> int:
    """Measure how far two trainings of one recipe differ, which a policy's margins must exceed.

    Exit code 0: every margin exceeds the noise; 1: one does not, or can't be told.
    """
    from model_registry.noise import measure_noise
    from model_registry.policy import load_policy
    from pipelines.comparison import evaluation_of

    one, other = (evaluation_of(settings().root_path, given) for given in (first, second))
    found = measure_noise(one, other, load_policy(policy))
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        print_table(
            f"policy {found.policy_name}, version {found.policy_version}: {found.second} minus {found.first}",
            ["score", "patients", "difference", "from", "to", "margin", "the margin"],
            [_row(each) for each in found.margins],
        )
        console.print(found.summary, highlight=False)
    return 0 if found.within_margins else 1


def _row(margin: "MarginNoise") -> tuple[object, ...]:
    difference = margin.difference
    words = {True: "exceeds the noise", False: "WITHIN THE NOISE", None: "can't be told"}
    seen = (difference.patients, difference.mean, difference.low, difference.high)
    return (margin.name, *seen, margin.margin, words[margin.exceeded])
