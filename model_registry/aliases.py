"""MLflow's aliases and tags beside the ledger: compared with it, and made to follow it within a time limit.

``python -m model_registry.aliases`` makes them follow the ledger of the root that the settings name.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_registry.errors import AliasesNotSetError, MlflowDiffersError
from model_registry.lifecycle import Registry
from model_registry.mlflow_aliases import aliases_of, compare
from model_registry.state import State, replay
from spine.errors import SpinelineError
from spine.log_lines import readable
from spine.logs import run_program
from spine.settings import Settings, child_environment, settings

if TYPE_CHECKING:
    from model_registry.mlflow_store import MlflowStore

WAIT_S = 10.0
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Aliases:
    """MLflow's aliases as they are and as the ledger means them, and the newest event that MLflow was brought to."""

    found: Mapping[str, int]
    wanted: Mapping[str, int]
    anchor: tuple[int, str] | None
    """Number and digest of an event."""
    others: Sequence[str] = ()
    """Differences beside the aliases: tags, versions that are missing, and versions that hold another bundle."""


def has_mlflow(services: Settings) -> bool:
    """Tell whether there is anything to mirror to: a server, or a database that a training has made."""
    uri = services.mlflow_uri
    return not uri.startswith(_SQLITE) or Path(uri.removeprefix(_SQLITE)).is_file()


def aliases_now(services: Settings, state: State) -> Aliases | None:
    """Return what MLflow says beside what ``state`` means, or None where there is no MLflow yet."""
    if not has_mlflow(services):
        return None
    store = _opened(services)
    store.check()
    model = store.model()
    changes = compare(state, model)
    stages = [
        f"MLflow's version {number} is tagged {model.versions[number].stage or 'with no stage'}, the ledger has {stage}"
        for number, stage in changes.stages.items()
    ]
    return Aliases(
        found=model.aliases, wanted=aliases_of(state), anchor=model.anchor, others=(*stages, *changes.conflicts)
    )


def mirror(registry: Registry, services: Settings) -> None:
    """Make aliases and tags follow the ledger, where there is an MLflow.

    Raises TrackingError where MLflow cannot be reached, MlflowDiffersError for differences that remain.
    """
    if not has_mlflow(services):
        return
    events = registry.history()
    differences = _opened(services).mirror(replay(events), events=events)
    if differences:
        raise MlflowDiffersError(differences)


def mirror_soon(registry: Registry, services: Settings, *, wait_s: float = WAIT_S) -> SpinelineError | None:
    """Do the same for at most ``wait_s``, and return what kept it from being done: the ledger stands without it.

    In a process of its own, which is killed then: a thread that loads MLflow's library, or hangs in it, would hold up
    this process's end.
    """
    if not has_mlflow(services):
        return None
    command = [sys.executable, "-m", "model_registry.aliases"]
    environment = child_environment(**_settings_of(registry, services))
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=wait_s, check=False
        )
    except subprocess.TimeoutExpired:
        reason = f"MLflow's library was slow to load, or MLflow did not answer within {wait_s:g} s"
        return AliasesNotSetError(reason)
    if done.returncode == 0:
        return None
    message = readable((done.stderr.strip().splitlines() or ["no answer"])[-1]).removeprefix("error: ")
    return AliasesNotSetError(message)


def main() -> int:
    """Make the aliases follow the ledger now."""

    def work() -> str:
        mirror(Registry.at(settings().root_path, settings()), settings())
        return "the aliases follow the ledger"

    return run_program(work)


def _settings_of(registry: Registry, services: Settings) -> dict[str, str]:
    values = {
        "ROOT": registry.root,
        "TRACKING_URI": services.mlflow_uri,
        "MODEL_NAME": services.model_name,
        "LEDGER": services.ledger,
        "MODEL_STORE": services.model_store,
        "S3_ENDPOINT": services.s3_endpoint,
    }
    return {f"SPINELINE_{name}": str(value) for name, value in values.items() if value is not None}


def _opened(services: Settings) -> "MlflowStore":
    from model_registry.tracking import open_store

    return open_store(services.root_path, services)


if __name__ == "__main__":
    sys.exit(main())
