"""Policies: what a candidate must reach to be registered, as small YAML files with reasons beside the numbers."""

from collections.abc import Collection, Iterable
from typing import Annotated, Literal

from pydantic import Field, field_validator

from spine.labels import IDS, REGIONS
from spine.values import WrittenValue

Share = Annotated[float, Field(ge=0, le=1)]


class Floors(WrittenValue):
    """Absolute minima on the locked test set; None leaves a score unjudged."""

    FIRST_FIELDS = frozenset({
        "dice_scan_mean", "dice_label_macro", "id_rate", "all_correct_rate", "wrong_level_rate_at_most",
        "misnamed_rate_at_most", "extra_vertebra_rate_at_most", "region_dice", "level_dice", "every_level_dice",
    })  # fmt: skip

    dice_scan_mean: Share
    dice_label_macro: Share | None = None
    """Mean over labels: a level that few scans show weighs as much as one that all show."""
    id_rate: Share | None = None
    all_correct_rate: Share | None = None
    wrong_level_rate_at_most: Share | None = None
    misnamed_rate_at_most: Share | None = None
    """Over the vertebrae found as bone: sees a block that is shifted, too."""
    extra_vertebra_rate_at_most: Share | None = None
    """Over all scans, those without reference labels included: a vertebra where there is none costs no Dice there."""
    region_dice: dict[str, Share] = Field(default_factory=dict)
    """Floor by region, for regions that the test set shows; ``required_regions`` says which it must show."""
    level_dice: dict[str, Share] = Field(default_factory=dict)
    """Floor by level (C1-S1), for levels that the test set shows; ``required_levels`` says which it must show."""
    every_level_dice: Share | None = None
    """Floor of the worst of all levels shown: a region's mean can hide a level that is lost."""

    @field_validator("region_dice")
    @classmethod
    def _regions_exist(cls, regions: dict[str, float]) -> dict[str, float]:
        _require_known("region", regions, among=REGIONS)
        return regions

    @field_validator("level_dice")
    @classmethod
    def _levels_exist(cls, levels: dict[str, float]) -> dict[str, float]:
        _require_known("level", levels, among=IDS)
        return levels


class AgainstChampion(WrittenValue):
    """How a candidate is held against the model in use, on the same scans."""

    FIRST_FIELDS = frozenset({
        "rule", "margin_overall", "margin_region", "minimum_region_patients", "confidence", "resamples", "seed",
    })  # fmt: skip

    rule: Literal["non-inferior", "superior"] = "non-inferior"
    margin_overall: Share = 0.01
    margin_region: Share = 0.03
    minimum_region_patients: Annotated[int, Field(ge=2)] = 10
    """Patients who must show a region, or a level, before anything is claimed of it.

    A required region that fewer show is undecided; others are named, and the two models not compared there.
    """
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=10_000, le=100_000)] = 10_000
    seed: Annotated[int, Field(ge=0)] = 1


class Policy(WrittenValue):
    """A whole policy; its digest is quoted by every verdict made under it."""

    FIRST_FIELDS = frozenset({
        "name", "version", "about", "minimum_scans", "required_regions", "required_levels", "floors", "champion",
        "separate_approver",
    })  # fmt: skip

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: Annotated[int, Field(ge=1)] = 1
    """Raised by whoever changes a number; verdicts quote it beside the digest."""
    about: str
    minimum_scans: Annotated[int, Field(ge=2)]
    """Patients with labels that a verdict needs, scans where the patient is unknown; fewer are inconclusive."""
    required_regions: tuple[str, ...] = ()
    """Regions that enough patients of the test set must show; one that is missing is inconclusive, not passed over."""
    required_levels: tuple[str, ...] = ()
    """Levels (C1-S1) that must be seen as well: a region's floor can be met without the level that is hard."""
    floors: Floors
    champion: AgainstChampion = AgainstChampion()
    separate_approver: bool = True
    """Whether somebody other than the one who registered a version must approve it."""

    @field_validator("required_regions")
    @classmethod
    def _regions_exist(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        _require_known("region", regions, among=REGIONS)
        return regions

    @field_validator("required_levels")
    @classmethod
    def _levels_exist(cls, levels: tuple[str, ...]) -> tuple[str, ...]:
        _require_known("level", levels, among=IDS)
        return levels


def load_policy(name: str) -> Policy:
    """Return a policy by its name, or from a path that ends in .yaml; an unknown one lists those that exist."""
    return Policy.named(name, package="model_registry.policies")


def given_policy(text: str) -> Policy:
    """Return a policy from its JSON, as pipelines hand it to steps, or by its name or path."""
    return Policy.from_json(text, where="policy") if text.lstrip().startswith("{") else load_policy(text)


def _require_known(kind: str, names: Iterable[str], *, among: Collection[str]) -> None:
    unknown = [name for name in names if name not in among]
    if unknown:
        raise ValueError(f"unknown {kind} {unknown[0]}; expected one of {', '.join(among)}")
