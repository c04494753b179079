"""The life of a version: each way into the ledger, and everything that is refused on the way."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from model_registry.bundle import MANIFEST_FILE, Bundle
from model_registry.errors import (
    BrokenLedgerError,
    ConflictError,
    EvidenceError,
    NothingBeforeError,
    NotPromotableError,
)
from model_registry.ledger import file_name, next_event
from model_registry.lifecycle import Registry
from model_registry.policy import Floors, Policy
from model_registry.verdict import Verdict
from spine.errors import DigestMismatchError, InvalidValueError, MissingPathError, SpinelineError, UnknownNameError
from spine.metrics.scores import Evaluation, ScanScores
from spine.metrics.summary import summarize

WHY = "because of the test"
Approved = Callable[..., Registry]


def promote(registry: Registry, *versions: int) -> None:
    for version in versions:
        registry.promote(version, actor="ann", reason=WHY, expected_serving=registry.state().serving)


def edit(path: Path, **fields: object) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **fields}))


def weaken(folder: Path) -> None:
    """Change the policy and judge by it again, but leave the manifest as it was."""
    rule = Policy.parse(json.loads((folder / "policy.json").read_text()), where="policy.json")
    weak = rule.model_copy(update={"floors": Floors(dice_scan_mean=0.0)})
    (folder / "policy.json").write_text(weak.model_dump_json())
    rejudge(folder)


def raise_scores(folder: Path) -> None:
    """Raise every scan's score down to the voxels, sum up and judge again, but leave the manifest as it was."""
    content = json.loads((folder / "evaluation.json").read_text())
    for scan in content["scans"]:
        scan["mean_dice"] = 0.99
        for label in scan["labels"]:
            label["dice"], label["common_voxels"] = 0.99, 0.99 * label["reference_voxels"]
    scans = [ScanScores.model_validate(scan) for scan in content["scans"]]
    content["summary"] = summarize(scans).model_dump(mode="json")
    (folder / "evaluation.json").write_text(json.dumps(content))
    rejudge(folder)


def rejudge(folder: Path) -> None:
    from model_registry.gate import judge

    evaluation = Evaluation.from_stored(json.loads((folder / "evaluation.json").read_text()), where="evaluation.json")
    rule = Policy.parse(json.loads((folder / "policy.json").read_text()), where="policy.json")
    judge(candidate=evaluation, champion=None, policy=rule).write(folder / "verdict.json")


def unsealed_pass(folder: Path) -> None:
    edit(folder / "verdict.json", outcome="pass", summary="pass: believe me")


def sealed_pass(folder: Path) -> None:
    """Write another verdict over the true one, properly sealed."""
    verdict = Verdict.read(folder / "verdict.json")
    verdict.model_copy(update={"outcome": "pass", "summary": "pass"}).write(folder / "verdict.json")


def other_summary(folder: Path) -> None:
    content = json.loads((folder / "evaluation.json").read_text())
    content["summary"]["dice_scan_mean"] = 0.99
    (folder / "evaluation.json").write_text(json.dumps(content))


def test_a_version_goes_from_registered_over_approved_to_promoted(
    registry: Registry, register: Callable[..., Bundle]
) -> None:
    bundle = register(1)
    assert registry.state().version(1).stage == "registered"
    registry.approve(1, actor="ben", reason=WHY)
    assert registry.state().version(1).stage == "approved"
    event = registry.promote(1, actor="cy", reason=WHY, expected_serving=None)
    assert registry.state().serving == 1
    assert (event.evidence, event.from_version, event.to_version) == (bundle.digest, None, 1)
    assert [(past.kind, past.actor) for past in registry.history()] == [
        ("register", "ann"), ("approve", "ben"), ("promote", "cy"),
    ]  # fmt: skip
    assert registry.verified_bundle(1).folder == bundle.folder


@pytest.mark.parametrize(
    ("dice", "tamper", "error"),
    [
        (0.6, lambda folder: None, EvidenceError),
        (0.6, unsealed_pass, DigestMismatchError),
        (0.6, sealed_pass, EvidenceError),
        (0.6, weaken, EvidenceError),
        (0.6, raise_scores, EvidenceError),
        (0.9, other_summary, EvidenceError),
        (0.9, lambda folder: edit(folder / "policy.json", minimum_scans=2), EvidenceError),
        (0.9, lambda folder: edit(folder / "policy.json", minimum=2), SpinelineError),
        (0.9, lambda folder: (folder / "verdict.json").unlink(), MissingPathError),
        (0.9, lambda folder: (folder / "evaluation.json").unlink(), MissingPathError),
        (0.9, lambda folder: (folder / "policy.json").unlink(), MissingPathError),
        (0.9, lambda folder: (folder / "champion.json").write_bytes((folder / "evaluation.json").read_bytes()),
         EvidenceError),
    ],
    ids=[
        "failing", "verdict changed", "verdict resealed", "policy weakened", "scores raised", "evaluation changed",
        "policy changed", "policy malformed", "no verdict", "no evaluation", "no policy", "another champion",
    ],
)  # fmt: skip
def test_only_a_passing_verdict_that_follows_from_its_evidence_is_registered(
    registry: Registry, write_evidence: Callable[..., Bundle], dice: float, tamper: Callable[[Path], None],
    error: type[Exception],
) -> None:  # fmt: skip
    bundle = write_evidence(registry.root / "bundle", dice=dice)
    tamper(bundle.folder)
    with pytest.raises(error):
        registry.register(version=1, bundle=Bundle(bundle.folder), actor="ann", reason=WHY)
    assert registry.history() == []


def test_a_champion_cannot_be_taken_out_of_the_evidence(
    registry: Registry, write_evidence: Callable[..., Bundle], evaluate: Callable[..., Evaluation]
) -> None:
    bundle = write_evidence(registry.root / "bundle", champion=evaluate([0.9] * 6))
    registry.register(version=1, bundle=bundle, actor="ann", reason=WHY)
    (bundle.folder / "champion.json").unlink()
    with pytest.raises(EvidenceError, match="does not follow from the evidence"):
        registry.register(version=2, bundle=bundle, actor="ann", reason=WHY)


def test_a_version_is_registered_once(registry: Registry, register: Callable[..., Bundle]) -> None:
    register(3)
    with pytest.raises(InvalidValueError, match="version is 3; expected a new number after 3"):
        register(3)


def test_only_a_registered_version_is_approved(approved: Approved) -> None:
    registry = approved(1, 2)
    promote(registry, 1)
    registry.revoke(2, actor="ann", reason=WHY)
    for version, stage in ((1, "promoted"), (2, "revoked")):
        with pytest.raises(NotPromotableError, match=f"version {version} is {stage} and can't be approved"):
            registry.approve(version, actor="ben", reason=WHY)


def test_the_policy_may_demand_another_approver(
    registry: Registry, register: Callable[..., Bundle], make_policy: Callable[..., Policy]
) -> None:
    register(1, policy=make_policy(separate_approver=True), actor="ann")
    with pytest.raises(InvalidValueError, match="approver is 'ann'; expected somebody other than ann"):
        registry.approve(1, actor="ann", reason=WHY)
    with pytest.raises(InvalidValueError, match="somebody other than ann"):
        registry.approve(1, actor="ANN", reason=WHY)
    registry.approve(1, actor="ben", reason=WHY)
    register(2, policy=make_policy(separate_approver=False), actor="ann")
    registry.approve(2, actor="ann", reason=WHY)
    assert [known.stage for known in registry.state().versions.values()] == ["approved", "approved"]


def test_editing_the_policy_after_registration_lets_nobody_approve_alone(
    registry: Registry, register: Callable[..., Bundle], make_policy: Callable[..., Policy]
) -> None:
    bundle = register(1, policy=make_policy(separate_approver=True), actor="ann")
    edit(bundle.folder / "policy.json", separate_approver=False)
    with pytest.raises(DigestMismatchError, match=r"policy\.json"):
        registry.approve(1, actor="ann", reason=WHY)
    assert registry.state().version(1).stage == "registered"


def test_only_an_approved_version_is_promoted(registry: Registry, register: Callable[..., Bundle]) -> None:
    register(1)
    with pytest.raises(NotPromotableError, match="version 1 is registered and can't be promoted; expected an approved"):
        promote(registry, 1)
    assert registry.state().serving is None


def test_the_version_in_use_is_neither_promoted_nor_revoked_nor_rolled_back_to(approved: Approved) -> None:
    registry = approved(1, 2)
    promote(registry, 1, 2)
    count = len(registry.history())
    with pytest.raises(NotPromotableError, match="version 2 is in use already"):
        promote(registry, 2)
    with pytest.raises(NotPromotableError, match="version 2 is in use and can't be revoked; expected a rollback first"):
        registry.revoke(2, actor="ann", reason=WHY)
    with pytest.raises(NotPromotableError, match="version 2 is in use already"):
        registry.roll_back(to=2, actor="ann", reason=WHY)
    assert len(registry.history()) == count


def test_a_promotion_that_began_before_another_one_is_refused(approved: Approved) -> None:
    registry = approved(1, 2)
    promote(registry, 1)
    with pytest.raises(ConflictError, match="'promote' of version 1 by ann, and version 1 is served now"):
        registry.promote(2, actor="ann", reason=WHY, expected_serving=None)
    assert registry.state().serving == 1


def test_a_rollback_returns_to_the_version_before_and_to_one_named(approved: Approved) -> None:
    registry = approved(1, 2, 3)
    promote(registry, 1, 2, 3)
    event = registry.roll_back(to=None, actor="ann", reason=WHY)
    assert (event.from_version, event.to_version, registry.state().serving) == (3, 2, 2)
    registry.roll_back(to=None, actor="ann", reason=WHY)
    assert registry.state().serving == 1
    with pytest.raises(NothingBeforeError, match="in use before version 1, since it was rolled back from version 2;"):
        registry.roll_back(to=None, actor="ann", reason=WHY)
    registry.roll_back(to=3, actor="ann", reason=WHY)
    assert (registry.state().serving, registry.state().before) == (3, 1)


def test_a_rollback_never_returns_to_the_version_in_use(approved: Approved) -> None:
    registry = approved(1, 2)
    promote(registry, 1, 2, 1)
    registry.revoke(2, actor="ann", reason=WHY)
    with pytest.raises(NothingBeforeError, match="none that may be used again was in use before version 1;"):
        registry.roll_back(to=None, actor="ann", reason=WHY)


def test_a_version_that_never_served_is_no_rollback(approved: Approved) -> None:
    registry = approved(1, 2)
    promote(registry, 1)
    with pytest.raises(NotPromotableError, match="version 2 is approved and can't be rolled back to"):
        registry.roll_back(to=2, actor="ann", reason=WHY)


def test_nothing_is_rolled_back_before_the_first_promotion(approved: Approved) -> None:
    with pytest.raises(NothingBeforeError, match="none was promoted yet; expected one that served before"):
        approved(1).roll_back(to=None, actor="ann", reason=WHY)


@pytest.mark.parametrize("bypassed", [False, True])
def test_a_revoked_version_never_comes_back(approved: Approved, bypassed: bool) -> None:
    registry = approved(1, 2, 3)
    promote(registry, 1, 2, 3)
    if bypassed:
        registry.roll_back(to=1, actor="ann", reason=WHY)
    registry.revoke(2, actor="ann", reason=WHY)
    attempts: list[Callable[[], object]] = [
        lambda: promote(registry, 2),
        lambda: registry.roll_back(to=2, actor="ann", reason=WHY),
        lambda: registry.approve(2, actor="ben", reason=WHY),
        lambda: registry.revoke(2, actor="ann", reason=WHY),
        lambda: registry.bundle(2),
        lambda: registry.verified_bundle(2),
    ]
    for attempt in attempts:
        with pytest.raises(NotPromotableError, match="version 2 is revoked"):
            attempt()
    if not bypassed:
        assert registry.roll_back(to=None, actor="ann", reason=WHY).version == 1


def revert(registry: Registry, place: int = -1) -> tuple[str, int, int | None]:
    event = registry.history()[place]
    undone = registry.revert(event, actor="automatic", reason="a replica did not follow")
    return undone.kind, undone.version, undone.to_version


def test_undoing_a_change_returns_to_what_was_served_before_it(approved: Approved) -> None:
    registry = approved(1, 2, 3)
    promote(registry, 1, 2)
    assert revert(registry) == ("roll back", 1, 1)
    assert (registry.state().serving, registry.state().before) == (1, None)
    promote(registry, 3)
    registry.roll_back(to=2, actor="ann", reason=WHY)
    assert revert(registry) == ("roll back", 3, 3)
    assert registry.state().serving == 3


def test_undoing_the_first_promotion_returns_to_no_version_on_the_record(approved: Approved) -> None:
    registry = approved(1)
    promote(registry, 1)
    assert revert(registry) == ("roll back", 1, None)
    state, event = registry.state(), registry.history()[-1]
    assert (state.serving, state.before, state.version(1).stage) == (None, None, "replaced")
    assert (event.actor, event.from_version, event.to_version) == ("automatic", 1, None)
    promote(registry, 1)
    assert registry.state().serving == 1


def test_undoing_passes_over_what_was_revoked_meanwhile(approved: Approved) -> None:
    registry = approved(1, 2, 3)
    promote(registry, 1, 2, 3)
    promotion = registry.history()[-1]
    registry.revoke(2, actor="ann", reason=WHY)
    event = registry.revert(promotion, actor="automatic", reason=WHY)
    assert (event.version, event.from_version, event.to_version) == (1, 3, 1)


def test_only_the_newest_change_of_what_is_served_is_undone(approved: Approved) -> None:
    registry = approved(1, 2)
    promote(registry, 1, 2)
    for place in (0, 4):
        with pytest.raises(InvalidValueError, match="event to undo is .; expected the newest change of what is served"):
            revert(registry, place)
    assert registry.state().serving == 2


def test_an_event_written_by_hand_brings_no_revoked_version_back(approved: Approved) -> None:
    registry = approved(1, 2)
    promote(registry, 1)
    registry.revoke(2, actor="ann", reason=WHY)
    known, events = registry.state().version(2), registry.history()
    forged = next_event(
        events, kind="promote", version=2, actor="eve", reason=WHY, serving=(1, 2), evidence=known.model_digest,
        bundle=known.bundle,
    )  # fmt: skip
    (registry.root / "ledger" / file_name(forged.number)).write_text(forged.text())
    with pytest.raises(BrokenLedgerError, match="it is 'promote' of version 2, which is revoked"):
        registry.bundle(2)


def test_the_same_bundle_is_registered_once(registry: Registry, register: Callable[..., Bundle]) -> None:
    bundle = register(1)
    with pytest.raises(InvalidValueError, match="this is version 1, registered"):
        registry.register(version=2, bundle=bundle, actor="ann", reason=WHY)


@pytest.mark.parametrize("reason", ["", "  \n", "fine\x1b[2K", "fine \u202egnorw", "two\nlines"])
def test_nothing_happens_without_a_reason_that_reads_as_it_is_written(
    approved: Approved, write_evidence: Callable[..., Bundle], reason: str
) -> None:
    registry = approved(1, 2, 3)
    promote(registry, 1, 2)
    count = len(registry.history())
    bundle = write_evidence(registry.root / "models" / "4")
    registry.register(version=4, bundle=bundle, actor="ann", reason=WHY)
    attempts: list[Callable[[], object]] = [
        lambda: registry.register(version=5, bundle=bundle, actor="ann", reason=reason),
        lambda: registry.approve(4, actor="ben", reason=reason),
        lambda: registry.promote(3, actor="ann", reason=reason, expected_serving=2),
        lambda: registry.roll_back(to=None, actor="ann", reason=reason),
        lambda: registry.revoke(3, actor="ann", reason=reason),
    ]
    for attempt in attempts:
        with pytest.raises(InvalidValueError, match="(?s)reason is .*; expected (a sentence|one line)"):
            attempt()
    assert len(registry.history()) == count + 1


def test_an_unknown_version_lists_the_known_ones(approved: Approved) -> None:
    registry = approved(1, 2)
    attempts: list[Callable[[], object]] = [
        lambda: registry.approve(7, actor="ben", reason=WHY),
        lambda: promote(registry, 7),
        lambda: registry.roll_back(to=7, actor="ann", reason=WHY),
        lambda: registry.revoke(7, actor="ann", reason=WHY),
        lambda: registry.bundle(7),
    ]
    for attempt in attempts:
        with pytest.raises(UnknownNameError, match="unknown version '7'; expected one of: 1, 2"):
            attempt()


def test_a_bundle_that_was_changed_is_not_given_out_as_verified(approved: Approved) -> None:
    registry = approved(1)
    weights = registry.bundle(1).fold_path(0)
    weights.write_text("other weights")
    with pytest.raises(DigestMismatchError, match=r"fold_0/checkpoint_final\.pth"):
        registry.verified_bundle(1)


def test_a_bundle_with_a_manifest_of_its_own_is_not_given_out_as_verified(approved: Approved) -> None:
    registry = approved(1)
    edit(registry.bundle(1).folder / MANIFEST_FILE, recipe_name="another")
    with pytest.raises(DigestMismatchError, match=MANIFEST_FILE):
        registry.verified_bundle(1)


def test_two_promotions_at_once_leave_one_winner(approved: Approved, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one looked at the ledger before the first one wrote to it."""
    from model_registry.ledger import Ledger
    from spine.blob_store import FolderBlobStore

    registry = approved(1, 2)
    stale = registry.history()
    promote(registry, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "history", lambda self: stale)
        with pytest.raises(ConflictError, match="'promote' of version 1 by ann, and version 1 is served now"):
            registry.promote(2, actor="ben", reason=WHY, expected_serving=None)
    assert registry.state().serving == 1
    assert len(Ledger(FolderBlobStore(registry.root / "ledger")).events()) == len(stale) + 1
