"""The demonstration raw data set: phantom scans of lumbar spines, in the layout of any known data set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from spine.errors import InvalidValueError, UnknownNameError
from spine.labels import IDS
from spine.phantom.raw_layouts import WRITERS, RawCase
from spine.phantom.scans import PhantomScan, make_scan
from spine.storage import write_text

_SET_STREAM: Final = 3
_ORIENTATIONS: Final = ("RAS", "LPS", "PIR", "LAS", "RAS")
_SPACINGS_MM: Final = ((2.5, 2.5), (3.0, 3.0), (3.5, 3.5), (2.5, 3.5), (3.0, 4.0), (4.0, 4.0))
_FIRST_LEVELS: Final = ("T11", "T12", "T12", "T11", "L1", "T12")


def write_raw_set(folder: Path, *, scans: int, seed: int, layout: str = "kaggle") -> tuple[RawCase, ...]:
    """Write a raw set in a ``layout`` below ``folder``, with ``patients.csv``, and return the cases.

    The same arguments give the same bytes. Fields of view run from about T11-L1 to about S1, spacings from 2.5
    to 4 mm, orientations vary, and every third patient has two scans. Raises InvalidValueError where ``scans`` is
    below 1 or ``seed`` below 0, and UnknownNameError for a layout that there is not.
    """
    if scans < 1:
        raise InvalidValueError("scans", scans, expected="1 or more")
    if seed < 0:
        raise InvalidValueError("seed", seed, expected="a whole number of 0 or more")
    if layout not in WRITERS:
        raise UnknownNameError("layout", layout, accepted=list(WRITERS))
    cases = tuple(
        WRITERS[layout](folder, number, patient, _make(number=number, patient=patient, scan=scan, seed=seed))
        for number, (patient, scan) in zip(range(scans), _visits(), strict=False)
    )
    rows = [f"{case.case},{case.patient}" for case in cases]
    write_text(folder / "patients.csv", "\n".join(["case,patient", *rows]) + "\n")
    return cases


def _visits() -> Iterator[tuple[int, int]]:
    patient = 0
    while True:
        yield patient, 0
        if patient % 3 == 0:
            yield patient, 1
        patient += 1


def _make(*, number: int, patient: int, scan: int, seed: int) -> PhantomScan:
    random = np.random.default_rng(np.random.SeedSequence([_SET_STREAM, seed, number]))
    in_plane, along = _SPACINGS_MM[int(random.integers(len(_SPACINGS_MM)))]
    return make_scan(
        seed=seed,
        patient=patient,
        scan=scan,
        first=IDS[_FIRST_LEVELS[int(random.integers(len(_FIRST_LEVELS)))]],
        last=IDS["S1"],
        spacing_mm=(in_plane, in_plane, along),
        orientation=_ORIENTATIONS[number % len(_ORIENTATIONS)],
    )
