"""Proportions of the 25 vertebrae, and the patients that are drawn around them.

Body heights, endplate widths and depths, canal sizes and transverse spans follow the means of Panjabi et al.,
*Cervical human vertebrae* (Spine 1991;16:861-869), *Thoracic human vertebrae* (Spine 1991;16:888-901) and
*Human lumbar vertebrae* (Spine 1992;17:299-306), rounded. Cancellous density falls from neck to loin as in
Yoganandan et al. (Bone 2006;39:870-875). Disc heights, tilts and spinous processes are typical
of adults in supine CT (Gray's Anatomy, 41st ed., ch. 43); S1 and the tilts below it are sized by eye.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from spine.labels import IDS

_PATIENT_STREAM: Final = 1


@dataclass(frozen=True)
class Level:
    """One vertebra's size in mm and degrees; ``tilt_deg`` > 0 leans its upper endplate forward."""

    height_mm: float
    width_mm: float
    depth_mm: float
    disc_mm: float
    canal_width_mm: float
    canal_depth_mm: float
    transverse_mm: float
    spinous_mm: float
    spinous_drop_deg: float
    spinous_height_mm: float
    process_mm: float
    tilt_deg: float


@dataclass(frozen=True)
class Patient:
    """One person: levels C1..S1 with this person's sizes and tilts, and the tissue around them.

    ``levels[i]`` has the label id i + 1. ``roll_deg`` (scoliosis) and ``turn_deg`` are per level as well.
    """

    levels: tuple[Level, ...]
    roll_deg: tuple[float, ...]
    turn_deg: tuple[float, ...]
    scale: float
    girth: float
    fat_mm: float
    cortex_mm: float
    cortex_hu: float
    cancellous_hu: float
    vessel_hu: float
    last_rib_mm: float
    organ_seed: int

    def level(self, label: int) -> Level:
        """Return the level of a label id of 1-25."""
        return self.levels[label - 1]

    def core_hu(self, label: int) -> float:
        """Return the HU of a vertebra's cancellous bone, denser in the neck than in the loin."""
        return self.cancellous_hu * float(np.interp(label, *_DENSITY))


# Label ids, and cancellous density there as a multiple of L1's.
_DENSITY: Final = ((1.0, 7.0, 19.0, 25.0), (1.5, 1.45, 1.04, 0.82))

# fmt: off
# height, width, depth, disc below, canal width, canal depth, half transverse span,
# spinous length, spinous drop, spinous height, process radius, tilt
_TYPICAL: Final[dict[str, Level]] = {
    name: Level(*row) for name, row in {
        "C1":  (11.0, 30.0, 12.0,  1.0, 27.0, 19.0, 38.0,  4.0,  0.0,  7.0, 3.6,  -8.0),
        "C2":  (19.0, 18.0, 16.0,  5.0, 24.0, 18.0, 27.0, 18.0, 20.0, 13.0, 3.6,  -6.0),
        "C3":  (12.5, 17.0, 15.5,  5.0, 23.5, 16.5, 25.0, 13.0, 20.0,  8.0, 3.3,  -3.0),
        "C4":  (12.5, 18.0, 15.5,  5.0, 24.5, 16.5, 25.5, 14.0, 22.0,  8.0, 3.3,   3.0),
        "C5":  (12.5, 19.0, 16.0,  5.2, 25.0, 16.5, 26.5, 16.0, 24.0,  8.0, 3.3,  10.0),
        "C6":  (12.5, 20.5, 17.0,  5.4, 25.5, 16.5, 28.0, 22.0, 26.0,  9.0, 3.4,  17.0),
        "C7":  (13.5, 23.0, 18.0,  5.2, 24.5, 15.5, 33.0, 32.0, 25.0, 10.0, 3.7,  24.0),
        "T1":  (15.0, 26.0, 19.0,  4.6, 21.0, 16.0, 37.0, 34.0, 28.0, 10.5, 4.1,  28.0),
        "T2":  (16.0, 27.0, 20.0,  4.0, 19.0, 15.5, 34.0, 33.0, 36.0, 10.5, 4.1,  25.0),
        "T3":  (16.5, 27.0, 22.0,  3.6, 18.0, 15.5, 31.5, 33.0, 44.0, 10.0, 4.0,  20.0),
        "T4":  (17.0, 27.5, 23.5,  3.4, 17.0, 16.0, 30.5, 35.0, 50.0, 10.0, 4.0,  14.0),
        "T5":  (17.5, 28.0, 25.0,  3.4, 17.0, 16.0, 30.5, 37.0, 55.0, 10.0, 4.0,   9.0),
        "T6":  (18.0, 29.0, 26.5,  3.7, 17.0, 16.0, 30.5, 38.0, 57.0, 10.0, 4.1,   5.0),
        "T7":  (18.5, 30.0, 28.0,  4.0, 17.2, 16.0, 30.5, 38.0, 57.0, 10.5, 4.1,   1.0),
        "T8":  (19.0, 31.5, 29.0,  4.3, 17.5, 16.0, 30.0, 36.0, 54.0, 11.0, 4.2,  -2.5),
        "T9":  (19.7, 33.0, 30.0,  4.6, 17.8, 16.0, 29.0, 32.0, 42.0, 12.0, 4.2,  -5.5),
        "T10": (20.7, 35.0, 31.0,  5.0, 18.0, 15.8, 27.0, 28.0, 30.0, 14.0, 4.3,  -8.0),
        "T11": (21.8, 37.5, 32.0,  5.8, 19.5, 16.0, 23.0, 25.0, 18.0, 16.0, 4.4, -10.0),
        "T12": (23.2, 40.5, 33.0,  6.8, 22.0, 17.5, 21.0, 25.0, 11.0, 18.0, 4.5, -12.0),
        "L1":  (24.8, 42.5, 34.0,  7.8, 23.5, 18.5, 36.0, 29.0,  8.0, 20.0, 4.7, -12.0),
        "L2":  (25.6, 44.0, 34.8,  8.8, 23.8, 18.0, 40.0, 30.0,  7.0, 21.0, 4.8, -10.0),
        "L3":  (25.8, 45.5, 35.2,  9.8, 24.3, 17.5, 45.0, 31.0,  6.0, 21.0, 4.9,  -5.0),
        "L4":  (25.8, 47.5, 35.5, 10.8, 25.4, 18.0, 43.0, 28.0,  6.0, 19.0, 5.1,   5.0),
        "L5":  (26.0, 50.0, 35.5, 10.2, 27.5, 18.5, 47.0, 22.0, 10.0, 16.0, 5.8,  19.0),
        "S1":  (30.0, 50.0, 33.0,  2.0, 30.0, 16.0, 52.0, 10.0, 30.0, 16.0, 5.8,  40.0),
    }.items()
}
# fmt: on


def draw_patient(*, seed: int, patient: int) -> Patient:
    """Draw one person's anatomy; the same two whole numbers (0 or more) give the same person."""
    random = np.random.default_rng(np.random.SeedSequence([_PATIENT_STREAM, seed, patient]))
    scale = _bounded(random, mean=1.0, spread=0.05, low=0.86, high=1.14)
    slender = _bounded(random, mean=1.0, spread=0.03, low=0.93, high=1.07)
    disc = _bounded(random, mean=1.0, spread=0.1, low=0.75, high=1.25)
    tilts = _tilts(random)
    levels = tuple(
        _sized(random, level, tilt_deg=tilt, scale=scale, slender=slender, disc=disc)
        for level, tilt in zip(_TYPICAL.values(), tilts, strict=True)
    )
    bend, phase = random.normal(0.0, 2.0), random.uniform(0.0, 2 * np.pi)
    roll = [float(bend * np.sin(phase + 2 * np.pi * index / random.uniform(14, 16))) for index in range(25)]
    density = _bounded(random, mean=1.0, spread=0.15, low=0.7, high=1.35)
    return Patient(
        levels=levels,
        roll_deg=tuple(roll),
        turn_deg=tuple(-0.8 * angle for angle in roll),
        scale=scale,
        girth=_bounded(random, mean=1.0, spread=0.08, low=0.86, high=1.2),
        fat_mm=float(random.uniform(8.0, 28.0)),
        cortex_mm=float(random.uniform(1.1, 1.7)),
        cortex_hu=720.0 * density,
        cancellous_hu=210.0 * density,
        vessel_hu=float(random.choice([45.0, 45.0, 140.0, 220.0])),
        last_rib_mm=float(random.uniform(65.0, 125.0)),
        organ_seed=int(random.integers(2**31)),
    )


def _tilts(random: np.random.Generator) -> list[float]:
    # The curves are stretched about the thoracolumbar junction and T1, so that the spine stays continuous.
    lordosis, kyphosis, cervical = (_bounded(random, mean=1.0, spread=0.12, low=0.7, high=1.3) for _ in range(3))
    typical = [level.tilt_deg for level in _TYPICAL.values()]
    first, junction = typical[IDS["T1"] - 1], typical[IDS["T12"] - 1]
    top = junction + kyphosis * (first - junction)
    lean = random.normal(0.0, 1.5)
    bent = []
    for label, tilt in enumerate(typical, start=1):
        if label < IDS["T1"]:
            angle = top + cervical * (tilt - first)
        else:
            angle = junction + (lordosis if label > IDS["T12"] else kyphosis) * (tilt - junction)
        bent.append(float(angle + lean + random.normal(0.0, 0.8)))
    return bent


def _sized(
    random: np.random.Generator, level: Level, *, tilt_deg: float, scale: float, slender: float, disc: float
) -> Level:
    def jitter(spread: float) -> float:
        return scale * float(random.normal(1.0, spread))

    wide = jitter(0.02) / slender
    return replace(
        level,
        height_mm=level.height_mm * jitter(0.02) * slender,
        width_mm=level.width_mm * wide,
        depth_mm=level.depth_mm * wide,
        disc_mm=level.disc_mm * jitter(0.06) * disc,
        canal_width_mm=level.canal_width_mm * wide,
        canal_depth_mm=level.canal_depth_mm * wide,
        transverse_mm=level.transverse_mm * jitter(0.04),
        spinous_mm=level.spinous_mm * jitter(0.06),
        spinous_drop_deg=level.spinous_drop_deg + float(random.normal(0.0, 3.0)),
        spinous_height_mm=level.spinous_height_mm * jitter(0.04),
        process_mm=level.process_mm * scale,
        tilt_deg=tilt_deg,
    )


def _bounded(random: np.random.Generator, *, mean: float, spread: float, low: float, high: float) -> float:
    return float(np.clip(random.normal(mean, spread), low, high))
