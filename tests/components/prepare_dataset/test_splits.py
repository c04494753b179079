"""Who is locked away and who validates where: by patient, stable, each once."""

from collections import Counter

import pytest

from components.prepare_dataset.splits import FOLDS, locked_test_patients, validation_folds

LOCKED = ["case_0002", "case_0004"]
DEALT = {"case_0002": 0, "case_0005": 1, "case_0001": 2, "case_0004": 3, "case_0000": 4, "case_0003": 0}
PATIENTS = [f"patient_{number:04d}" for number in range(1000)]


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_adding_patients_never_moves_an_old_one_between_train_and_test(seed):
    few, many = set(PATIENTS[:137]), set(PATIENTS)
    before = locked_test_patients(few, seed=seed, share=0.2)
    assert locked_test_patients(many, seed=seed, share=0.2) & few == before
    assert before and before != few


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_about_the_asked_share_of_patients_is_locked_away(share):
    assert len(locked_test_patients(PATIENTS, seed=1, share=share)) / 1000 == pytest.approx(share, abs=0.04)


def test_a_larger_share_keeps_those_that_were_locked_away():
    assert locked_test_patients(PATIENTS, seed=1, share=0.2) < locked_test_patients(PATIENTS, seed=1, share=0.3)


def test_another_seed_locks_others_away():
    assert locked_test_patients(PATIENTS, seed=1, share=0.2) != locked_test_patients(PATIENTS, seed=2, share=0.2)
    assert validation_folds(PATIENTS, seed=1) != validation_folds(PATIENTS, seed=2)


def test_the_split_depends_on_nothing_but_seed_and_name():
    # Written down, so that no change of the code silently makes another test set of the same data.
    named = ["case_0000", "case_0001", "case_0002", "case_0003", "case_0004", "case_0005"]
    assert sorted(locked_test_patients(reversed(named), seed=1, share=0.5)) == LOCKED
    assert validation_folds(reversed(named), seed=1) == validation_folds(named, seed=1) == DEALT


@pytest.mark.parametrize("count", [5, 11, 1000])
def test_each_patient_validates_in_one_fold_and_folds_are_even(count):
    folds = validation_folds(PATIENTS[:count], seed=1)
    sizes = Counter(folds.values())
    assert folds.keys() == set(PATIENTS[:count])
    assert set(sizes) == set(range(FOLDS))
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_being_locked_away_says_nothing_about_the_fold():
    locked = locked_test_patients(PATIENTS, seed=1, share=0.5)
    folds = Counter(fold for patient, fold in validation_folds(PATIENTS, seed=1).items() if patient in locked)
    assert min(folds.values()) > 60
