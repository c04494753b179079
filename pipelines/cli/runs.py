"""Commands on pipelines: run and compile."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.cli.cluster_options import PROFILE, Choice, DetachOption, HostOption
from pipelines.cli.cluster_runs import train
from pipelines.cli.output import console, errors, print_json, print_line, progress_view
from spine.errors import InvalidValueError
from spine.recipe import Recipe, load_recipe
from spine.settings import settings

Place = Literal["local", "kubernetes"]
FoldsOption = Annotated[
    str | None, typer.Option(help="Folds to train, such as 0,1,2; the recipe's own where not given.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(run)
    app.command(name="compile")(compile_pipelines)


def run(
    on: Annotated[Place, typer.Option(help="Where the pipeline runs.")] = "local",
    dataset: Annotated[str, typer.Option(help="Revision of the data set: branch, tag or commit.")] = "HEAD",
    recipe: Annotated[str, typer.Option(help="Name of a recipe, or a path to a .yaml.")] = "spine",
    policy: Annotated[str, typer.Option(help="Name of a policy, or a path to a .yaml.")] = "research",
    folds: FoldsOption = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed in place of the recipe's: two runs show what chance does.")
    ] = None,
    start_from: Annotated[int, typer.Option(min=0, help="Version whose weights training begins with; 0 for none.")] = 0,
    repository: Annotated[str | None, typer.Option(help="Git repository whose dvc.lock versions the data.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="Profile of the cluster, or a path to a .yaml, for --on kubernetes.")
    ] = None,
    host: HostOption = None,
    detach: DetachOption = False,
    cron: Annotated[
        str | None,
        typer.Option(
            metavar="'M H D M W'",
            help="With --on kubernetes: again and again at these times, such as '0 2 * * *'; --dataset is a branch, and"
            " only data that have changed are trained on.",
        ),
    ] = None,
    unchecked: Annotated[
        bool,
        typer.Option("--unchecked", help="Don't ask first whether the cluster has what the profile names."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's records as JSON.")] = False,
) -> int:
    """Train a candidate: pull the data, plan, train folds, evaluate, gate, register.

    Every step finds again what was done before: the same command after an interruption continues. Exit code 1 says
    that the gate's verdict was not a pass; the candidate is evaluated then, but not registered.

    With --on kubernetes the run is Kubeflow's: it is followed until it ends, losing the connection or Ctrl-C never
    stop it, and exit code 1 says that it FAILED or was CANCELED.

    [bold]Example[/bold]:

    spineline run --recipe spine --dataset v2

    spineline run --on kubernetes --profile my-cluster.yaml --dataset main --detach

    spineline run --on kubernetes --profile my-cluster.yaml --dataset main --cron '0 2 * * *'
    """
    from model_registry.policy import load_policy
    from pipelines.training import TrainingRequest, train_on_this_machine

    chosen = _with_seed(_with_folds(load_recipe(recipe), folds), seed)
    request = TrainingRequest(
        repository=repository or settings().repository,
        revision=dataset,
        remote=settings().remote or "",
        recipe=chosen,
        policy=load_policy(policy),
        start_from=start_from,
        actor=settings().acting,
    )
    if on == "kubernetes":
        choice = Choice(profile=PROFILE if profile is None else profile, host=host, as_json=as_json)
        return train(request, choice, detach=detach, cron=cron, unchecked=unchecked)
    _refuse_without_cluster(profile=profile, host=host, detach=detach, cron=cron, unchecked=unchecked)
    with progress_view() as view:
        outcome = train_on_this_machine(request, on_event=view.show)
    if as_json:
        print_json(outcome.as_json())
    else:
        console.print(outcome.verdict.summary, highlight=False, markup=False)
        where = f"registered as version {outcome.version.version}" if outcome.version else "not registered"
        print_line(f"{where}; report: {outcome.report}")
    if outcome.verdict.outcome != "pass":
        errors.print(f"the gate's verdict is '{outcome.verdict.outcome}'", style="red")
        return 1
    return 0


def compile_pipelines(
    output: Annotated[Path, typer.Option(help="Folder for the compiled pipelines.")] = Path(".spineline/compiled"),
    profile: Annotated[str, typer.Option(help="Name of a profile, or a path to a .yaml.")] = "kubernetes",
    recipe: Annotated[str, typer.Option(help="Recipe whose folds become tasks.")] = "spine",
    folds: FoldsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the files as JSON.")] = False,
) -> None:
    """Compile the three pipelines to KFP IR YAML, to upload to any Kubeflow Pipelines."""
    from pipelines.compiling import compile_all
    from pipelines.profile import load_profile

    chosen = _with_folds(load_recipe(recipe), folds)
    files = compile_all(profile=load_profile(profile), folds=list(chosen.training.folds), output=output)
    if as_json:
        print_json([str(file) for file in files])
        return
    for file in files:
        console.print(str(file), markup=False, soft_wrap=True)


def _refuse_without_cluster(**given: object) -> None:
    """Raise InvalidValueError for an option that means nothing on this machine."""
    for name, value in given.items():
        if value is not None and value is not False:
            raise InvalidValueError(f"--{name}", value, expected="--on kubernetes with it")


def _with_folds(recipe: Recipe, folds: str | None) -> Recipe:
    """Return the recipe with the folds that were asked for."""
    if folds is None:
        return recipe
    asked = [int(fold) if fold.strip().isdigit() else fold for fold in folds.split(",")]
    changed = recipe.model_dump(mode="json")
    changed["training"]["folds"] = asked
    return Recipe.parse(changed, where="--folds")


def _with_seed(recipe: Recipe, seed: int | None) -> Recipe:
    if seed is None:
        return recipe
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": seed})})
