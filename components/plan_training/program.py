"""Plan with nnU-Net and preprocess the training cases, found again by the digests of data set and recipe."""

import argparse
from pathlib import Path

from spine import progress
from spine.errors import DigestMismatchError, InvalidValueError
from spine.logs import run_program
from spine.nnunet.workspace import PLANS_NAME, Workspace
from spine.recipe import Recipe, given_recipe
from spine.records import RECORD_FILE, DatasetRevision, Plan
from spine.settings import settings
from spine.steps import run_step
from spine.storage import digest_value, read_json, short

STEP = "plan_training"


def plan_training(*, root: Path, dataset: DatasetRevision, recipe: Recipe) -> Plan:
    """Plan and preprocess below ``root``; a plan that is there already is returned, a partial one continued."""
    key = digest_value({"data": dataset.dvc_hash, "recipe": recipe.plan.digest})
    folder = root / "plans" / short(key)
    record_file = folder / RECORD_FILE
    workspace = Workspace.below(folder)
    if record_file.is_file():
        return _found(record_file, workspace=workspace, dataset=dataset, recipe=recipe)
    data = root / dataset.folder
    if not data.is_dir():
        raise InvalidValueError("data set folder", str(data), expected="a data set that pull_dataset brought here")
    workspace.activate()
    # nnU-Net and torch take seconds to import, and only after the workspace is set.
    from spine.nnunet.planning import plan_and_preprocess

    plans_digest = plan_and_preprocess(
        dataset=data,
        workspace=workspace,
        recipe=recipe.plan,
        on_case=lambda task, done, total: progress.report(STEP, task, done=done, total=total),
        threads=settings().cpu_threads,
    )
    record = Plan(
        dataset=dataset.digest,
        dataset_folder=dataset.folder,
        recipe=recipe.plan.digest,
        plans_digest=plans_digest,
        configuration=recipe.plan.configuration,
        folder=folder.relative_to(root).as_posix(),
    )
    record.write(record_file)
    return record


def _found(record_file: Path, *, workspace: Workspace, dataset: DatasetRevision, recipe: Recipe) -> Plan:
    """Return the plan that is there already, unless it is another's or its plans were changed since."""
    record = Plan.read(record_file)
    # Not the revision's own digest: the same data under two git revisions shares a plan.
    asked = {"dataset_folder": dataset.folder, "recipe": recipe.plan.digest, "configuration": recipe.plan.configuration}
    for name, expected in asked.items():
        found = getattr(record, name)
        if found != expected:
            raise InvalidValueError(f"{name} of the plan in {record_file}", found, expected=f"{expected!r}")
    plans = workspace.dataset / f"{PLANS_NAME}.json"
    digest = digest_value(read_json(plans, expected=f"the plans that {record_file} describes"))
    if digest != record.plans_digest:
        raise DigestMismatchError(plans, found=digest, expected=record.plans_digest)
    return record


def step(*, root: str, dataset: str, recipe: str) -> str:
    """Do the work of the pipeline's step: a record and a recipe as text in, the plan's record out."""
    return run_step(
        STEP,
        lambda: plan_training(
            root=Path(root),
            dataset=DatasetRevision.from_text(dataset, where="dataset"),
            recipe=given_recipe(recipe),
        ).text(),
    )


def main(argv: list[str] | None = None) -> int:
    """Run the step from the command line; the record is the last line of stdout."""

    def work() -> str:
        parser = argparse.ArgumentParser(prog="python -m components.plan_training", description=__doc__)
        parser.add_argument("--root", default=str(settings().root_path), help="shared root (default: %(default)s)")
        parser.add_argument("--dataset", required=True, help="the data set's record, as pull_dataset printed it")
        parser.add_argument("--recipe", required=True, help="name of a recipe, a path to a .yaml, or its JSON")
        given = parser.parse_args(argv)
        return step(**vars(given))

    return run_program(work)
