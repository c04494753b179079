"""Plan with nnU-Net and preprocess the training cases, found again by the digests of data set and recipe."""

from pathlib import Path

from spine import progress
from spine.arguments import Arguments
from spine.errors import DigestMismatchError, InvalidValueError
from spine.locks import held
from spine.logs import run_program
from spine.nnunet.workspace import CHANNEL_SUFFIX, PLANS_NAME, Workspace, preprocessed_files
from spine.recipe import Recipe, given_recipe
from spine.records import RECORD_FILE, DatasetRevision, Plan
from spine.settings import settings
from spine.steps import run_step
from spine.storage import digest_value, read_json, short

STEP = "plan_training"
_WAIT_S = 24 * 3600.0
"""Another process may preprocess a large data set; what it makes is found then."""


def plan_training(*, root: Path, dataset: DatasetRevision, recipe: Recipe) -> Plan:
    """Plan and preprocess below ``root``; a plan that is there already is returned, a partial one continued.

    One process at a time works on a plan. Raises InUseError where another does for hours.
    """
    key = digest_value({"data": dataset.dvc_hash, "recipe": recipe.plan.digest})
    folder = root / "plans" / short(key)

    def report_wait(note: str) -> None:
        progress.report(STEP, "wait", done=0, total=1, note=note)

    with held(folder, wait_s=_WAIT_S, on_wait=report_wait):
        known = _found(folder, dataset=dataset, recipe=recipe)
        if known and not _lacking(root, known):
            return known
        made = _make(root, folder, dataset, recipe)
        if known is None:
            made.write(folder / RECORD_FILE)
        return known or made


def _make(root: Path, folder: Path, dataset: DatasetRevision, recipe: Recipe) -> Plan:
    data = root / dataset.folder
    if not data.is_dir():
        raise InvalidValueError("data set folder", str(data), expected="a data set that pull_dataset brought here")
    workspace = Workspace.below(folder)
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
    return Plan(
        dataset=dataset.digest,
        dataset_folder=dataset.folder,
        recipe=recipe.plan.digest,
        plans_digest=plans_digest,
        configuration=recipe.plan.configuration,
        folder=folder.relative_to(root).as_posix(),
    )


def _lacking(root: Path, plan: Plan) -> bool:
    """Whether a preprocessed case is not there any more."""
    dataset = Workspace.below(root / plan.folder).dataset
    plans = read_json(dataset / f"{PLANS_NAME}.json", expected="nnU-Net's plans")
    folders = [dataset / made["data_identifier"] for made in plans["configurations"].values() if "spacing" in made]
    images = (root / plan.dataset_folder / "imagesTr").glob(f"*{CHANNEL_SUFFIX}.nii.gz")
    cases = [path.name.removesuffix(f"{CHANNEL_SUFFIX}.nii.gz") for path in images]
    files = [folder / name for folder in folders for case in cases for name in preprocessed_files(case)]
    return not all(path.is_file() for path in files)


def _found(folder: Path, *, dataset: DatasetRevision, recipe: Recipe) -> Plan | None:
    """Return the plan that is there already; raises where it is another's or its plans were changed since."""
    record_file = folder / RECORD_FILE
    if not record_file.is_file():
        return None
    record = Plan.read(record_file)
    # Not the revision's own digest: the same data under two git revisions shares a plan.
    asked = {"dataset_folder": dataset.folder, "recipe": recipe.plan.digest, "configuration": recipe.plan.configuration}
    for name, expected in asked.items():
        found = getattr(record, name)
        if found != expected:
            raise InvalidValueError(f"{name} of the plan in {record_file}", found, expected=f"{expected!r}")
    plans = Workspace.below(folder).dataset / f"{PLANS_NAME}.json"
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
        parser = Arguments(prog="python -m components.plan_training", description=__doc__)
        parser.add_argument("--root", default=str(settings().root_path), help="shared root (default: %(default)s)")
        parser.add_argument("--dataset", required=True, help="the data set's record, as pull_dataset printed it")
        parser.add_argument("--recipe", required=True, help="name of a recipe, a path to a .yaml, or its JSON")
        given = parser.parse_args(argv)
        return step(**vars(given))

    return run_program(work)
