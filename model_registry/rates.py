"""What a rate counts in one scan, hits and trials, and the rules that hold rates to their bounds."""

from collections.abc import Callable, Iterable, Iterator

from model_registry.pairing import patient_of
from model_registry.policy import Floors
from model_registry.statistics import rate_interval
from model_registry.verdict import WORST_CASES, Rule, bound_rule
from spine.metrics.scores import ScanScores
from spine.metrics.summary import is_extra_vertebra

Counts = Callable[[ScanScores], tuple[int, int]]
"""What a rate counts in one scan: hits, and trials."""


def rate_rules(scans: Iterable[ScanScores], floors: Floors, *, confidence: float) -> Iterator[Rule]:
    """Yield a rule for every rate that ``floors`` bounds: hits over trials, with its interval over patients."""
    scans = tuple(scans)
    for floor, name, counts, at_most in (
        ("id_rate", "identification rate", identified, False),
        ("all_correct_rate", "scans with all levels right", all_right, False),
        ("wrong_level_rate_at_most", "scans named at a wrong level", wrong_level, True),
        ("misnamed_rate_at_most", "vertebrae with another's name", misnamed, True),
        ("extra_vertebra_rate_at_most", "scans with an extra vertebra", extra_vertebra, True),
    ):
        bound = getattr(floors, floor)
        if bound is not None:
            patients = list(_by_patient(scans, counts))
            hits, trials = [hit for hit, _ in patients], [of for _, of in patients]
            yield bound_rule(
                floor,
                name,
                sum(hits) / sum(trials) if sum(trials) else None,
                bound,
                interval=rate_interval(hits, trials, confidence=confidence),
                worst=_worst(scans, counts, at_most=at_most),
                at_most=at_most,
            )


def identified(scan: ScanScores) -> tuple[int, int]:
    """Count the identified vertebrae of the reference, and all."""
    known = [score.identified for score in scan.labels if score.identified is not None]
    return sum(known), len(known)


def all_right(scan: ScanScores) -> tuple[int, int]:
    """Count the scan if all its levels are right."""
    return int(bool(scan.all_correct)), int(scan.all_correct is not None)


def wrong_level(scan: ScanScores) -> tuple[int, int]:
    """Count the scan if it is named at a wrong level, of those where predicted bone meets reference bone."""
    has_level = scan.level_shift is not None or bool(scan.bone_dice)
    return int(has_level and scan.level_shift != 0), int(has_level)


def misnamed(scan: ScanScores) -> tuple[int, int]:
    """Count the vertebrae that mostly have another's name, of those found as bone."""
    called = [score.called != score.label for score in scan.labels if score.reference_voxels and score.called]
    return sum(called), len(called)


def extra_vertebra(scan: ScanScores) -> tuple[int, int]:
    """Count the scan if it has a vertebra that the reference lacks, of all scans, those without labels included."""
    return int(any(is_extra_vertebra(score) for score in scan.labels)), 1


def _by_patient(scans: Iterable[ScanScores], counts: Counts) -> Iterable[tuple[int, int]]:
    summed: dict[str, tuple[int, int]] = {}
    for scan in scans:
        patient = patient_of(scan)
        before, now = summed.get(patient, (0, 0)), counts(scan)
        summed[patient] = before[0] + now[0], before[1] + now[1]
    return summed.values()


def _worst(scans: Iterable[ScanScores], counts: Counts, *, at_most: bool) -> tuple[str, ...]:
    """Return the scans with the most that went wrong, those of the lower Dice first; the others hurt nothing."""
    wrong = {}
    for scan in scans:
        hits, trials = counts(scan)
        wrong[scan.case] = (trials - hits if not at_most else hits, -(scan.mean_dice or 0.0))
    hurt = [case for case in wrong if wrong[case][0]]
    return tuple(sorted(hurt, key=lambda case: wrong[case], reverse=True)[:WORST_CASES])
