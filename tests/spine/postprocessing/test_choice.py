"""Post-processing is chosen by names first, and never where it costs bone; the chosen one is applied in order."""

import numpy as np
import pytest

from spine.errors import InvalidValueError
from spine.metrics.scans import score_scan
from spine.metrics.scores import Evaluation
from spine.metrics.summary import summarize
from spine.postprocessing.choice import NOTHING, Postprocessing, apply, choose
from spine.postprocessing.decoding import decode
from spine.postprocessing.instances import find_instances
from spine.postprocessing.label_scores import sampled_evidence
from spine.postprocessing.naming import DecodingSettings
from spine.volume.nifti import Volume


@pytest.fixture(scope="module")
def evaluation(plant):
    """A function of rates that gives an evaluation with them."""
    volume = plant.spine(patient=1, first=20, last=21, spacing_mm=6.0)
    scan = score_scan(case="case_0000", patient=None, reference=volume, prediction=volume)
    summary = summarize((scan,))

    def build(*, correct=0.8, identified=0.9, dice=0.9, case="case_0000"):
        rates = {"all_correct_rate": correct, "id_rate": identified, "dice_scan_mean": dice}
        scans = (scan.model_copy(update={"case": case}),)
        return Evaluation(name="tiny", scans=scans, summary=summary.model_copy(update=rates))

    return build


def test_more_scans_with_all_levels_right_win_over_dice(evaluation):
    assert choose({"none": evaluation(), "decoding": evaluation(correct=0.9)}) == "decoding"
    assert choose({"none": evaluation(), "components": evaluation(dice=0.95), "decoding": evaluation(correct=0.9)}) == (
        "decoding"
    )


def test_then_the_id_rate_then_dice_decide(evaluation):
    assert choose({"none": evaluation(), "decoding": evaluation(identified=0.91)}) == "decoding"
    assert choose({"none": evaluation(), "components": evaluation(dice=0.91)}) == "components"


def test_what_costs_more_dice_than_a_hair_is_never_chosen(evaluation):
    assert choose({"none": evaluation(), "decoding": evaluation(correct=1.0, dice=0.899)}) == "none"
    assert choose({"none": evaluation(), "decoding": evaluation(correct=1.0, dice=0.8996)}) == "decoding"


def test_equal_ones_give_way_to_the_simplest(evaluation):
    same = {name: evaluation() for name in ("components + decoding", "decoding", "components", "none")}
    assert choose(same) == "none"
    better = {name: evaluation(correct=0.9) for name in ("components + decoding", "decoding")}
    assert choose({"none": evaluation(), **better}) == "decoding"


def test_rates_that_are_unknown_are_no_gain(evaluation):
    unknown = evaluation(correct=None, identified=None, dice=None)
    assert choose({"none": unknown, "decoding": unknown}) == "none"


def test_other_names_other_cases_and_no_baseline_are_refused(evaluation):
    with pytest.raises(InvalidValueError, match="alternatives"):
        choose({"decoding": evaluation()})
    with pytest.raises(InvalidValueError, match="alternatives"):
        choose({"none": evaluation(), "magic": evaluation()})
    with pytest.raises(InvalidValueError, match="cases of 'decoding'"):
        choose({"none": evaluation(), "decoding": evaluation(case="case_0001")})


def test_nothing_does_nothing(plant):
    labels = plant.spine(patient=2)
    done = apply(labels, postprocessing=NOTHING)
    assert done.labels is labels
    assert done.vertebrae == ()


def test_a_misnamed_vertebra_is_renamed_before_only_one_of_its_name_is_kept(plant):
    fault = plant.renamed(plant.spine(patient=3), {14: 16})
    both = Postprocessing(keep_largest=tuple(range(1, 26)), decoding=DecodingSettings())
    done = apply(fault.prediction, postprocessing=both)
    true = np.count_nonzero(fault.reference.array == 14)
    assert np.count_nonzero(done.labels.array == 14) > 0.95 * true
    plain = decode(fault.prediction, settings=DecodingSettings()).vertebrae
    assert [(named.label, named.flags) for named in done.vertebrae] == [(named.label, named.flags) for named in plain]


def test_with_evidence_vertebrae_are_told_also_where_nothing_is_renamed(plant):
    fault = plant.renamed(plant.spine(patient=20), {14: 13})
    softmax = plant.softmax(fault.reference, {14: {13: 0.5, 14: 0.4, 15: 0.1}})
    found = find_instances(fault.prediction)
    evidence = sampled_evidence(found, softmax)
    done = apply(fault.prediction, postprocessing=NOTHING, evidence=evidence, instances=found)
    assert np.array_equal(done.labels.array, fault.prediction.array)
    (doubted,) = [named for named in done.vertebrae if "another name likelier" in named.flags]
    assert (doubted.label, doubted.confidence) == (13, pytest.approx(0.5, abs=0.02))
    sure = [named for named in done.vertebrae if named is not doubted]
    assert sure and all(named.confidence == pytest.approx(1.0, abs=0.02) for named in sure)
    assert not any("another name likelier" in named.flags for named in sure)


def test_components_alone_keep_the_largest_of_the_labels_named(plant):
    labels = plant.spine(patient=4)
    array = labels.array.copy()
    array[0, 0, 0], array[-1, -1, -1] = 14, 15
    done = apply(Volume(array=array, grid=labels.grid), postprocessing=Postprocessing(keep_largest=(14,)))
    assert done.labels.array[0, 0, 0] == 0
    assert done.labels.array[-1, -1, -1] == 15


def test_a_postprocessing_is_stored_as_json_and_comes_back():
    stored = Postprocessing(keep_largest=(1, 25), decoding=DecodingSettings(margin=2.0))
    assert Postprocessing.from_json(stored.model_dump_json(), where="postprocessing.json") == stored
