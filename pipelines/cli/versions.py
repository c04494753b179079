"""Commands on versions: what there is, who put it in use, and how to change that."""

from collections.abc import Callable
from typing import Annotated

import typer

from pipelines.cli.output import console, errors, print_json, print_table, progress_view
from spine.settings import settings

VersionArgument = Annotated[int, typer.Argument(help="Number of the version.", min=1)]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept in the ledger.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print strict JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this room."""
    for command in (versions, approve, promote, revoke, rollback, history, status):
        app.command()(command)


def versions(as_json: JsonOption = False) -> None:
    """List all model versions and where each stands in its life."""
    from model_registry.lifecycle import Registry
    from pipelines.overview import version_rows

    registry = Registry.at(settings().root_path, settings())
    rows = version_rows(registry)
    if as_json:
        print_json([row.as_json() for row in rows])
        return
    print_table(
        "model versions",
        ["version", "life", "recipe", "test Dice", "ID rate", "registered", "by", "model digest"],
        [row.cells() for row in rows],
    )


def approve(version: VersionArgument, reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Approve a registered version, so that it may be promoted."""
    from model_registry.lifecycle import Registry

    registry = Registry.at(settings().root_path, settings())
    _tell(registry.approve(version, actor=settings().acting, reason=reason).text(), as_json, mirror=True)


def promote(version: VersionArgument, reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Put an approved version in use: digests verified, golden case answered, then on the record.

    A running server swaps to it without dropping a request; this waits until the server says so.
    """
    from components.promote_model.program import promote_model
    from spine.progress import followed

    with progress_view() as view, followed(view.show):
        event = promote_model(root=settings().root_path, version=version, reason=reason, services=settings())
    _await_server(event.version)
    _tell(event.text(), as_json, mirror=True)


def rollback(
    reason: ReasonOption,
    to: Annotated[int | None, typer.Option(help="Version to return to; the one before where not given.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Return to an earlier version: no retraining, no new verdict; the server runs its golden case and swaps."""
    from components.promote_model.program import roll_back

    event = roll_back(root=settings().root_path, to=to, reason=reason, services=settings())
    _await_server(event.version)
    _tell(event.text(), as_json, mirror=True)


def revoke(version: VersionArgument, reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Take a version out for good; it is never served again. The one in use must be rolled back first."""
    from model_registry.lifecycle import Registry

    registry = Registry.at(settings().root_path, settings())
    _tell(registry.revoke(version, actor=settings().acting, reason=reason).text(), as_json, mirror=True)


def history(as_json: JsonOption = False) -> None:
    """Show every event of the ledger, oldest first, after verifying its chain."""
    from model_registry.lifecycle import Registry

    events = Registry.at(settings().root_path, settings()).history()
    if as_json:
        print_json([{**event.model_dump(mode="json"), "digest": event.digest} for event in events])
        return
    print_table(
        f"ledger: {len(events)} events, chain verified",
        ["#", "when (UTC)", "who", "what", "version", "in use", "why"],
        [
            (event.number, event.at, event.actor, event.kind, event.version, event.to_version, event.reason)
            for event in events
        ],
    )


def status(
    repair: Annotated[bool, typer.Option(help="Make MLflow's aliases follow the ledger again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what is in use, what the server answers with, and how these differ, if they do."""
    from pipelines.overview import describe_status

    if repair:
        _mirror_aliases(required=True)
    described = describe_status(settings().root_path)
    if as_json:
        print_json(described)
        return
    for name, value in described.items():
        console.print(f"[bold]{name}[/bold]: {'-' if value is None else value}", highlight=False, soft_wrap=True)


def _tell(event: str, as_json: bool, *, mirror: bool) -> None:
    from model_registry.ledger import Event

    made = Event.from_text(event, where="the new event")
    if mirror:
        _mirror_aliases(required=False)
    if as_json:
        print_json({**made.model_dump(mode="json"), "digest": made.digest})
        return
    in_use = f"version {made.to_version} is in use" if made.to_version else "no version is in use"
    console.print(f"event {made.number}: {made.kind} version {made.version} by {made.actor}; {in_use}", highlight=False)


def _await_server(version: int) -> None:
    """Wait until a server that runs here answers with ``version``; without one there is nothing to wait for."""
    from components.serve_model.presence import running_server
    from pipelines.server_process import await_version

    info = running_server(settings().root_path)
    if info is None:
        return
    await_version(info, version)
    errors.print(f"the server at {info.url} answers with version {version}", highlight=False)


def _mirror_aliases(*, required: bool) -> None:
    """Let MLflow's aliases follow the ledger; the ledger stands without them, so a failure is only told."""
    from model_registry.errors import TrackingError
    from model_registry.lifecycle import Registry

    def mirror() -> None:
        from model_registry.mlflow_store import MlflowStore

        root = settings().root_path
        store = MlflowStore(
            settings().mlflow_uri, artifacts=root / "mlflow" / "artifacts", model_name=settings().model_name
        )
        store.mirror(Registry.at(root, settings()).state())

    _told_if_failed(mirror, TrackingError, required=required)


def _told_if_failed(work: Callable[[], None], condition: type[Exception], *, required: bool) -> None:
    try:
        work()
    except condition as error:
        if required:
            raise
        errors.print(f"warning: {error}; `spineline status --repair` mends the aliases", style="yellow", markup=False)
