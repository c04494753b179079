"""What a verdict needs before any score counts: evaluations that don't contradict themselves, of enough patients."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from model_registry.errors import EvidenceError
from model_registry.pairing import patient_of
from model_registry.policy import Policy
from model_registry.verdict import WORST_CASES, Rule
from spine.labels import IDS, REGIONS
from spine.metrics.consistency_checks import fault
from spine.metrics.scores import Evaluation, ScanScores
from spine.metrics.summary import summarize
from spine.values import Value


def require_sound(evaluation: Evaluation) -> None:
    """Raise EvidenceError for an evaluation that contradicts itself: files can be edited.

    That is a scan whose scores don't fit its counts, a summary that its scans don't come to, a scan that counts
    twice, and names that are known of some scans only, which would leave out the others.
    """
    for scan in evaluation.scans:
        if found := fault(scan):
            raise EvidenceError(f"'{evaluation.name}', case {scan.case}: {found}")
    if not _agree(evaluation.summary, summarize(evaluation.scans)):
        raise EvidenceError(f"'{evaluation.name}': its summary does not follow from its {len(evaluation.scans)} scans")
    cases = Counter(scan.case for scan in evaluation.scans)
    twice = next((case for case, count in cases.items() if count > 1), None)
    if twice is not None:
        raise EvidenceError(f"'{evaluation.name}': case {twice} is there {cases[twice]} times; expected once")
    labelled = [scan for scan in evaluation.scans if scan.mean_dice is not None]
    unknown = [scan.case for scan in labelled if scan.all_correct is None or scan.bone_dice is None]
    if 0 < len(unknown) < len(labelled):
        raise EvidenceError(
            f"'{evaluation.name}', case {unknown[0]}: whether its levels are right is not known, but of other scans "
            "it is; expected it of all or of none"
        )


def _agree(stored: Any, now: Any) -> bool:
    """Tell whether a stored value is what is computed now, in every field that its format had."""
    if isinstance(stored, Value) and isinstance(now, Value):
        return all(_agree(getattr(stored, name), getattr(now, name, None)) for name in stored.model_fields_set)
    if isinstance(stored, tuple) and isinstance(now, tuple):
        return len(stored) == len(now) and all(map(_agree, stored, now))
    return bool(stored == now)


def evidence_rules(scans: Sequence[ScanScores], policy: Policy) -> Iterator[Rule]:
    """Yield the rules on what was seen: enough patients, in all and of what the policy requires, and no crash."""
    yield _at_least("minimum_scans", "patients with labels", _patients(scans, IDS.values()), policy.minimum_scans)
    yield _none_missing(scans)
    for region in policy.required_regions:
        shown = _patients(scans, REGIONS[region])
        needed = policy.champion.minimum_region_patients
        yield _at_least(f"required_regions.{region}", f"patients that show {region}", shown, needed)
    for level in policy.required_levels:
        shown = _patients(scans, (IDS[level],))
        yield _at_least(f"required_levels.{level}", f"patients that show {level}", shown, 1)


def _none_missing(scans: Sequence[ScanScores]) -> Rule:
    missing = [scan.case for scan in scans if scan.missing]
    unknown = not missing and any(scan.missing is None for scan in scans)
    return Rule(
        id="missing_predictions",
        kind="count",
        name="missing predictions",
        value=None if unknown else len(missing),
        threshold=0,
        expected="none (nnU-Net's summary lists predictions only)" if unknown else "none",
        passed=None if unknown else not missing,
        worst_cases=tuple(missing[:WORST_CASES]),
    )


def _patients(scans: Sequence[ScanScores], labels: Collection[int]) -> int:
    """Return how many patients show any of the labels; a scan of an unknown patient counts as one."""
    return len(
        {
            patient_of(scan)
            for scan in scans
            if any(score.reference_voxels and score.label in labels for score in scan.labels)
        }
    )


def _at_least(rule_id: str, name: str, patients: int, needed: int) -> Rule:
    enough = patients >= needed
    return Rule(
        id=rule_id,
        kind="count",
        name=name,
        value=patients,
        threshold=needed,
        expected=f"at least {needed}",
        passed=True if enough else None,
        more_cases=None if enough else needed - patients,
    )
