"""Policies: what a candidate must reach to be registered, as small YAML files with reasons beside the numbers."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from spine.labels import REGIONS
from spine.values import Value

Share = Annotated[float, Field(ge=0, le=1)]


class Floors(Value):
    """Absolute minima on the locked test set; None leaves a score unjudged."""

    dice_scan_mean: Share
    id_rate: Share | None = None
    all_correct_rate: Share | None = None
    wrong_level_rate_at_most: Share | None = None
    region_dice: dict[str, Share] = Field(default_factory=dict)
    """Floor by region, for regions that the test set shows."""

    @field_validator("region_dice")
    @classmethod
    def _regions_exist(cls, regions: dict[str, float]) -> dict[str, float]:
        unknown = [region for region in regions if region not in REGIONS]
        if unknown:
            raise ValueError(f"unknown region {unknown[0]}; expected one of {', '.join(REGIONS)}")
        return regions


class AgainstChampion(Value):
    """How a candidate is held against the model in use, on the same scans."""

    rule: Literal["non-inferior", "superior"] = "non-inferior"
    margin_overall: Share = 0.01
    margin_region: Share = 0.03
    minimum_region_patients: Annotated[int, Field(ge=2)] = 10
    """Patients who must show a region before the two models are compared in it; fewer are named, not judged."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=1000)] = 10000
    seed: int = 1


class Policy(Value):
    """A whole policy; its digest is quoted by every verdict made under it."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    about: str
    minimum_scans: Annotated[int, Field(ge=2)]
    """Scans with labels that a verdict needs; fewer are inconclusive."""
    required_regions: tuple[str, ...] = ()
    """Regions that must be seen in the test set; a missing one is inconclusive, not passed over."""
    floors: Floors
    champion: AgainstChampion = AgainstChampion()
    separate_approver: bool = True
    """Whether somebody other than the one who registered a version must approve it."""

    @field_validator("required_regions")
    @classmethod
    def _required_exist(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [region for region in regions if region not in REGIONS]
        if unknown:
            raise ValueError(f"unknown region {unknown[0]}; expected one of {', '.join(REGIONS)}")
        return regions


def load_policy(name: str) -> Policy:
    """Return a policy by its name, or from a path that ends in .yaml; an unknown one lists those that exist."""
    return Policy.named(name, package="model_registry.policies")


def given_policy(text: str) -> Policy:
    """Return a policy from its JSON, as pipelines hand it to steps, or by its name or path."""
    return Policy.from_json(text, where="policy") if text.lstrip().startswith("{") else load_policy(text)
