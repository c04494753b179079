"""Levels and errors can be told apart in pictures, those that lost their colour included."""

from itertools import combinations, pairwise

import numpy as np

from spine.drawing.shading import ERRORS, RGB, level_look, swatch, with_levels
from spine.labels import IDS, NAMES

_BONE = 0.65


def _grey(picture: RGB) -> np.ndarray:
    return picture @ np.array([0.299, 0.587, 0.114])


def _painted(label: int) -> np.ndarray:
    return _grey(with_levels(np.full((45, 45, 3), _BONE), np.full((45, 45), label, dtype=np.uint8)))[1:-1, 1:-1]


def test_no_two_levels_have_one_look() -> None:
    looks = [(level_look(label).ground, level_look(label).pattern) for label in NAMES]
    assert len(set(looks)) == len(NAMES)


def test_levels_up_to_nine_apart_differ_in_grey() -> None:
    pictures = {label: _painted(label) for label in NAMES}
    for first, second in combinations(NAMES, 2):
        if second - first <= 9:
            apart = float(np.abs(pictures[first] - pictures[second]).mean())
            assert apart > 0.08, f"{NAMES[first]} and {NAMES[second]} differ by {apart:.3f}"


def test_levels_that_a_reader_may_confuse_share_no_colour() -> None:
    for first, second in combinations(NAMES, 2):
        assert second - first > 7 or level_look(first).ground != level_look(second).ground
    # A transitional vertebra: the last with ribs, and the sacrum below.
    t12, s1 = level_look(IDS["T12"]), level_look(IDS["S1"])
    assert (t12.pattern((45, 45)) != s1.pattern((45, 45))).mean() > 0.25


def test_every_level_stands_out_from_bone_in_grey() -> None:
    for label in NAMES:
        assert (np.abs(_painted(label) - _BONE) > 0.2).mean() > 0.25, NAMES[label]


def test_neighbours_take_turns_in_light_and_dark() -> None:
    means = [float(_grey(np.array([level_look(label).ground])).item()) for label in NAMES]
    assert all(abs(first - second) > 0.25 for first, second in pairwise(means))


def test_errors_differ_in_grey_before_their_patterns_are_seen() -> None:
    means = sorted(float(_grey(swatch(error, rows=18, columns=30)).mean()) for error in ERRORS)
    assert all(second - first > 0.12 for first, second in pairwise(means))
    assert len({error.look.pattern for error in ERRORS}) == 3
