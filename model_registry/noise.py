"""How far one recipe moves from training to training: the noise that a policy's margins must exceed."""

from collections.abc import Iterator

from model_registry.differences import compared_name, compared_scores
from model_registry.errors import EvidenceError
from model_registry.input_checks import require_sound
from model_registry.pairing import Pair, paired_scans, patient_differences, scan_differences
from model_registry.policy import Policy
from model_registry.statistics import PairedDifference, bootstrap_of, paired_difference
from spine.metrics.scores import Evaluation
from spine.values import Value


class MarginNoise(Value):
    """One margin of a policy beside the difference of two trainings that should not differ."""

    name: str
    margin: float
    difference: PairedDifference
    noise: float | None
    """The end of the interval that lies farther from 0; None with fewer than two patients."""
    exceeded: bool | None
    """Whether the margin exceeds the noise."""


class Noise(Value):
    """All margins beside the noise, on one test set."""

    first: str
    second: str
    policy_name: str
    policy_version: int
    policy: str
    margins: tuple[MarginNoise, ...]
    not_compared: tuple[str, ...]
    """Regions that too few patients show."""
    summary: str

    @property
    def within_margins(self) -> bool:
        """Return whether every margin is known to exceed its noise."""
        return all(margin.exceeded for margin in self.margins)


def measure_noise(first: Evaluation, second: Evaluation, policy: Policy) -> Noise:
    """Return the difference of two trainings of one recipe, other seeds, for each rule that has a margin.

    Paired on the same scans, second minus first. A margin that the interval reaches would let the gate take
    chance for quality. Raises EvidenceError where the two are one and the same, not of the same scans, references
    and patients, or contradict themselves.
    """
    for evaluation in (first, second):
        require_sound(evaluation)
    pairs = paired_scans(first, second)
    if all(one == other for one, other in pairs):
        raise EvidenceError(f"'{first.name}' and '{second.name}' have the same scores; expected two trainings")
    measured = list(_margins([(other, one) for one, other in pairs], policy))
    enough = policy.champion.minimum_region_patients
    judged = tuple(each for each in measured if each.difference.patients >= enough or each is measured[0])
    few = tuple(each.name for each in measured if each not in judged and each.difference.patients)
    return Noise(
        first=first.name,
        second=second.name,
        policy_name=policy.name,
        policy_version=policy.version,
        policy=policy.digest,
        margins=judged,
        not_compared=few,
        summary=_in_words(judged, few),
    )


def _margins(pairs: list[Pair], policy: Policy) -> Iterator[MarginNoise]:
    # A superior rule has no margin overall; the one of non-inferiority is still what noise is held to.
    settings = policy.champion.model_copy(update={"rule": "non-inferior"})
    bootstrap = bootstrap_of(settings)
    for part, score, bound in compared_scores(settings):
        values = patient_differences(pairs, scan_differences(pairs, score))
        difference = paired_difference(values, settings=settings, bootstrap=bootstrap)
        ends = (difference.low, difference.high)
        noise = max((abs(end) for end in ends if end is not None), default=None)
        exceeded = None if noise is None else -bound > noise
        yield MarginNoise(
            name=compared_name(part), margin=-bound, difference=difference, noise=noise, exceeded=exceeded
        )


def _in_words(margins: tuple[MarginNoise, ...], not_compared: tuple[str, ...]) -> str:
    within = [margin.name for margin in margins if margin.exceeded is False]
    unknown = [margin.name for margin in margins if margin.exceeded is None]
    said = [f"{len(margins) - len(within) - len(unknown)} of {len(margins)} margins exceed the noise"]
    if within:
        said.append(f"within it: {', '.join(within)}; widen these margins or add scans")
    if unknown:
        said.append(f"too few patients to tell: {', '.join(unknown)}")
    if not_compared:
        said.append(f"not compared, too few patients: {', '.join(not_compared)}")
    return "; ".join(said)
