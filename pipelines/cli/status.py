"""Commands on what is in use: how it came about, and whether everybody says the same."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.cluster_options import PROFILE, Choice, HostOption, ProfileOption
from pipelines.cli.output import console, print_json, print_table, tell, warn
from pipelines.cli.run_status import show_run
from spine.errors import UsageError
from spine.settings import settings

if TYPE_CHECKING:
    from model_registry.ledger import Event
    from model_registry.lifecycle import Registry
    from pipelines.consistency import Agreement

JsonOption = Annotated[bool, typer.Option("--json", help="Print strict JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (history, status):
        app.command()(command)


def history(
    version: Annotated[int | None, typer.Option(help="Only what concerns this version.", min=1)] = None,
    as_json: JsonOption = False,
) -> None:
    """Show who changed what when and why, from what to what, on which evidence, after verifying the chain."""
    from model_registry.lifecycle import Registry
    from spine.storage import short

    registry = Registry.at(settings().root_path, settings())
    events = registry.history()
    _warn_of_lost_events(registry)
    if version is not None:
        registry.state().version(version)
    shown = [event for event in events if version is None or version in _versions_of(event)]
    if as_json:
        print_json([{**event.content, "digest": event.digest} for event in shown])
        return
    title = f"ledger: {len(events)} events, chain verified"
    print_table(
        title if version is None else f"{title}; {len(shown)} concern version {version}",
        ["#", "when (UTC)", "who", "what", "version", "in use", "why", "evidence"],
        [
            (
                event.number, event.at, event.actor, event.kind, event.version, _change(event), event.reason,
                short(event.evidence),
            )
            for event in shown
        ],
    )  # fmt: skip


def status(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="A run on a cluster, by its id or the beginning of it, in place of that."),
    ] = None,
    repair: Annotated[
        bool, typer.Option(help="Make MLflow's aliases follow the ledger again, and forget servers that were killed.")
    ] = False,
    profile: ProfileOption = PROFILE,
    host: HostOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say what is in use, what MLflow and every server say, and how these differ; exit code 1 if they do.

    With RUN, say how far that run on a cluster is, step by step; exit code 1 if it FAILED or was CANCELED.

    [bold]Example[/bold]:

    spineline status

    spineline status 3f2a91c0 --profile my-cluster.yaml
    """
    if run is not None:
        if repair:
            raise UsageError("--repair cannot be combined with RUN")
        return show_run(run, Choice(profile=profile, host=host, as_json=as_json))
    from model_registry.aliases import aliases_now
    from model_registry.lifecycle import Registry
    from pipelines.consistency import agreement

    registry = Registry.at(settings().root_path, settings())
    found = agreement(registry, ask_mlflow=lambda state: aliases_now(settings(), state))
    if repair:
        _repair(registry, found)
        found = agreement(registry, ask_mlflow=lambda state: aliases_now(settings(), state))
    code = 1 if found.differences() else 0
    if as_json:
        print_json(found.as_json())
        return code
    for name, value in found.as_json().items():
        for line in _lines(name, value):
            console.print(line, highlight=False, soft_wrap=True)
    return code


def _warn_of_lost_events(registry: "Registry") -> None:
    from model_registry.errors import LostEventsError

    try:
        registry.whole_history()
    except LostEventsError as error:
        warn(f"warning: {error}")


def _repair(registry: "Registry", found: "Agreement") -> None:
    """Mend what can be mended; raises what kept MLflow from being told once the silent servers are forgotten.

    Raises LostEventsError where the ledger is what has to be mended first.
    """
    from model_registry.aliases import mirror
    from model_registry.errors import LostEventsError
    from pipelines.consistency import forget_silent

    lost = next(found.lost_events(), None)
    if lost:
        raise LostEventsError(lost)
    try:
        mirror(registry, settings())
    finally:
        for name in forget_silent(registry):
            tell(f"forgot server {name}, which is silent")


def _versions_of(event: "Event") -> tuple[int | None, ...]:
    moved = event.kind in ("promote", "roll back")
    return (event.version, event.from_version, event.to_version) if moved else (event.version,)


def _change(event: "Event") -> str:
    before, after = event.from_version or "-", event.to_version or "-"
    return f"{before} → {after}" if event.kind in ("promote", "roll back") else str(after)


def _lines(name: str, value: Any) -> list[str]:
    if name == "differences":
        return [f"[bold]{name}[/bold]: {'none' if not value else ''}", *(f"  {line}" for line in value)]
    if name == "servers" and isinstance(value, list):
        return [f"[bold]{name}[/bold]:", *(f"  {_server(report)}" for report in value)]
    if isinstance(value, dict):
        value = ", ".join(f"{alias} {version}" for alias, version in value.items())
    return [f"[bold]{name}[/bold]: {'-' if value in (None, '') else value}"]


def _server(report: dict[str, Any]) -> str:
    version = "no version" if report["version"] is None else f"version {report['version']}"
    silent = "" if report["fresh"] else ", silent"
    return f"{report['name']} {report['url']}: {version}, event {report['event']}, last heard {report['at']}{silent}"
