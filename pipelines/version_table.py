"""The versions that there are, each in one row with its scores."""

from dataclasses import dataclass
from typing import Any

from model_registry.bundle import MANIFEST_FILE, Bundle
from model_registry.lifecycle import Registry
from model_registry.state import VersionState
from spine.metrics.scores import Evaluation
from spine.storage import short


@dataclass(frozen=True)
class VersionRow:
    """A version as it is listed; recipe and scores are None where its bundle is not on this machine."""

    state: VersionState
    in_use: bool
    recipe: str | None
    dice: float | None
    id_rate: float | None

    def cells(self) -> tuple[object, ...]:
        """Return the cells of the table."""
        stage = f"{self.state.stage}, in use" if self.in_use else self.state.stage
        known = self.state
        return (
            known.version,
            stage,
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
            "stage": self.state.stage,
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
    return [_row(registry, known, in_use=number == state.serving) for number, known in sorted(state.versions.items())]


def _row(registry: Registry, known: VersionState, *, in_use: bool) -> VersionRow:
    folder = registry.root / known.bundle
    if not (folder / MANIFEST_FILE).is_file():
        return VersionRow(state=known, in_use=in_use, recipe=None, dice=None, id_rate=None)
    bundle = Bundle(folder)
    summary = Evaluation.from_stored(bundle.json("evaluation.json"), where=bundle.folder).summary
    return VersionRow(
        state=known,
        in_use=in_use,
        recipe=bundle.manifest.recipe_name,
        dice=summary.dice_scan_mean,
        id_rate=summary.id_rate,
    )
