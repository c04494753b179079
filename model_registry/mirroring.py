"""What MLflow is told of the ledger: the aliases that a state means, and the anchor that shows lost events."""

from collections.abc import Sequence

from model_registry.ledger import Event
from model_registry.state import State

ANCHOR_TAG = "spineline.ledger"
"""Tag of MLflow's registered model that holds number and digest of the newest event that it was told of."""


def parse_anchor(tag: str) -> tuple[int, str] | None:
    """Return number and digest from the anchor's tag, or None where it holds none."""
    number, _, digest = tag.partition(":")
    return (int(number), digest) if number.isdigit() else None


def aliases_of(state: State) -> dict[str, int]:
    """Return the aliases that a state of the ledger means."""
    candidates = [number for number, known in state.versions.items() if known.life in ("registered", "approved")]
    aliases = {"candidate": max(candidates, default=None), "champion": state.serving, "previous": state.before}
    return {alias: version for alias, version in aliases.items() if version is not None}


def is_anchored(events: Sequence[Event], anchor: tuple[int, str] | None) -> bool:
    """Tell whether a ledger still holds the event that MLflow was last told of."""
    if anchor is None:
        return True
    number, digest = anchor
    return 0 < number <= len(events) and events[number - 1].digest == digest
