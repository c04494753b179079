"""Train a group of folds on the devices that are there, each continued from its newest checkpoint that verifies."""

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from components.train_folds.candidate import LOG_FILE, STEP, Candidate
from components.train_folds.devices import find_devices
from components.train_folds.group import run_group
from components.train_folds.outcome import FoldOutcome, FoldsFailedError
from components.train_folds.parameters import parameters_of
from components.train_folds.stopping import TrainingInterruptedError, stop_on_signals
from components.train_folds.telemetry import METRICS_FILE, MetricsPortError, serve_group
from components.train_folds.worker import FoldJob
from model_registry.bundle import Bundle
from model_registry.lifecycle import Registry
from model_registry.mlflow_names import KUBEFLOW_RUN_TAG
from model_registry.tracking import LiveTracking, open_store
from spine import progress
from spine.arguments import Arguments
from spine.errors import InvalidValueError
from spine.heartbeat import Heartbeat
from spine.journal import JOURNAL_FILE, Journal, Status, end_journal
from spine.locks import is_free
from spine.log_lines import about
from spine.logs import run_program
from spine.nnunet.checkpoint_files import held, position_of
from spine.progress import ProgressEvent
from spine.recipe import Recipe, given_recipe
from spine.records import RECORD_FILE, FoldCheckpoint, Plan
from spine.settings import settings
from spine.steps import run_step
from spine.storage import short, strict_json

_TRACKING_PATIENCE_S = 30.0
_LOG = logging.getLogger(__name__)


def train_folds(
    *, root: Path, plan: Plan, recipe: Recipe, folds: Sequence[int], start_from: int = 0
) -> list[FoldCheckpoint]:
    """Train ``folds`` on the devices that are there and return their records; a fold that is done is found again.

    ``start_from`` is a registered version of the same plan whose weights each fold begins with, 0 for random ones.
    Raises FoldsFailedError naming each fold that failed when all others are done, TrainingInterruptedError after a
    signal, when each has written a checkpoint.
    """
    candidate = Candidate(root=root, plan=plan, recipe=recipe.training, start_from=_begun_from(root, plan, start_from))
    candidate.check(tuple(folds))
    devices = find_devices(settings().devices)
    records = {fold: candidate.record(fold) for fold in folds}
    missing = [fold for fold, record in records.items() if record is None]
    if missing:
        _LOG.info("folds %s train on %s", missing, ", ".join(str(device) for device in devices))
        jobs = [_job(candidate, fold, start_from) for fold in missing]
        batch_size = int(candidate.configuration["batch_size"])
        with stop_on_signals() as stop, _followed(candidate, recipe, missing) as journal:
            outcomes = run_group(jobs, devices=devices, batch_size=batch_size, stop=stop, on_event=_tell)
            _end_journals(candidate, outcomes)
            status = _status(candidate, outcomes)
            if status:
                journal.status(status)
        _raise_unless_done(outcomes)
        records |= {fold: candidate.record(fold) for fold in missing}
    return [record for record in records.values() if record]


def _begun_from(root: Path, plan: Plan, version: int) -> Bundle | None:
    if not version:
        return None
    bundle = Registry.at(root, settings()).verified_bundle(version)
    if bundle.manifest.plan != plan.digest:
        # It may have seen this plan's validation and test cases.
        message = f"{short(plan.digest)}, the plan of these folds"
        raise InvalidValueError(
            f"plan of version {version} to start from", short(bundle.manifest.plan), expected=message
        )
    return bundle


def _job(candidate: Candidate, fold: int, start_from: int) -> FoldJob:
    folder = candidate.fold_folder(fold)
    given = {
        "--root": str(candidate.root),
        "--plan": candidate.plan.text(),
        "--training": strict_json(candidate.recipe.model_dump(mode="json")),
        "--fold": str(fold),
        "--start-from": str(start_from),
    }
    return FoldJob(
        fold=fold,
        command=[
            sys.executable,
            "-m",
            "components.train_folds.fold",
            *(word for pair in given.items() for word in pair),
        ],
        log=folder / LOG_FILE,
        progress=lambda: _reached(folder),
    )


def _reached(folder: Path) -> int:
    """Say in one number how far a fold's newest checkpoint is."""
    newest = next(iter(held(folder)), None)
    at = position_of(newest.name) if newest else None
    return at.epoch * 1_000_000 + at.iteration if at else 0


@contextmanager
def _followed(candidate: Candidate, recipe: Recipe, folds: Sequence[int]) -> Iterator[Journal]:
    """Bring what the folds tell to MLflow and Prometheus while they train; neither can stop them."""
    journal = Journal(candidate.folder / JOURNAL_FILE)
    candidate.folder.mkdir(parents=True, exist_ok=True)
    if settings().run:
        journal.tags({KUBEFLOW_RUN_TAG: str(settings().run)})
    journal.parameters(parameters_of(candidate, recipe))
    folders = {fold: candidate.fold_folder(fold) for fold in folds}
    for folder in folders.values():
        if is_free(folder):  # an earlier try was killed before it could record its end
            end_journal(folder / JOURNAL_FILE, "KILLED")
    tracking = LiveTracking(
        candidate.folder,
        candidate_name=f"{recipe.name} {candidate.folder.name}",
        journals={fold: folder / JOURNAL_FILE for fold, folder in folders.items()},
        open_store=lambda: open_store(candidate.root, settings()),
    )
    with ExitStack() as stack:
        try:
            stack.enter_context(
                serve_group(settings().metrics_port, [path / METRICS_FILE for path in folders.values()])
            )
        except MetricsPortError as error:
            _LOG.warning("%s; each fold's %s is written all the same", error, METRICS_FILE)
        stack.enter_context(Heartbeat(list(folders.values())))
        stack.enter_context(tracking)
        yield journal
        tracking.close(_TRACKING_PATIENCE_S)


def _tell(event: ProgressEvent) -> None:
    with about(fold=event.fold):
        progress.report(event.step, event.task, done=event.done, total=event.total, note=event.note)


def _end_journals(candidate: Candidate, outcomes: Sequence[FoldOutcome]) -> None:
    """Record how folds ended whose processes were killed before they could."""
    for outcome in outcomes:
        journal = candidate.fold_folder(outcome.fold) / JOURNAL_FILE
        if outcome.state == "failed":
            Journal(journal).status("FAILED")
        elif outcome.state == "interrupted":
            end_journal(journal, "KILLED")


def _status(candidate: Candidate, outcomes: Sequence[FoldOutcome]) -> Status | None:
    """Return how the candidate's training ended; None where other folds are still to be trained."""
    states = {outcome.state for outcome in outcomes}
    if "failed" in states:
        return "FAILED"
    if "interrupted" in states:
        return "KILLED"
    records = [candidate.fold_folder(fold) / RECORD_FILE for fold in candidate.recipe.folds]
    return "FINISHED" if all(record.is_file() for record in records) else None


def _raise_unless_done(outcomes: Sequence[FoldOutcome]) -> None:
    stopped = [outcome for outcome in outcomes if outcome.state == "interrupted"]
    if any(outcome.state == "failed" for outcome in outcomes):
        error = FoldsFailedError(outcomes)
        _LOG.error("%s\n%s", error, error.log_tail)
        raise error
    if stopped:
        message = "; ".join(f"fold {outcome.fold}: {outcome.reason}" for outcome in stopped)
        raise TrainingInterruptedError(f"{message}; run again to continue")


def _with_site_minutes(recipe: Recipe) -> Recipe:
    """Return the recipe with the minutes between two checkpoints that are set here, where some are."""
    minutes = settings().checkpoint_minutes
    if minutes is None:
        return recipe
    training = recipe.training.model_copy(update={"checkpoint_minutes": minutes})
    return recipe.model_copy(update={"training": training})


def parse_folds(text: str) -> list[int]:
    """Parse a JSON list of folds such as ``[0, 1]``."""
    try:
        folds = json.loads(text)
    except ValueError:
        folds = None
    is_list = isinstance(folds, list) and 0 < len(folds) == len(set(map(str, folds)))
    if not is_list or any(type(fold) is not int or fold not in range(5) for fold in folds):
        raise InvalidValueError("folds", text, expected="a JSON list of folds 0-4, such as [0, 1]")
    return list(folds)


def step(*, root: str, plan: str, recipe: str, folds: str, start_from: int) -> str:
    """Do the work of the pipeline's step; ``start_from`` is a model version, 0 for random weights."""

    def work() -> str:
        records = train_folds(
            root=Path(root),
            plan=Plan.from_text(plan, where="plan"),
            recipe=_with_site_minutes(given_recipe(recipe)),
            folds=parse_folds(folds),
            start_from=start_from,
        )
        return json.dumps([record.text() for record in records])

    return run_step(STEP, work)


def main(argv: list[str] | None = None) -> int:
    """Run the step from the command line; the records are the last line of stdout, as a JSON list."""

    def work() -> str:
        parser = Arguments(prog="python -m components.train_folds", description=__doc__)
        parser.add_argument("--root", default=str(settings().root_path), help="shared root (default: %(default)s)")
        parser.add_argument("--plan", required=True, help="the plan's record, as plan_training printed it")
        parser.add_argument("--recipe", required=True, help="name of a recipe, a path to a .yaml, or its JSON")
        parser.add_argument("--folds", default="[0]", help="JSON list of folds (default: %(default)s)")
        parser.add_argument("--start-from", type=int, default=0, help="version whose weights training begins with")
        given = parser.parse_args(argv)
        return step(**vars(given))

    return run_program(work)
