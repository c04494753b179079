"""The floors of a policy as rules: each score with its interval, and the scans that hurt it most."""

from collections.abc import Callable, Iterable, Iterator

from model_registry.bootstrap import Bootstrap
from model_registry.pairing import Score, mean_dice, patient_scores, region_dice
from model_registry.policy import Floors, Policy
from model_registry.statistics import Interval, mean_interval, rate_interval
from model_registry.verdict import WORST_CASES, Rule
from spine.labels import REGIONS
from spine.metrics.scores import Evaluation, ScanScores

Counts = Callable[[ScanScores], tuple[int, int]]
"""What a rate counts in one scan: hits, and trials."""


def floor_rules(candidate: Evaluation, *, policy: Policy, bootstrap: Bootstrap) -> Iterator[Rule]:
    """Yield a rule for every floor that ``policy`` sets.

    The score itself is held to the floor; its interval over patients is told beside it. A score that the
    evaluation doesn't know, as one from nnU-Net's summary.json, leaves its rule undecided.
    """
    summary, floors = candidate.summary, policy.floors
    yield _mean_rule(
        "mean Dice (GT-present, scan mean)",
        summary.dice_scan_mean,
        floors.dice_scan_mean,
        scans=candidate.scans,
        score=mean_dice,
        bootstrap=bootstrap,
    )
    if floors.dice_label_macro is not None:
        yield _rule("mean Dice (GT-present, label macro)", summary.dice_label_macro, floors.dice_label_macro)
    yield from _rate_rules(candidate, floors, confidence=policy.champion.confidence)
    for region in summary.regions:
        floor = floors.region_dice.get(region.name)
        if floor is not None and region.scans:
            yield _mean_rule(
                f"mean Dice of {region.name}",
                region.dice,
                floor,
                scans=candidate.scans,
                score=region_dice(REGIONS[region.name]),
                bootstrap=bootstrap,
            )


def _rate_rules(candidate: Evaluation, floors: Floors, *, confidence: float) -> Iterator[Rule]:
    summary = candidate.summary
    for name, value, bound, counts, at_most in (
        ("identification rate", summary.id_rate, floors.id_rate, identified, False),
        ("scans with all levels right", summary.all_correct_rate, floors.all_correct_rate, all_right, False),
        ("scans named at a wrong level", summary.wrong_level_rate, floors.wrong_level_rate_at_most, wrong_level, True),
        ("vertebrae with another's name", summary.misnamed_rate, floors.misnamed_rate_at_most, misnamed, True),
    ):
        if bound is not None:
            patients = list(_by_patient(candidate.scans, counts))
            interval = rate_interval([hit for hit, _ in patients], [of for _, of in patients], confidence=confidence)
            worst = _worst_counts(candidate.scans, counts, at_most=at_most)
            yield _rule(name, value, bound, interval=interval, worst=worst, at_most=at_most)


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


def _mean_rule(
    name: str, value: float | None, floor: float, *, scans: Iterable[ScanScores], score: Score, bootstrap: Bootstrap
) -> Rule:
    known = {scan.case: found for scan in scans if (found := score(scan)) is not None}
    return _rule(
        name,
        value,
        floor,
        interval=mean_interval(patient_scores(scans, score), bootstrap=bootstrap),
        worst=tuple(sorted(known, key=lambda case: known[case])[:WORST_CASES]),
    )


def _rule(
    name: str,
    value: float | None,
    bound: float,
    *,
    interval: Interval | None = None,
    worst: tuple[str, ...] = (),
    at_most: bool = False,
) -> Rule:
    reached = None if value is None else value <= bound if at_most else value >= bound
    low, high = interval or (None, None)
    return Rule(
        name=name,
        value=value,
        low=low,
        high=high,
        threshold=bound,
        expected=f"at {'most' if at_most else 'least'} {bound}",
        passed=reached,
        worst_cases=worst,
    )


def _by_patient(scans: Iterable[ScanScores], counts: Counts) -> Iterable[tuple[int, int]]:
    summed: dict[str, tuple[int, int]] = {}
    for scan in scans:
        patient = scan.patient or f"scan {scan.case}"
        before, now = summed.get(patient, (0, 0)), counts(scan)
        summed[patient] = before[0] + now[0], before[1] + now[1]
    return summed.values()


def _worst_counts(scans: Iterable[ScanScores], counts: Counts, *, at_most: bool) -> tuple[str, ...]:
    """Return the scans with the most that went wrong, those of the lower Dice first; the others hurt nothing."""
    wrong = {}
    for scan in scans:
        hits, trials = counts(scan)
        wrong[scan.case] = (trials - hits if not at_most else hits, -(scan.mean_dice or 0.0))
    hurt = [case for case in wrong if wrong[case][0]]
    return tuple(sorted(hurt, key=lambda case: wrong[case], reverse=True)[:WORST_CASES])
