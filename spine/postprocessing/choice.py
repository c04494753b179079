"""What is done to every prediction of a model, and how that is chosen: on the folds, never on the test set."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.errors import InvalidValueError
from spine.metrics.scores import Evaluation
from spine.postprocessing.after_component_removal import remaining
from spine.postprocessing.components import keep_largest
from spine.postprocessing.decoding import Decoded, decode
from spine.postprocessing.instances import Instances, find_instances
from spine.postprocessing.label_scores import Evidence
from spine.postprocessing.naming import DecodingSettings
from spine.values import WrittenValue
from spine.volume.nifti import Volume

NONE: Final = "none"
COMPONENTS: Final = "components"
DECODING: Final = "decoding"
BOTH: Final = "components + decoding"
SIMPLEST_FIRST: Final = (NONE, COMPONENTS, DECODING, BOTH)
HAIR: Final = 0.0005
"""Scan-mean Dice that better names may cost; differences below it decide nothing."""


class Postprocessing(WrittenValue):
    """What is done to a model's predictions: names decoded, then the largest component of some labels kept."""

    FIRST_FIELDS = frozenset({"keep_largest", "decoding"})

    keep_largest: tuple[int, ...] = ()
    decoding: DecodingSettings | None = None


NOTHING: Final = Postprocessing()
_LOOKED_AT: Final = DecodingSettings(rename=False)


def apply(
    labels: Volume,
    *,
    postprocessing: Postprocessing,
    evidence: Evidence | NDArray[np.float64] | None = None,
    instances: Instances | None = None,
) -> Decoded:
    """Return the finished label map, and its vertebrae where it is decoded or ``evidence`` is given, else ().

    Without decoding every vertebra keeps the network's name, and is told where another one is likelier.
    Decoding comes first, so that a vertebra under another's name is renamed before only one of the two is kept; the
    components must be chosen on decoded maps as well. ``evidence`` and ``instances`` are those of ``labels``.
    Raises what ``decode`` raises.
    """
    settings = postprocessing.decoding
    if settings is None and evidence is None:
        return Decoded(labels=_with_largest(labels, postprocessing), vertebrae=())
    found = find_instances(labels) if instances is None else instances
    decoded = decode(labels, settings=settings or _LOOKED_AT, evidence=evidence, instances=found)
    if not postprocessing.keep_largest:
        return decoded
    return remaining(decoded, _with_largest(decoded.labels, postprocessing), instances=found)


def _with_largest(labels: Volume, postprocessing: Postprocessing) -> Volume:
    if not postprocessing.keep_largest:
        return labels
    return Volume(array=keep_largest(labels.array, postprocessing.keep_largest), grid=labels.grid)


def choose(alternatives: Mapping[str, Evaluation]) -> str:
    """Choose among evaluations of one model's out-of-fold predictions, by the names in ``SIMPLEST_FIRST``.

    The best rate of scans with all levels right wins, then the ID rate, then the scan-mean Dice; the simplest of
    equal ones. What costs more scan-mean Dice than a hair against doing nothing is never chosen.
    Raises InvalidValueError without ``none``, for an unknown name, and for evaluations of different cases.
    """
    unknown = sorted(set(alternatives) - set(SIMPLEST_FIRST))
    if NONE not in alternatives or unknown:
        raise InvalidValueError("alternatives", sorted(alternatives), expected=f"'{NONE}' and any of {SIMPLEST_FIRST}")
    cases = {name: sorted(scan.case for scan in evaluation.scans) for name, evaluation in alternatives.items()}
    odd = next((name for name in cases if cases[name] != cases[NONE]), None)
    if odd is not None:
        raise InvalidValueError(f"cases of '{odd}'", len(cases[odd]), expected=f"the {len(cases[NONE])} of '{NONE}'")
    least = _known(alternatives[NONE].summary.dice_scan_mean) - HAIR
    allowed = [
        name
        for name in SIMPLEST_FIRST
        if name in alternatives and (name == NONE or _known(alternatives[name].summary.dice_scan_mean) >= least)
    ]
    return max(allowed, key=lambda name: _rank(alternatives[name]))


def _rank(evaluation: Evaluation) -> tuple[float, float, float]:
    summary = evaluation.summary
    hairs = round(_known(summary.dice_scan_mean) / HAIR)
    return round(_known(summary.all_correct_rate), 9), round(_known(summary.id_rate), 9), float(hairs)


def _known(rate: float | None) -> float:
    return 0.0 if rate is None else rate
