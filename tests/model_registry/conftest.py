"""Evidence made of numbers, bundles made of a few bytes, and registries that hold them."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from model_registry.bundle import MANIFEST_FILE, Bundle, BundleManifest, list_files
from model_registry.gate import judge
from model_registry.lifecycle import Registry
from model_registry.policy import AgainstChampion, Floors, Policy
from spine.metrics.scores import Evaluation, LabelScore, ScanScores
from spine.metrics.summary import summarize
from spine.storage import digest_file, write_json, write_text

LUMBAR = (20, 21, 22, 23, 24)
VOXELS = 1_000_000
"""Of every vertebra, so that any Dice follows from counts to six digits."""
EXTRA = LabelScore(
    label=1, reference_voxels=0, predicted_voxels=501, common_voxels=0, dice=None, at_border=None, identified=None,
    localisation_mm=None,
)  # fmt: skip
"""A vertebra that the reference lacks."""
Evaluate = Callable[..., Evaluation]
MakePolicy = Callable[..., Policy]
WriteEvidence = Callable[..., Bundle]


def _scan(
    case: str, dice: float, labels: Sequence[int], *, patient: str | None, missing: bool, shift: int,
    called: int | None, smaller: bool, extra: bool,
) -> ScanScores:  # fmt: skip
    common = 0 if missing else round(VOXELS * dice)
    # The same Dice of a reference that has a voxel less, and one voxel more in the prediction.
    reference, predicted = VOXELS - smaller, 0 if missing else VOXELS + smaller
    dice = 2 * common / (reference + predicted)
    scores = tuple(
        LabelScore(
            label=label, reference_voxels=reference, predicted_voxels=predicted, common_voxels=common, dice=dice,
            at_border=False, identified=dice > 0.5, localisation_mm=1.0 if dice > 0.5 else None,
            called=label if called is None or place else called,
        )
        for place, label in enumerate(labels)
    )  # fmt: skip
    return ScanScores(
        case=case, patient=patient, labels=(*scores, EXTRA) if extra else scores, mean_dice=dice if labels else None,
        bone_dice=dice if labels else None, all_correct=dice > 0.5 and not extra if labels else None,
        level_shift=shift if labels and not missing else None,
        false_positive_labels=int(extra), false_positive_mm3=501.0 if extra else 0.0, missing=missing,
    )  # fmt: skip


@pytest.fixture(scope="session")
def evaluate() -> Evaluate:
    """A function of a Dice a scan that gives the evaluation; labels by number of scan where they differ.

    ``called`` gives by number of scan the name that its first vertebra got; ``patients`` are in the order of the
    scans; ``extra`` scans have a vertebra too many, and ``smaller`` ones another reference by a voxel.
    """

    def build(
        dices: Sequence[float],
        *,
        labels: Sequence[int] = LUMBAR,
        of: dict[int, Sequence[int]] | None = None,
        missing: Sequence[int] = (),
        shifted: Sequence[int] = (),
        called: dict[int, int] | None = None,
        name: str = "model",
        prefix: str = "case",
        patients: Sequence[str] | None = None,
        smaller: Sequence[int] = (),
        extra: Sequence[int] = (),
    ) -> Evaluation:
        scans = tuple(
            _scan(
                f"{prefix}_{number:04d}", dice, (of or {}).get(number, labels),
                patient=patients[number] if patients else None, missing=number in missing,
                shift=int(number in shifted), called=(called or {}).get(number), smaller=number in smaller,
                extra=number in extra,
            )
            for number, dice in enumerate(dices)
        )  # fmt: skip
        return Evaluation(name=name, scans=scans, summary=summarize(scans))

    return build


@pytest.fixture(scope="session")
def counted() -> Callable[[Evaluation], Evaluation]:
    """A function that leaves of an evaluation what voxel counts alone tell, as those in nnU-Net's summary.json."""
    unknown_label = {"at_border": None, "identified": None, "localisation_mm": None, "called": None}
    unknown = {"patient": None, "all_correct": None, "level_shift": None, "bone_dice": None, "missing": None}

    def strip(evaluation: Evaluation) -> Evaluation:
        scans = tuple(
            scan.model_copy(
                update={**unknown, "labels": tuple(s.model_copy(update=unknown_label) for s in scan.labels)}
            )
            for scan in evaluation.scans
        )
        return Evaluation(name=evaluation.name, scans=scans, summary=summarize(scans))

    return strip


@pytest.fixture(scope="session")
def make_policy() -> MakePolicy:
    """A function of fields that gives a policy: Dice 0.7 on four scans, and a champion's rule of its own fields."""

    def build(*, floors: Floors | None = None, against: dict[str, object] | None = None, **fields: object) -> Policy:
        champion = AgainstChampion.model_validate({"minimum_region_patients": 4, **(against or {})})
        content = {"name": "strict", "about": "For tests.", "minimum_scans": 4, "separate_approver": False, **fields}
        return Policy(floors=floors or Floors(dice_scan_mean=0.7), champion=champion, **content)  # type: ignore[arg-type]

    return build


@pytest.fixture
def write_evidence(evaluate: Evaluate, make_policy: MakePolicy) -> WriteEvidence:
    """A function of a folder that writes a bundle of real evidence and a few bytes of weights there."""

    def write(
        folder: Path,
        *,
        dice: float = 0.9,
        champion: Evaluation | None = None,
        policy: Policy | None = None,
        weights: str = "weights",
    ) -> Bundle:
        weights_file = folder / "model" / "fold_0" / "checkpoint_final.pth"
        write_text(weights_file, weights)
        evaluation, rule = evaluate([dice] * 6), policy or make_policy()
        verdict = judge(candidate=evaluation, champion=champion, policy=rule)
        write_json(folder / "evaluation.json", evaluation.content)
        write_json(folder / "policy.json", rule.stored())
        if champion:
            write_json(folder / "champion.json", champion.content)
        verdict.write(folder / "verdict.json")
        manifest = BundleManifest(
            files=list_files(folder), folds={0: digest_file(weights_file)}, configuration="3d_fullres",
            recipe_name="tiny", plan="sha256:p", evaluation=evaluation.digest, verdict=verdict.digest,
            git_revision="0" * 40, dvc_hash="0" * 32,
        )  # fmt: skip
        write_json(folder / MANIFEST_FILE, manifest.content)
        return Bundle(folder)

    return write


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """An empty registry."""
    return Registry(tmp_path / "root")


@pytest.fixture
def register(registry: Registry, write_evidence: WriteEvidence) -> Callable[..., Bundle]:
    """A function of a version that registers a new bundle of that number in ``registry``."""

    def add(version: int, *, policy: Policy | None = None, actor: str = "ann") -> Bundle:
        folder = registry.root / "models" / str(version) / "bundle"
        shutil.rmtree(folder, ignore_errors=True)
        bundle = write_evidence(folder, policy=policy, weights=f"weights of {version}")
        registry.register(version=version, bundle=bundle, actor=actor, reason="its verdict passes")
        return bundle

    return add


@pytest.fixture
def approved(registry: Registry, register: Callable[..., Bundle]) -> Callable[..., Registry]:
    """A function of versions that registers and approves each in ``registry``."""

    def add(*versions: int) -> Registry:
        for version in versions:
            register(version)
            registry.approve(version, actor="ben", reason="looked at the report")
        return registry

    return add
