"""MLflow's aliases beside the ledger: looked at, and made to follow it without waiting long for a server."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from model_registry.lifecycle import Registry
from model_registry.mirroring import aliases_of
from model_registry.state import State
from pipelines.agreement import Aliases
from spine.errors import SpinelineError, StepFailedError
from spine.settings import Settings

if TYPE_CHECKING:
    from model_registry.mlflow_store import MlflowStore

WAIT_S = 10.0
_SQLITE = "sqlite:///"


def has_mlflow(services: Settings) -> bool:
    """Tell whether there is anything to mirror to: a server, or a database that a training has made."""
    uri = services.mlflow_uri
    return not uri.startswith(_SQLITE) or Path(uri.removeprefix(_SQLITE)).is_file()


def aliases_now(services: Settings, state: State) -> Aliases | None:
    """Return what MLflow says beside what ``state`` means, or None where there is no MLflow yet."""
    if not has_mlflow(services):
        return None
    store = _store(services)
    store.check()
    return Aliases(found=store.aliases(), wanted=aliases_of(state), anchor=store.anchor())


def mirror(registry: Registry, services: Settings) -> None:
    """Make the aliases follow the ledger, where there is an MLflow; raises TrackingError."""
    if has_mlflow(services):
        _store(services).mirror(registry.state(), events=registry.history())


def mirror_soon(registry: Registry, services: Settings, *, wait_s: float = WAIT_S) -> SpinelineError | None:
    """Do the same for at most ``wait_s``, and return what kept it from being done: the ledger stands without it."""
    failures: list[SpinelineError] = []

    def work() -> None:
        try:
            mirror(registry, services)
        except SpinelineError as error:
            failures.append(error)

    # A thread that waits for a server dies with this process.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(wait_s)
    if thread.is_alive():
        return StepFailedError("aliases", reason=f"was not done within {wait_s:g} s: MLflow does not answer")
    return failures[0] if failures else None


def _store(services: Settings) -> "MlflowStore":
    from model_registry.mlflow_store import MlflowStore

    artifacts = services.root_path / "mlflow" / "artifacts"
    return MlflowStore(services.mlflow_uri, artifacts=artifacts, model_name=services.model_name)
