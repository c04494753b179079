"""What there is, in a few lines: versions with their scores, and the state of what is served."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.serve_model.presence import running_server, served_version
from model_registry.bundle import Bundle
from model_registry.lifecycle import Registry
from model_registry.state import VersionState
from spine.metrics.scores import Evaluation
from spine.settings import settings
from spine.storage import short


@dataclass(frozen=True)
class VersionRow:
    """A version as it is listed."""

    state: VersionState
    in_use: bool
    recipe: str
    dice: float | None
    id_rate: float | None

    def cells(self) -> tuple[object, ...]:
        """Return the cells of the table."""
        life = f"{self.state.life}, in use" if self.in_use else self.state.life
        known = self.state
        return (
            known.version,
            life,
            self.recipe,
            self.dice,
            self.id_rate,
            known.registered_at,
            known.registered_by,
            short(known.model_digest),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the row as JSON."""
        return {
            "version": self.state.version,
            "life": self.state.life,
            "in_use": self.in_use,
            "recipe": self.recipe,
            "test_dice_scan_mean": self.dice,
            "test_id_rate": self.id_rate,
            "registered_at": self.state.registered_at,
            "registered_by": self.state.registered_by,
            "approved_by": self.state.approved_by,
            "model_digest": self.state.model_digest,
            "bundle": self.state.bundle,
        }


def version_rows(registry: Registry) -> list[VersionRow]:
    """Return all versions, the newest last."""
    state = registry.state()
    return [
        _row(registry.root, known, in_use=number == state.serving) for number, known in sorted(state.versions.items())
    ]


def describe_status(root: Path) -> dict[str, Any]:
    """Return what the ledger says is in use, what a server here answers with, and whether they agree."""
    registry = Registry.at(root, settings())
    state = registry.state()
    server = running_server(root)
    served = served_version(server) if server else None
    agreement = "no server runs here; `spineline serve` starts one"
    if server:
        agreement = "yes" if served == state.serving else f"no: the server has {served}, the ledger {state.serving}"
    return {
        "root": str(root),
        "version in use": state.serving,
        "a rollback returns to": state.before,
        "versions": len(state.versions),
        "events in the ledger": len(registry.history()),
        "server": server.url if server else None,
        "server answers with": served,
        "server follows the ledger": agreement,
    }


def _row(root: Path, known: VersionState, *, in_use: bool) -> VersionRow:
    bundle = Bundle(root / known.bundle)
    summary = Evaluation.parse(bundle.json("evaluation.json"), where=bundle.folder).summary
    return VersionRow(
        state=known,
        in_use=in_use,
        recipe=bundle.manifest.recipe_name,
        dice=summary.dice_scan_mean,
        id_rate=summary.id_rate,
    )
