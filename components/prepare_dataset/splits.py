"""A locked test set and five folds, by patient, decided by each patient's own hash.

A patient's place depends on the seed and its name alone as far as test or train goes, so adding cases never moves
an old one between them. Folds are dealt in the order of the hashes, so that their sizes stay even.
"""

import hashlib
from collections.abc import Iterable

FOLDS = 5


def locked_test_patients(patients: Iterable[str], *, seed: int, share: float) -> set[str]:
    """Return the patients whose hash falls below ``share``."""
    return {patient for patient in patients if _fraction(f"test {seed} {patient}") < share}


def validation_folds(patients: Iterable[str], *, seed: int) -> dict[str, int]:
    """Deal training patients to the folds that validate on them."""
    ordered = sorted(set(patients), key=lambda patient: _fraction(f"fold {seed} {patient}"))
    return {patient: index % FOLDS for index, patient in enumerate(ordered)}


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
