"""The field of view of a scan: from which level to which, where it cuts them, and how the patient lies in it."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from spine.errors import InvalidValueError
from spine.labels import IDS, MAX_LABEL
from spine.phantom.anatomy import Patient
from spine.phantom.posture import Frame, Vector, turned

_SCAN_STREAM: Final = 2


@dataclass(frozen=True)
class FieldOfView:
    """Label ids ``first`` to ``last``, and how far the borders lie beyond them.

    ``above`` and ``below`` are fractions of the outer vertebra's extent along the scan's vertical axis: at -0.5
    half of it is cut off, above 0 part of the next vertebra is seen, and labelled.
    """

    first: int
    last: int
    above: float = 0.0
    below: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last <= MAX_LABEL:
            span = (self.first, self.last)
            raise InvalidValueError("field of view (first, last)", span, expected="1 <= first <= last <= 25")


@dataclass(frozen=True, eq=False)
class Setup:
    """What a scan adds to a patient: border, position and rotation in the scanner, table position and noise."""

    view: FieldOfView
    rotation: Vector
    sideways_mm: tuple[float, float]
    behind_mm: float
    ahead_mm: float
    table_mm: Vector
    noise_hu: float
    noise_seed: int


def draw_setup(*, seed: int, patient: int, scan: int, first: int, last: int) -> Setup:
    """Draw one scan's field of view, position and noise from whole numbers of 0 or more."""
    random = np.random.default_rng(np.random.SeedSequence([_SCAN_STREAM, seed, patient, scan]))
    # Nothing but the skull lies above C1 and the sacrum below S1: there the border may lie further out.
    above = random.uniform(0.3, 2.5) if first == IDS["C1"] else random.uniform(-0.5, 0.2)
    below = random.uniform(-0.3, 1.4) if last == IDS["S1"] else random.uniform(-0.65, 0.35)
    width, shift = random.uniform(132, 162), random.uniform(-16, 16)
    return Setup(
        view=FieldOfView(first=first, last=last, above=float(above), below=float(below)),
        rotation=turned(pitch_deg=random.normal(0, 2), roll_deg=random.normal(0, 2), turn_deg=random.normal(0, 3)),
        sideways_mm=(float(shift - width / 2), float(shift + width / 2)),
        behind_mm=float(random.uniform(60, 84)),
        ahead_mm=float(random.uniform(30, 62)),
        table_mm=np.round(random.uniform(-250, 250, 3), 2),
        noise_hu=float(random.uniform(8, 22)),
        noise_seed=int(random.integers(2**31)),
    )


def bounds(setup: Setup, patient: Patient, frames: dict[int, Frame]) -> tuple[Vector, Vector]:
    """Return the low and high corner, shape (3,), of the field of view in the scan's millimetres."""
    view = setup.view
    centres = np.stack([setup.rotation @ frames[label].origin for label in range(view.first, view.last + 1)])
    top_low, top_high = _extent(setup, patient, frames, label=view.first)
    bottom_low, bottom_high = _extent(setup, patient, frames, label=view.last)
    middle = centres[:, 0].mean()
    low = np.array(
        [
            middle + setup.sideways_mm[0],
            centres[:, 1].min() - setup.behind_mm,
            bottom_low - view.below * (bottom_high - bottom_low),
        ]
    )
    high = np.array(
        [
            middle + setup.sideways_mm[1],
            centres[:, 1].max() + setup.ahead_mm,
            top_high + view.above * (top_high - top_low),
        ]
    )
    return low, high


def _extent(setup: Setup, patient: Patient, frames: dict[int, Frame], *, label: int) -> tuple[float, float]:
    level = patient.level(label)
    half = np.array([level.width_mm, level.depth_mm, level.height_mm]) / 2
    signs = np.stack(np.meshgrid(*[[-1, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    corners = (frames[label].origin + (signs * half) @ frames[label].axes.T) @ setup.rotation.T
    return float(corners[:, 2].min()), float(corners[:, 2].max())
