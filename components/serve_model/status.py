"""What the server says of itself: the model that answers, and what keeps it from the one the ledger names."""

from components.serve_model.engine import Engine
from components.serve_model.watcher import Watcher
from model_registry.replicas import LoadFailure
from model_registry.segmentation_report import DISCLAIMER
from spine.values import Value


class ModelStatus(Value):
    """The answer of ``GET /v1/model``."""

    version: int | None
    """The version that answers; None before the first one is loaded."""
    model_digest: str | None = None
    since: str | None = None
    """When it went live: UTC, ISO 8601."""
    recipe: str | None = None
    golden_dice: float | None = None
    wanted_version: int | None
    """The version that the ledger names."""
    versions_in_memory: tuple[int, ...]
    last_failure: LoadFailure | None
    ledger_problem: str | None
    error: str | None = None
    disclaimer: str = DISCLAIMER


def model_status(*, engine: Engine, watcher: Watcher) -> ModelStatus:
    """Return the status now."""
    live = engine.live
    return ModelStatus(
        version=live.version if live else None,
        model_digest=live.digest if live else None,
        since=live.checked_at if live else None,
        recipe=live.recipe if live else None,
        golden_dice=live.golden_dice if live else None,
        wanted_version=watcher.wanted,
        versions_in_memory=engine.held(),
        last_failure=watcher.last_failure,
        ledger_problem=watcher.ledger_problem,
        error=None if live else "no model version is loaded",
    )
