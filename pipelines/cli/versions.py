"""Commands on versions: what there is, and how to change what is in use."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.output import console, errors, print_json, print_line, print_table, progress_view, tell
from spine.settings import settings

if TYPE_CHECKING:
    from model_registry.dry_run import DryRun
    from model_registry.ledger import Event
    from model_registry.lifecycle import Registry
    from model_registry.promotion import Change

VersionArgument = Annotated[int, typer.Argument(help="Number of the version.", min=1)]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept in the ledger.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print strict JSON.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Make every check, say what would happen, and change nothing.")
]
DeadlineOption = Annotated[float, typer.Option(help="Seconds in which every server must follow.", min=1)]
_DEADLINE_S = 120.0


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (versions, approve, promote, revoke, rollback):
        app.command()(command)


def versions(as_json: JsonOption = False) -> None:
    """List all model versions and where each stands in its life."""
    from model_registry.lifecycle import Registry
    from pipelines.version_table import version_rows

    registry = Registry.at(settings().root_path, settings())
    rows = version_rows(registry)
    if as_json:
        print_json([row.as_json() for row in rows])
        return
    print_table(
        "model versions",
        ["version", "stage", "recipe", "test Dice", "ID rate", "registered", "by", "model digest"],
        [row.cells() for row in rows],
    )


def approve(version: VersionArgument, reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Approve a registered version, so that it may be promoted; its evidence pack is made."""
    from model_registry.lifecycle import Registry

    registry = Registry.at(settings().root_path, settings())
    event = registry.approve(version, actor=settings().acting, reason=reason)
    _pack(registry, version)
    _tell(event, as_json)


def promote(
    version: VersionArgument,
    reason: ReasonOption,
    deadline: DeadlineOption = _DEADLINE_S,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> int:
    """Put an approved version in use: digests verified, golden case answered, then on the record.

    Every running server swaps to it without dropping a request. Where one can't, or not within the deadline, the
    version is rolled back automatically, which is on the record too.
    """
    from components.promote_model.main import dry_run_promotion, promote_model
    from model_registry.errors import ReplicasBehindError
    from spine.progress import followed

    root, services = settings().root_path, settings()
    with progress_view() as view, followed(view.show):
        if dry_run:
            return _dry_run(dry_run_promotion(root=root, version=version, services=services), as_json)
        try:
            change = promote_model(root=root, version=version, reason=reason, services=services, deadline_s=deadline)
        except ReplicasBehindError:
            # It was in use for a while, and is no more.
            _mirror_aliases()
            raise
    _tell_change(change, as_json)
    return 0


def rollback(
    reason: ReasonOption,
    to: Annotated[int | None, typer.Option(help="Version to return to; the one before where not given.")] = None,
    deadline: DeadlineOption = _DEADLINE_S,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> int:
    """Return to an earlier version: no retraining, no new verdict; the servers run its golden case and swap.

    MLflow and the model store may be away meanwhile: every server has the version before the one in use.
    """
    from components.promote_model.main import dry_run_roll_back, roll_back
    from spine.progress import followed

    root, services = settings().root_path, settings()
    with progress_view() as view, followed(view.show):
        if dry_run:
            return _dry_run(dry_run_roll_back(root=root, to=to, services=services), as_json)
        change = roll_back(root=root, to=to, reason=reason, services=services, deadline_s=deadline)
    _tell_change(change, as_json)
    return 0


def revoke(version: VersionArgument, reason: ReasonOption, as_json: JsonOption = False) -> None:
    """Take a version out for good; it is never served again. The one in use must be rolled back first."""
    from model_registry.lifecycle import Registry

    registry = Registry.at(settings().root_path, settings())
    _tell(registry.revoke(version, actor=settings().acting, reason=reason), as_json)


def _pack(registry: "Registry", version: int) -> None:
    """Make the evidence pack of a version that was just approved; the approval stands without it."""
    from model_registry.evidence_pack import make_evidence_pack
    from spine.errors import SpinelineError

    try:
        message, style = f"evidence pack: {make_evidence_pack(registry, version)}", None
    except (SpinelineError, OSError) as error:
        message, style = f"warning: no evidence pack: {error}; `spineline evidence {version}` makes it", "yellow"
    tell(message, style=style)


def _dry_run(dry_run: "DryRun", as_json: bool) -> int:
    if as_json:
        checks = [{"name": check.name, "found": check.found, "holds": check.holds} for check in dry_run.checks]
        print_json({"checks": checks, "would": list(dry_run.effects), "would_succeed": dry_run.would_succeed})
    else:
        for line in dry_run.lines():
            print_line(line)
        console.print("nothing was changed", highlight=False)
    return 0 if dry_run.would_succeed else 2


def _tell_change(change: "Change", as_json: bool) -> None:
    for report in change.following:
        where = f" at {report.url}" if report.url else ""
        message = f"server {report.name}{where} answers with version {report.version}"
        tell(message)
    _tell(change.event, as_json)


def _tell(event: "Event", as_json: bool) -> None:
    """Print an event; evidence packs and MLflow come last, since nobody should wait for them."""
    if as_json:
        print_json({**event.content, "digest": event.digest})
    else:
        in_use = f"version {event.to_version} is in use" if event.to_version else "no version is in use"
        message = f"event {event.number}: {event.kind} version {event.version} by {event.actor}; {in_use}"
        print_line(message)
    _refresh_packs(event)
    _mirror_aliases()


def _refresh_packs(event: "Event") -> None:
    from model_registry.evidence_refresh import refresh_evidence_packs
    from model_registry.lifecycle import Registry

    refresh_evidence_packs(Registry.at(settings().root_path, settings()), event)


def _mirror_aliases() -> None:
    """Let MLflow's aliases follow the ledger; the ledger stands without them, so a failure is only told."""
    from model_registry.aliases import WAIT_S, has_mlflow, mirror_soon
    from model_registry.lifecycle import Registry

    if not has_mlflow(settings()):
        return
    doing = f"MLflow's aliases are set, within at most {WAIT_S:g} s; the event stands already"
    tell(doing, style="dim")
    failure = mirror_soon(Registry.at(settings().root_path, settings()), settings())
    if failure is not None:
        message = f"warning: {failure}; the monitor sets them, or `spineline status --repair`"
        errors.print(message, style="yellow", markup=False, soft_wrap=True)
