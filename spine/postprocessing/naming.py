"""The most probable names of vertebrae in a row: a minimum-cost path that may skip and repeat levels, at a price."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from spine.labels import MAX_LABEL
from spine.postprocessing.centre_line import expected_gaps_mm
from spine.postprocessing.instances import Instances
from spine.values import WrittenValue


class DecodingSettings(WrittenValue):
    """What it costs, in nats, to leave the order of the levels, and how sure a new name must be."""

    FIRST_FIELDS = frozenset({
        "floor", "skip", "spaced_skip", "repeat", "border_weight", "margin", "independent", "rename",
    })  # fmt: skip

    floor: float = Field(default=0.01, gt=0, lt=1)
    """Least evidence of any name: one vertebra's votes can cost 4.6 at most, however sure the network was."""
    skip: float = Field(default=2.5, ge=0)
    """A skipped level: less than a whole vertebra's votes, so that a missing T12 does not rename the loin."""
    spaced_skip: float = Field(default=0.3, ge=0)
    """A skipped level where the gap has room for it: the network missed a vertebra, which is no fault of names."""
    repeat: float = Field(default=5.0, ge=0)
    """A repeated level: more than one vertebra's votes and less than two, so that an L6 does not rename the spine."""
    border_weight: float = Field(default=0.5, gt=0, le=1)
    """Of the evidence of a part at the border, beside its size: the network saw half of it."""
    margin: float = Field(default=1.0, ge=0)
    """Least cost of the second-best naming over the best, below which names stay as they are: odds of 2.7 to 1."""
    independent: int = Field(default=5, ge=1)
    """As on how many vertebrae a shift of the whole scan is judged: a network a level off is so everywhere alike."""
    rename: bool = True
    """Whether names are changed; otherwise it is only told where another one is likelier."""


@dataclass(frozen=True, eq=False)
class Naming:
    """Names 1-25 of n vertebrae from superior to inferior, and by how much any other name of each is dearer."""

    names: tuple[int, ...]
    margins: tuple[float, ...]
    cost: float


_WHOLE_SHARE: Final = 0.5  # of its neighbours' volume: above this a vertebra counts as whole
_NEIGHBOURS: Final = 2
_NEXT_LEVELS: Final = 2


def name_instances(instances: Instances, evidence: NDArray[np.float64], *, settings: DecodingSettings) -> Naming:
    """Name the vertebrae from evidence (n, 25), as ``cheapest`` does with this patient's distances and weights.

    No margin is above that of a shift of the whole scan, judged as though on ``independent`` vertebrae.
    A fragment has no say: it is renamed by as many levels as the nearest vertebra where its name was next to that
    one's, and else keeps its name with a margin of 0. So does what lies off the spine.
    """
    weights = instance_weights(instances, settings=settings)
    emissions = -np.log(np.maximum(evidence, settings.floor)) * weights[:, None]
    whole = [place for place, item in enumerate(instances.items) if not (item.is_fragment or item.is_off_spine)]
    steps = [
        step_costs(
            gap_mm=instances.items[lower].position_mm - instances.items[upper].position_mm,
            scale=instances.scale,
            lighter=float(min(weights[upper], weights[lower])),
            settings=settings,
        )
        for upper, lower in pairwise(whole)
    ]
    path = cheapest(emissions[whole], steps)
    certain = shift_margin(path, emissions[whole], steps) * min(1.0, settings.independent / max(len(whole), 1))
    names = [item.label for item in instances.items]
    margins = [0.0] * len(names)
    for place, name, margin in zip(whole, path.names, path.margins, strict=True):
        names[place], margins[place] = name, min(margin, certain)
    for place, item in enumerate(instances.items):
        if item.is_fragment and whole and not item.is_off_spine:
            nearest = min(whole, key=lambda other: abs(other - place))
            was = instances.items[nearest].label
            name = item.label + names[nearest] - was
            if abs(item.label - was) <= _NEXT_LEVELS and 1 <= name <= MAX_LABEL:
                names[place], margins[place] = name, margins[nearest]
    return Naming(names=tuple(names), margins=tuple(margins), cost=path.cost)


def cheapest(emissions: NDArray[np.float64], steps: list[NDArray[np.float64]]) -> Naming:
    """Return the path of least cost, exactly, from costs (n, 25) of names and n - 1 tables (25, 25) of steps.

    Viterbi's algorithm forward and backward (min-sum): their sum is the cost of the best path through each name
    of each vertebra, so a margin is the cost of the best path that gives a vertebra another name, less the best.
    Of equal paths the one with the smaller names, from the top, is taken.
    """
    count = len(emissions)
    if not count:
        return Naming(names=(), margins=(), cost=0.0)
    below = np.zeros_like(emissions)
    for place in range(count - 2, -1, -1):
        below[place] = (steps[place] + emissions[place + 1] + below[place + 1]).min(axis=1)
    above = emissions.copy()
    for place in range(1, count):
        above[place] += (above[place - 1][:, None] + steps[place - 1]).min(axis=0)
    through = above + below
    path = [int(through[0].argmin())]
    for place in range(1, count):
        path.append(int((steps[place - 1][path[-1]] + emissions[place] + below[place]).argmin()))
    cost = float(through[0].min())
    others = through.copy()
    others[np.arange(count), path] = np.inf
    margins = np.maximum(others.min(axis=1) - cost, 0.0)
    return Naming(names=tuple(name + 1 for name in path), margins=tuple(float(margin) for margin in margins), cost=cost)


def shift_margin(path: Naming, emissions: NDArray[np.float64], steps: list[NDArray[np.float64]]) -> float:
    """Return by how much the path is dearer with all names one level up or down; infinite where neither exists."""
    names = np.array(path.names, dtype=np.intp) - 1
    dearer = np.inf
    for shifted in (names - 1, names + 1):
        if len(names) and shifted.min() >= 0 and shifted.max() < MAX_LABEL:
            cost = emissions[np.arange(len(names)), shifted].sum()
            cost += sum(step[pair] for step, pair in zip(steps, pairwise(shifted), strict=True))
            dearer = min(dearer, float(cost) - path.cost)
    return max(dearer, 0.0)


def step_costs(*, gap_mm: float, scale: float, lighter: float, settings: DecodingSettings) -> NDArray[np.float64]:
    """Return the cost (25, 25) of going from one name to the next lower vertebra's, infinite upwards.

    A skipped level costs ``skip``, falling to ``spaced_skip`` as the gap comes near the distance that the skipped
    levels need. A repeat costs ``repeat`` times ``lighter``, the smaller of both weights: crumbs may repeat.
    """
    expected = expected_gaps_mm(scale)[1:, 1:]
    skipped = np.subtract.outer(np.arange(MAX_LABEL), np.arange(MAX_LABEL)).T - 1
    neighbour = np.append(np.diagonal(expected, offset=1), np.inf)[:, None]
    needed = np.maximum(expected - neighbour, 1e-9)
    missing = np.clip((expected - gap_mm) / needed, 0.0, 1.0)
    price = settings.spaced_skip + (settings.skip - settings.spaced_skip) * missing
    costs = np.where(skipped > 0, skipped * price, 0.0)
    costs[skipped == -1] = settings.repeat * lighter
    costs[skipped < -1] = np.inf
    return costs


def instance_weights(instances: Instances, *, settings: DecodingSettings) -> NDArray[np.float64]:
    """Return the weight in (0, 1] of each vertebra's evidence: by its size among its neighbours, less at the border."""
    mm3 = np.array([item.mm3 for item in instances.items])
    weights = np.ones(len(mm3))
    for place, item in enumerate(instances.items):
        around = mm3[max(place - _NEIGHBOURS, 0) : place + _NEIGHBOURS + 1]
        share = float(mm3[place] / (_WHOLE_SHARE * np.median(around)))
        if share < 1:
            weights[place] = share * (settings.border_weight if item.at_border else 1.0)
    return weights
