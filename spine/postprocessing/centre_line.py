"""The line that the spine follows: how far down it each vertebra lies, and how far apart neighbours should be."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.labels import MAX_LABEL
from spine.postprocessing.outlines import Outlines

PITCH_MM: Final[NDArray[np.float64]] = np.array(
    [
        0.0, 14.5, 22.5, 16.5, 16.5, 17.0, 17.5, 18.5, 21.5, 21.5, 22.0, 22.0, 22.0,
        22.5, 23.0, 24.0, 24.5, 26.0, 28.0, 30.5, 32.0, 33.0, 33.5, 33.5, 34.5, 34.5,
    ]
)  # fmt: skip
"""By label, from its centroid to the next lower one's: whole vertebrae, sized after Panjabi et al. 1991 and 1992."""

_SCALES: Final = (0.5, 1.5)  # children to tall adults
_PRIOR_MM: Final = 20.0
_STEP_MM: Final = 1.0
MOST_STEPS: Final = 3000  # of a grid in the wrong unit
_BEYOND_MM: Final = 15.0
_MOST_BENDS: Final = 4  # of a polynomial that follows neck, chest and loin
_ABOVE_CENTRE, _BELOW_CENTRE = 0.75, 1.1  # reach of a vertebra beyond its centroid, in pitches


@dataclass(frozen=True, eq=False)
class CentreLine:
    """Samples (m, 3) of a smooth line in RAS+ mm from superior to inferior, directions, and length so far."""

    samples_mm: NDArray[np.float64]
    directions: NDArray[np.float64]
    length_mm: NDArray[np.float64]

    @classmethod
    def through(cls, points_mm: NDArray[np.float64], *, weights: NDArray[np.float64]) -> "CentreLine":
        """Fit a line through centroids (n, 3), n >= 1, heavier ones nearer to it."""
        middle = np.average(points_mm, axis=0, weights=weights)
        centred = points_mm - middle
        down = _downward(centred, weights)
        along = centred @ down
        degree = min(_MOST_BENDS, (len(points_mm) - 1) // 2)
        root = np.sqrt(weights / weights.max())[:, None]
        sideways = centred - along[:, None] * down
        bends, *_ = np.linalg.lstsq(root * _powers(along, degree), root * sideways, rcond=None)
        step_mm = max(_STEP_MM, float(np.ptp(along)) / MOST_STEPS)
        places = np.arange(along.min() - _BEYOND_MM, along.max() + _BEYOND_MM + step_mm, step_mm)
        samples = middle + places[:, None] * down + _powers(places, degree) @ bends
        steps = np.gradient(samples, axis=0)
        lengths = np.linalg.norm(steps, axis=1)
        return cls(samples_mm=samples, directions=steps / lengths[:, None], length_mm=np.cumsum(lengths))

    def place(
        self, points_mm: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return how far down the line each point (n, 3) lies (mm), the way to it from there, and the way down there.

        The ways are (n, 3), the first in mm and square to the second, of length 1.
        """
        apart = points_mm[:, None, :] - self.samples_mm[None, :, :]
        nearest = np.linalg.norm(apart, axis=2).argmin(axis=1)
        rest = apart[np.arange(len(points_mm)), nearest]
        along = (rest * self.directions[nearest]).sum(axis=1)
        beside = rest - along[:, None] * self.directions[nearest]
        return self.length_mm[nearest] + along, beside, self.directions[nearest]

    def at_height(self, heights_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far down the line it passes each height (RAS+ z), going straight on beyond its ends."""
        depth = -self.samples_mm[:, 2]
        inside = np.clip(-heights_mm, depth[0], depth[-1])
        beyond = -heights_mm - inside
        return np.asarray(np.interp(inside, depth, self.length_mm) + beyond, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Placement:
    """Where n bodies lie along the spine and beside it, the ways to them and down there (n, 3), pitch, and size."""

    positions_mm: NDArray[np.float64]
    seen_mm: NDArray[np.float64]
    """Of the part in view; ``positions_mm`` is where the whole would lie."""
    beside_mm: NDArray[np.float64]
    aside_mm: NDArray[np.float64]
    directions: NDArray[np.float64]
    pitch_mm: NDArray[np.float64]
    scale: float


def place(bodies: Outlines, *, line_of: Outlines | None = None) -> Placement:
    """Place ``bodies`` along the line through ``line_of`` (through themselves where left out).

    The rest of a vertebra that the upper or the lower face of the volume cuts is placed where its centroid would
    lie: its process may hang lower than the whole vertebra below it.
    """
    spine = bodies if line_of is None else line_of
    whole = ~(spine.cut_above | spine.cut_below)
    # A process that hangs into view is whole as well, and no spine by itself.
    through = spine.some(whole) if spine.mm3[whole].sum() > spine.mm3.sum() / 2 else spine
    line = CentreLine.through(through.centroids_mm, weights=through.mm3)
    scale = patient_scale(through.labels, line.place(through.centroids_mm)[0])
    pitch = PITCH_MM[bodies.labels] * scale
    seen, aside, directions = line.place(bodies.centroids_mm)
    positions = seen.copy()
    typical = through if through is not spine or whole.all() else None
    for cut, sign, reach in (
        (bodies.cut_above & ~bodies.cut_below, 1, _BELOW_CENTRE),
        (bodies.cut_below & ~bodies.cut_above, -1, _ABOVE_CENTRE),
    ):
        if cut.any():
            heights = _centre_heights_mm(bodies.some(cut), reach_mm=reach * pitch[cut], sign=sign, typical=typical)
            positions[cut] = line.at_height(heights)
    return Placement(
        positions_mm=positions,
        seen_mm=seen,
        beside_mm=np.linalg.norm(aside, axis=1),
        aside_mm=aside,
        directions=directions,
        pitch_mm=pitch,
        scale=scale,
    )


def _centre_heights_mm(
    cut: Outlines, *, reach_mm: NDArray[np.float64], sign: int, typical: Outlines | None
) -> NDArray[np.float64]:
    """Return where (RAS+ z) the centroids of cut bodies would lie: as far from their end as the nearest whole one's.

    ``sign`` is 1 where the lower end is in view, -1 where the upper one is; without whole ones ``reach_mm`` serves.
    """
    ends = cut.bottom_mm if sign > 0 else cut.top_mm
    if typical is not None:
        others = typical.bottom_mm if sign > 0 else typical.top_mm
        nearest = np.abs(ends[:, None] - others[None]).argmin(axis=1)
        reach_mm = np.abs(others - typical.centroids_mm[:, 2])[nearest]
    return np.asarray(ends + sign * reach_mm, dtype=np.float64)


def patient_scale(labels: NDArray[np.uint8], positions_mm: NDArray[np.float64]) -> float:
    """Return this patient's pitch over the typical one: the median over neighbours whose names follow each other."""
    order = np.argsort(positions_mm, kind="stable")
    names, gaps = labels[order].astype(int), np.diff(positions_mm[order])
    follow = np.diff(names) == 1
    if not follow.any():
        return 1.0
    return float(np.clip(np.median(gaps[follow] / PITCH_MM[names[:-1][follow]]), *_SCALES))


def expected_gaps_mm(scale: float) -> NDArray[np.float64]:
    """Return the distance in mm from label a down to label b, shape (26, 26); negative where b lies above."""
    depth = np.concatenate([[0.0, 0.0], np.cumsum(PITCH_MM[1:MAX_LABEL])]) * scale
    return np.asarray(depth[None, :] - depth[:, None], dtype=np.float64)


def _downward(centred: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the main direction of the points, towards the feet."""
    spread = (weights[:, None] * centred).T @ centred / weights.sum()
    # Two halves side by side are no spine lying across: without better knowledge it runs along the body.
    spread[2, 2] += _PRIOR_MM**2
    axis = np.linalg.eigh(spread)[1][:, -1]
    return np.asarray(-axis if axis[2] > 0 else axis, dtype=np.float64)


def _powers(places: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    return np.vander(places / 100.0, degree + 1, increasing=True)
