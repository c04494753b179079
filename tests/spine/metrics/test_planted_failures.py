"""Planted failures: for each, which scores must get worse and which must not move. Read the table as documentation.

Two phantom scans, cut by the field of view at both ends. What is planted is planted in the first; the second is
perfect, so that a score moves as far as one scan of two can move it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from spine.labels import IDS
from spine.metrics.scans import score_scan
from spine.metrics.scores import Summary
from spine.metrics.summary import summarize
from spine.phantom import make_scan
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

Mask = NDArray[np.uint8]

SCORES: dict[str, Callable[[Summary], float]] = {
    "dice": lambda summary: summary.dice_scan_mean,
    "nnunet": lambda summary: summary.dice_nnunet,
    "bone": lambda summary: summary.bone_dice,
    "id": lambda summary: summary.id_rate,
    "all-right": lambda summary: summary.all_correct_rate,
    "wrong-level": lambda summary: -summary.wrong_level_rate,
    "misnamed": lambda summary: -summary.misnamed_rate,
    "localisation": lambda summary: -summary.localisation_mm,
    "nsd": lambda summary: summary.nsd_3mm,
    "hd95": lambda summary: -summary.hd95_mm,
    "missed": lambda summary: -summary.missed_labels,
    "extra": lambda summary: -summary.false_positive_labels,
    "whole": lambda summary: summary.whole.dice,
    "border": lambda summary: summary.border.dice,
}
"""Every score with its sign turned so that less is worse."""


@dataclass(frozen=True)
class Planted:
    """A failure: the prediction, and a reference of its own where the anatomy itself is unusual."""

    prediction: Callable[[Mask], Mask | None]
    worse: str
    same: str
    reference: Callable[[Mask], Mask] = lambda mask: mask


def named(mask: Mask, names: dict[str, str | None]) -> Mask:
    """Give vertebrae other names; None is background."""
    table = np.arange(26, dtype=np.uint8)
    for old, new in names.items():
        table[IDS[old]] = IDS[new] if new else 0
    return table[mask]


def shifted(mask: Mask, by: int, *, first: str = "C1", last: str = "S1") -> Mask:
    """Shift the names of a block."""
    inside = (mask >= IDS[first]) & (mask <= IDS[last])
    return np.where(inside, mask + np.uint8(by % 256), mask).astype(np.uint8)


def upside_down(mask: Mask) -> Mask:
    """Turn the order of the names, not the bone."""
    held = np.unique(mask)[1:]
    table = np.zeros(26, dtype=np.uint8)
    table[held] = held[::-1]
    return table[mask]


def split(mask: Mask, *, vertebra: str, upper: str, share: float = 0.5) -> Mask:
    """Name the upper part of a vertebra otherwise."""
    inside = mask == IDS[vertebra]
    heights = np.nonzero(inside)[2]
    above = np.arange(mask.shape[2]) > np.quantile(heights, 1 - share)
    return np.where(inside & above, np.uint8(IDS[upper]), mask)


def with_box(mask: Mask, *, name: str) -> Mask:
    """Add a vertebra that isn't there: 729 voxels in front of the spine."""
    grown = mask.copy()
    grown[20:29, -9:, 60:69] = IDS[name]
    return grown


def grown(mask: Mask, *, vertebra: str) -> Mask:
    """Let a vertebra grow by two voxels into the background in front of it."""
    inside = mask == IDS[vertebra]
    near = inside | np.roll(inside, 1, axis=1) | np.roll(inside, 2, axis=1)
    return np.where(near & (mask == 0), np.uint8(IDS[vertebra]), mask)


def eleven_ribs(mask: Mask) -> Mask:
    """A patient without T12: counted from the neck, L1 comes after T11."""
    return shifted(mask, -1, last="T12")


def six_lumbar(mask: Mask) -> Mask:
    """A patient with six lumbar vertebrae, cut below them: the last has no name among the 25 and is background."""
    return shifted(named(mask, {"L3": None}), 3)


FAILURES = {
    "the whole spine one level too low": Planted(
        prediction=lambda mask: shifted(mask, 1),
        worse="dice nnunet id all-right wrong-level misnamed nsd hd95 missed extra whole border",
        same="bone localisation",  # localisation is over vertebrae identified: none of these is
    ),
    "the whole spine one level too high": Planted(
        prediction=lambda mask: shifted(mask, -1),
        worse="dice nnunet id all-right wrong-level misnamed nsd hd95 missed extra whole border",
        same="bone localisation",
    ),
    "a block one level too low, the last of it merged into its neighbour": Planted(
        prediction=lambda mask: shifted(mask, 1, first="T8", last="T10"),
        worse="dice nnunet id all-right misnamed localisation nsd hd95 missed whole",
        same="bone wrong-level extra border",  # the level of a scan is that of most of its bone
    ),
    "a split vertebra, less than half of it named as its neighbour": Planted(
        prediction=lambda mask: split(mask, vertebra="L1", upper="T12", share=0.4),
        worse="dice nnunet localisation nsd hd95 whole",
        same="bone id all-right wrong-level misnamed missed extra border",  # centroids move by millimetres only
    ),
    "a split vertebra, most of it named as its neighbour": Planted(
        prediction=lambda mask: split(mask, vertebra="L1", upper="T12", share=0.8),
        worse="dice nnunet localisation nsd hd95 misnamed whole",
        same="bone wrong-level missed extra border",
    ),
    "two vertebrae under one name": Planted(
        prediction=lambda mask: named(mask, {"L1": "T12"}),
        worse="dice nnunet id all-right misnamed localisation nsd hd95 missed whole",
        same="bone wrong-level extra border",
    ),
    "names in the order from below": Planted(
        prediction=upside_down,
        worse="dice nnunet id all-right misnamed nsd hd95 whole border",
        same="bone missed extra",
    ),
    "the mask upside down": Planted(
        prediction=lambda mask: mask[:, :, ::-1],
        worse="dice nnunet bone id all-right misnamed nsd hd95 whole border",
        same="missed extra",
    ),
    "the mask back to front": Planted(
        prediction=lambda mask: mask[:, ::-1],
        worse="dice nnunet bone id all-right localisation nsd hd95 whole border",
        same="wrong-level misnamed missed extra",  # every name is right, in a wrong place
    ),
    "a border fragment missed": Planted(
        prediction=lambda mask: named(mask, {"T5": None}),
        worse="dice nnunet bone id all-right nsd missed border",
        same="wrong-level misnamed localisation hd95 extra whole",  # HD95 is of what was found
    ),
    "a border fragment named as the vertebra above": Planted(
        prediction=lambda mask: named(mask, {"T5": "T4"}),
        worse="dice nnunet id all-right misnamed nsd missed extra border",
        same="bone wrong-level localisation hd95 whole",
    ),
    "a border fragment drawn too large": Planted(
        prediction=lambda mask: grown(mask, vertebra="T5"),
        worse="dice nnunet bone localisation hd95 border",
        same="id all-right wrong-level misnamed missed extra whole",
    ),
    "a missing T12 that is seen as such": Planted(
        reference=eleven_ribs,
        prediction=eleven_ribs,
        worse="",
        same=" ".join(SCORES),  # a gap in the names is anatomy
    ),
    "a missing T12 that is predicted, so that all ribs are counted one too low": Planted(
        reference=eleven_ribs,
        prediction=lambda mask: mask,
        worse="dice nnunet id all-right misnamed nsd hd95 missed extra whole border",
        same="bone localisation",
    ),
    "an L6 without a label that is left out": Planted(
        reference=six_lumbar,
        prediction=six_lumbar,
        worse="",
        same=" ".join(SCORES),
    ),
    "an L6 without a label that is counted as L5": Planted(
        reference=six_lumbar,
        prediction=lambda mask: shifted(mask, 2),
        worse="dice nnunet bone id all-right wrong-level misnamed nsd hd95 extra whole border",
        same="localisation",
    ),
    "an L6 without a label that is called L5 as well": Planted(
        reference=six_lumbar,
        prediction=lambda mask: np.where(mask == IDS["L3"], np.uint8(IDS["L5"]), six_lumbar(mask)),
        worse="dice nnunet bone localisation nsd hd95",
        same="wrong-level misnamed missed extra",
    ),
    "a missing case": Planted(
        prediction=lambda mask: None,
        worse="dice nnunet bone id all-right nsd missed whole border",
        same="wrong-level misnamed localisation hd95 extra",  # a crash names nothing, so it can't dilute these either
    ),
    "a vertebra that isn't there": Planted(
        prediction=lambda mask: with_box(mask, name="C3"),
        worse="nnunet bone all-right extra",
        same="dice id wrong-level misnamed localisation nsd hd95 missed whole border",  # these ask about the reference
    ),
}


@cache
def scans() -> tuple[Volume, Volume]:
    """Return the labels of the two scans, the first cropped to end in L3."""
    first = make_scan(seed=3, patient=1, first=12, last=22).labels
    below = int(np.nonzero(first.array == IDS["L4"])[2].max()) + 1
    cropped = first.array[:, :, below:]
    grid = Grid.of(cropped.shape, first.grid.matrix)
    return Volume(array=cropped, grid=grid), make_scan(seed=3, patient=2, first=14).labels


def evaluated(planted: Planted) -> Summary:
    volume, other = scans()
    reference = Volume(array=np.ascontiguousarray(planted.reference(volume.array)), grid=volume.grid)
    mask = planted.prediction(volume.array)
    prediction = None if mask is None else Volume(array=np.ascontiguousarray(mask), grid=volume.grid)
    return summarize(
        [
            score_scan(case="planted", patient=None, reference=reference, prediction=prediction),
            score_scan(case="perfect", patient=None, reference=other, prediction=other),
        ]
    )


@pytest.mark.parametrize("name", FAILURES)
def test_a_planted_failure_moves_the_scores_that_it_must_and_no_others(name):
    planted = FAILURES[name]
    worse, same = set(planted.worse.split()), set(planted.same.split())
    assert worse | same <= set(SCORES) and not worse & same
    found = evaluated(planted)
    perfect = evaluated(Planted(reference=planted.reference, prediction=planted.reference, worse="", same=""))
    drops = {score: read(perfect) - read(found) for score, read in SCORES.items()}
    assert {score for score in worse if drops[score] < 1e-3} == set()
    assert {score for score in same if abs(drops[score]) > 1e-9} == set()


def test_every_score_is_moved_by_a_failure():
    assert {score for planted in FAILURES.values() for score in planted.worse.split()} == set(SCORES)
