"""Commands that answer for a version: where it comes from, what was trained on a data set, and the evidence pack."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.output import console, print_json, print_table
from spine.settings import settings

if TYPE_CHECKING:
    from model_registry.lineage import Lineage

JsonOption = Annotated[bool, typer.Option("--json", help="Print strict JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (lineage, evidence):
        app.command()(command)


def lineage(
    version: Annotated[int | None, typer.Argument(help="Number of the version.", min=1)] = None,
    data: Annotated[
        str | None, typer.Option(help="A git revision or DVC hash of the data set: which versions were trained on it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show where a version comes from, or with --data which versions a data set had part in."""
    if (version is None) == (data is None):
        raise typer.BadParameter("expected either a VERSION or --data REVISION")
    if version is not None:
        _tell_version(version, as_json=as_json)
    elif data is not None:
        _tell_data(data, as_json=as_json)


def evidence(
    version: Annotated[int, typer.Argument(help="Number of the version.", min=1)],
    output: Annotated[
        Path | None, typer.Option(help="Where to write it; beside the version's bundle otherwise.")
    ] = None,
) -> None:
    """Make the evidence pack of an approved version anew, with all that happened to it since, and print its path."""
    from model_registry.evidence_pack import make_evidence_pack
    from model_registry.lifecycle import Registry

    registry = Registry.at(settings().root_path, settings())
    console.print(str(make_evidence_pack(registry, version, target=output)), highlight=False, soft_wrap=True)


def _tell_version(version: int, *, as_json: bool) -> None:
    from model_registry.lifecycle import Registry
    from model_registry.lineage import lineage_of

    found = lineage_of(Registry.at(settings().root_path, settings()), version)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    print_table(f"version {version}", ["", ""], list(_facts(found).items()))
    print_table(
        "folds",
        ["fold", "weights", "epochs", "started from", "MLflow run"],
        [(fold.fold, fold.weights, fold.epochs, fold.started_from, fold.run) for fold in found.folds],
    )
    print_table(
        "events",
        ["#", "when (UTC)", "who", "what", "version", "why"],
        [(each.number, each.at, each.actor, each.kind, each.version, each.reason) for each in found.events],
    )


def _facts(found: "Lineage") -> dict[str, object]:
    provenance = found.provenance
    return {
        "stage": found.stage,
        "as of": f"event {found.as_of_event}, {found.as_of}",
        "model digest": found.model_digest,
        "code": provenance.code_revision,
        "images": ", ".join(f"{step}: {image}" for step, image in provenance.images.items()) or None,
        "data, git revision": provenance.git_revision,
        "data, DVC hash": provenance.dvc_hash,
        "data, repository": found.repository,
        "recipe": found.recipe,
        "plan": found.plan,
        "nnU-Net's plans": found.plans_digest,
        "started from version": found.started_from,
        "MLflow run": provenance.run,
        "environment": found.environment,
        "evaluation": found.evaluation,
        "verdict": f"{found.outcome} ({found.verdict})",
        "policy": found.policy,
        "held against version": found.held_against,
    }


def _tell_data(data: str, *, as_json: bool) -> None:
    from model_registry.lifecycle import Registry
    from model_registry.lineage import versions_on

    found = versions_on(Registry.at(settings().root_path, settings()), _known_as(data))
    rows = [
        {
            "version": each.version,
            "stage": each.stage,
            "through_version": each.through,
            "git_revision": each.provenance.git_revision,
            "dvc_hash": each.provenance.dvc_hash,
        }
        for each in found
    ]
    if as_json:
        print_json(rows)
        return
    title = f"versions that {data} had part in"
    print_table(
        title,
        ["version", "stage", "through version", "data, git revision", "data, DVC hash"],
        [tuple(row.values()) for row in rows],
    )


def _known_as(data: str) -> set[str]:
    """Return what the versions may call a data set: what was given and, where git knows it, its commit and DVC hash."""
    from components.pull_dataset.dvc_lock import resolve
    from spine.errors import SpinelineError

    try:
        found = resolve(
            settings().repository, data, remote=".", endpoint=None, clones=settings().root_path / "repositories"
        )
    except SpinelineError:
        return {data}
    return {data, found.git_revision, found.dvc_hash}
