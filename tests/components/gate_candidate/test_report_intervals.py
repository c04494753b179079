"""The region table: means over patients with their intervals, the numbers that the rules decide on."""

from collections.abc import Callable

import pytest

from components.gate_candidate.report.entrants import Entrant
from components.gate_candidate.report.regions import regions_table
from model_registry.gate import judge
from model_registry.intervals import groups
from model_registry.policy import Floors, Policy
from spine.labels import REGIONS
from spine.metrics.scores import Evaluation
from spine.metrics.summary import summarize

Realistic = Callable[..., tuple[Evaluation, Evaluation]]
Counted = Callable[[Evaluation], Evaluation]


def test_groups_are_all_whole_and_cut_vertebrae_and_every_region(realistic: Realistic) -> None:
    candidate, _ = realistic()
    found = groups(candidate)
    assert [group.name for group in found] == ["All vertebrae", "Whole vertebrae", "Cut by the border", *REGIONS]
    everything, whole, cut = found[:3]
    assert everything.vertebrae == whole.vertebrae + cut.vertebrae == sum(group.vertebrae for group in found[3:])
    assert everything.missed == candidate.summary.missed_labels


def test_values_are_what_the_verdict_decides_on_and_lie_in_their_intervals(realistic: Realistic) -> None:
    candidate = unequal(realistic()[0])
    floors = Floors(dice_scan_mean=0.5, id_rate=0.5, region_dice={"L1-L5": 0.5})
    policy = Policy(name="x", about="For tests.", minimum_scans=4, floors=floors)
    verdict = judge(candidate=candidate, champion=None, policy=policy)
    rules = {rule.name: rule for rule in verdict.rules}
    found = {group.name: group for group in groups(candidate)}
    everything = found["All vertebrae"]
    for estimate, name in (
        (everything.dice, "mean Dice (GT-present, over patients)"),
        (everything.id_rate, "identification rate"),
        (found["L1-L5"].dice, "mean Dice of L1-L5"),
    ):
        rule = rules[name]
        assert (estimate.value, estimate.interval) == (rule.value, (rule.low, rule.high))
    assert everything.dice.value != pytest.approx(candidate.summary.dice_scan_mean, abs=1e-6), "a mean over scans"
    for group in found.values():
        for estimate in (group.dice, group.nsd_3mm, group.hd95_mm, group.id_rate):
            assert estimate.value is not None and estimate.interval is not None
            assert estimate.interval[0] <= estimate.value <= estimate.interval[1]


def unequal(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with a third of its scans those of one patient."""
    scans = tuple(
        scan.model_copy(update={"patient": "one"}) if place % 3 == 0 else scan
        for place, scan in enumerate(evaluation.scans)
    )
    return Evaluation(name="unequal", scans=scans, summary=summarize(scans))


def test_patients_are_what_counts_not_scans(realistic: Realistic) -> None:
    candidate, _ = realistic()
    one = [scan.model_copy(update={"patient": "one"}) for scan in candidate.scans]
    same = Evaluation(name="one patient", scans=tuple(one), summary=summarize(one))
    assert groups(same)[0].patients == 1 and groups(candidate)[0].patients == 52
    assert groups(same)[0].dice.interval is None


def test_what_an_evaluation_does_not_know_is_a_dash(realistic: Realistic, counted: Counted) -> None:
    unknown = counted(realistic()[0])
    everything, whole = groups(unknown)[:2]
    assert everything.dice.interval is not None
    assert (everything.nsd_3mm.value, everything.hd95_mm.value, everything.id_rate.value) == (None, None, None)
    assert (whole.patients, whole.dice.value) == (0, None)
    row = regions_table([Entrant("x", unknown)]).html.split("Whole vertebrae")[1].split("</tr>")[0]
    assert row.count("–") == 7


def test_the_table_shows_values_with_their_intervals(realistic: Realistic) -> None:
    candidate, champion = realistic()
    html = regions_table([Entrant("candidate", candidate), Entrant("model in use", champion)]).html
    dice = groups(champion)[0].dice
    assert dice.value is not None and dice.interval is not None
    assert f"{dice.value:.3f}" in html
    assert f"{dice.interval[0]:.3f} to {dice.interval[1]:.3f}" in html
    assert html.count("<tr") == 1 + 2 * (3 + len(REGIONS))


def test_distances_have_intervals_in_millimetres(realistic: Realistic) -> None:
    found = groups(realistic()[0])[0].hd95_mm
    assert found.interval is not None
    assert found.interval == pytest.approx((5.0, 9.0), abs=2.0)
