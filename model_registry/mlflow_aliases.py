"""The registered model in MLflow beside the ledger: aliases, stage of each version, and the anchor of its events."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from model_registry.ledger import Event
from model_registry.state import State
from spine.storage import short

ANCHOR_TAG = "spineline.ledger"
"""Tag of MLflow's registered model that holds number and digest of the newest event that MLflow was brought to."""
STAGE_TAG = "spineline.stage"
"""Tag of a version in MLflow that holds its stage."""
OLD_STAGE_TAG = "spineline.life"
"""The same as releases before 0.2 named it; removed wherever the new one is set."""
ALIASES = ("candidate", "champion", "previous")
"""The aliases that follow the ledger; others are left alone."""


@dataclass(frozen=True)
class MlflowVersion:
    """One version as MLflow has it: the digest of its bundle and the stage that it is tagged with."""

    digest: str | None
    stage: str | None


@dataclass(frozen=True)
class MlflowModel:
    """The registered model as MLflow has it."""

    aliases: Mapping[str, int]
    versions: Mapping[int, MlflowVersion]
    anchor: tuple[int, str] | None
    """Number and digest of an event."""


@dataclass(frozen=True)
class Mirroring:
    """Changes that make MLflow equal to a state of the ledger, and conflicts that only a person can resolve."""

    aliases: Mapping[str, int | None]
    """Aliases to set; None for one to delete."""
    stages: Mapping[int, str]
    """Life of each version whose tag is another or missing."""
    conflicts: tuple[str, ...]
    """Versions that MLflow lacks, or has with another bundle: no alias is set on them."""

    @property
    def is_needed(self) -> bool:
        """Whether anything has to be written."""
        return bool(self.aliases or self.stages)


def parse_anchor(tag: str) -> tuple[int, str] | None:
    """Return number and digest from the anchor's tag, or None where it holds none."""
    number, _, digest = tag.partition(":")
    return (int(number), digest) if number.isdigit() else None


def aliases_of(state: State) -> dict[str, int]:
    """Return the aliases that a state of the ledger means."""
    candidates = [number for number, known in state.versions.items() if known.stage in ("registered", "approved")]
    aliases = {"candidate": max(candidates, default=None), "champion": state.serving, "previous": state.before}
    return {alias: version for alias, version in aliases.items() if version is not None}


def compare(state: State, model: MlflowModel) -> Mirroring:
    """Compare MLflow's registered model with a state of the ledger; versions are matched by number and digest."""
    wanted = aliases_of(state)
    same = {
        number
        for number, known in state.versions.items()
        if number in model.versions and model.versions[number].digest == known.model_digest
    }
    aliases: dict[str, int | None] = {
        alias: version for alias, version in wanted.items() if version in same and model.aliases.get(alias) != version
    }
    aliases |= {alias: None for alias in ALIASES if alias in model.aliases and alias not in wanted}
    stages = {
        number: str(state.versions[number].stage)
        for number in sorted(same)
        if model.versions[number].stage != state.versions[number].stage
    }
    return Mirroring(aliases=aliases, stages=stages, conflicts=tuple(_conflicts(state, model, wanted)))


def is_anchored(events: Sequence[Event], anchor: tuple[int, str] | None) -> bool:
    """Tell whether a ledger still holds the event that MLflow was last brought to."""
    if anchor is None:
        return True
    number, digest = anchor
    return 0 < number <= len(events) and events[number - 1].digest == digest


def _conflicts(state: State, model: MlflowModel, wanted: Mapping[str, int]) -> Iterator[str]:
    for number, known in sorted(state.versions.items()):
        found = model.versions.get(number)
        named = [alias for alias, version in wanted.items() if version == number]
        if found is None and named:
            yield f"MLflow has no version {number}, the ledger says it is {' and '.join(named)}"
        elif found and found.digest != known.model_digest:
            held = f"bundle {short(found.digest)}" if found.digest else "no bundle"
            yield f"MLflow's version {number} holds {held}, the ledger says bundle {short(known.model_digest)}"
