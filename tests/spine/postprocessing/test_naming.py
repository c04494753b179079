"""The path is the cheapest of all, by trying them all; its prices let a real anomaly be."""

from itertools import product

import numpy as np
import pytest

from spine.postprocessing.centre_line import PITCH_MM
from spine.postprocessing.naming import DecodingSettings, cheapest, step_costs

SETTINGS = DecodingSettings()


def cost_of(path, emissions, steps):
    total = sum(emissions[place, name] for place, name in enumerate(path))
    return total + sum(step[a, b] for step, a, b in zip(steps, path, path[1:], strict=False))


@pytest.mark.parametrize("seed", range(6))
def test_names_cost_and_margins_are_those_of_trying_every_path(seed):
    random = np.random.default_rng(seed)
    count, names = 4, 25
    emissions = np.full((count, names), 50.0)
    emissions[:, :6] = random.exponential(2.0, (count, 6))
    steps = [
        step_costs(gap_mm=random.uniform(5, 60), scale=1.0, lighter=random.uniform(0.1, 1), settings=SETTINGS)
        for _ in range(count - 1)
    ]
    paths = list(product(range(7), repeat=count))
    costs = np.array([cost_of(path, emissions, steps) for path in paths])
    found = cheapest(emissions, steps)
    assert found.cost == pytest.approx(costs.min())
    assert tuple(name + 1 for name in paths[int(costs.argmin())]) == found.names
    for place, name in enumerate(found.names):
        others = [cost for path, cost in zip(paths, costs, strict=True) if path[place] + 1 != name]
        assert found.margins[place] == pytest.approx(min(others) - costs.min())


def test_a_step_is_free_only_to_the_next_level_and_never_goes_up():
    costs = step_costs(gap_mm=22.0, scale=1.0, lighter=1.0, settings=SETTINGS)
    assert np.allclose(np.diagonal(costs, offset=1), 0.0)
    assert np.allclose(np.diagonal(costs), SETTINGS.repeat)
    assert np.isinf(costs[np.tril_indices(25, -1)]).all()


def test_a_skip_is_cheaper_where_the_gap_has_room_for_it():
    above, skipped = 12, 13
    room_mm = PITCH_MM[above] + PITCH_MM[skipped]
    tight = step_costs(gap_mm=PITCH_MM[above], scale=1.0, lighter=1.0, settings=SETTINGS)
    wide = step_costs(gap_mm=room_mm, scale=1.0, lighter=1.0, settings=SETTINGS)
    small_patient = step_costs(gap_mm=0.6 * room_mm, scale=0.6, lighter=1.0, settings=SETTINGS)
    assert tight[above - 1, above + 1] == pytest.approx(SETTINGS.skip)
    assert wide[above - 1, above + 1] == pytest.approx(SETTINGS.spaced_skip)
    assert small_patient[above - 1, above + 1] == pytest.approx(SETTINGS.spaced_skip)
    assert tight[above - 1, above + 2] == pytest.approx(2 * SETTINGS.skip)


def test_a_crumb_may_repeat_a_name():
    costs = step_costs(gap_mm=5.0, scale=1.0, lighter=0.02, settings=SETTINGS)
    assert costs[4, 4] == pytest.approx(0.02 * SETTINGS.repeat)


def test_more_vertebrae_than_names_still_get_names():
    found = cheapest(np.zeros((30, 25)), [step_costs(gap_mm=20, scale=1, lighter=1, settings=SETTINGS)] * 29)
    assert len(found.names) == 30
    assert list(found.names) == sorted(found.names)


def test_nothing_has_no_names():
    assert cheapest(np.zeros((0, 25)), []).names == ()
