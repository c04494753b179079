"""Fingerprint, plans and preprocessed cases of a data set, each found again where it is there already."""

import shutil
from pathlib import Path

from spine.errors import DigestMismatchError, InvalidValueError, MissingPathError
from spine.nnunet.cases import OnCase, training_cases
from spine.nnunet.decoded import scratch_in
from spine.nnunet.fingerprint import FINGERPRINT_FILE, take_fingerprint
from spine.nnunet.plans import array_order, make_plans, preprocessed_configurations
from spine.nnunet.preprocessed import preprocess_cases
from spine.nnunet.workspace import DATASET_NAME, PLANS_NAME, Workspace
from spine.recipe import PlanRecipe
from spine.storage import digest_value, read_json, write_json

__all__ = ["array_order", "plan_and_preprocess", "training_cases"]


def plan_and_preprocess(
    *, dataset: Path, workspace: Workspace, recipe: PlanRecipe, on_case: OnCase, threads: int = 1
) -> str:
    """Plan for the training cases of ``dataset`` and preprocess them; return the digest of the plans.

    ``dataset`` is a folder in nnU-Net's raw layout, canonically oriented. Work that is done is found again, case by
    case. ``on_case(task, done, total)`` is called after every case. As many cases are worked on side by side as
    ``threads`` and the free memory allow.

    Raises InvalidValueError for a workspace of another data set and for a configuration that nnU-Net doesn't make for
    this one, DigestMismatchError for a workspace of other plans, OutOfSpaceError where the disk has too little room,
    UnreadableVolumeError and GridMismatchError for a damaged case, WorkerDiedError for one that memory can't hold.
    """
    if not training_cases(dataset):
        raise MissingPathError(dataset / "imagesTr", expected="training images, <case>_0000.nii.gz")
    _link_raw(dataset, workspace)
    workspace.dataset.mkdir(parents=True, exist_ok=True)
    for name in ("dataset.json", "splits_final.json"):
        shutil.copy(dataset / name, workspace.dataset / name)
    fingerprint = workspace.dataset / FINGERPRINT_FILE
    with scratch_in(workspace.preprocessed) as scratch:
        if not fingerprint.is_file():
            take_fingerprint(dataset=dataset, target=fingerprint, scratch=scratch, threads=threads, on_case=on_case)
        digest = _plan(workspace, recipe)
        preprocess_cases(
            dataset=dataset,
            workspace=workspace,
            configurations=preprocessed_configurations(recipe.configuration),
            scratch=scratch,
            threads=threads,
            on_case=on_case,
        )
    return digest


def _link_raw(dataset: Path, workspace: Workspace) -> None:
    """Let nnU-Net find the data set under the name that it asks for."""
    raw = workspace.raw / DATASET_NAME
    if raw.exists() and not raw.samefile(dataset):
        raise InvalidValueError(
            f"data set of the plan in {workspace.preprocessed.parent}", str(raw.resolve()), expected=str(dataset)
        )
    if not raw.exists():
        raw.parent.mkdir(parents=True, exist_ok=True)
        raw.unlink(missing_ok=True)
        raw.symlink_to(dataset.absolute())


def _plan(workspace: Workspace, recipe: PlanRecipe) -> str:
    """Plan, which is a matter of seconds, and compare with what was planned here before."""
    plans = make_plans(recipe)
    file = workspace.dataset / f"{PLANS_NAME}.json"
    digest = digest_value(plans)
    if file.is_file() and (found := digest_value(read_json(file, expected="nnU-Net's plans"))) != digest:
        # Cases that were preprocessed for other plans would be mistaken for these plans' own.
        raise DigestMismatchError(file, found=found, expected=digest)
    write_json(file, plans)
    return digest
