"""A training run from its request to its outcome, on this machine or on a cluster."""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.train_folds.devices import find_devices
from model_registry.actors import require_starter
from model_registry.policy import Policy
from model_registry.run_endings import end_dead_trainings
from model_registry.verdict import Verdict
from pipelines.local import LocalRun, run_local
from pipelines.profile import Profile
from spine.errors import InvalidValueError, StepFailedError
from spine.git_urls import is_path, require_no_password
from spine.progress import ProgressEvent
from spine.recipe import Recipe
from spine.records import (
    DatasetRevision,
    EvaluationRecord,
    FoldCheckpoint,
    ModelVersion,
    Plan,
    Record,
    parse_checkpoints,
)
from spine.settings import settings
from spine.storage import strict_json

if TYPE_CHECKING:
    from pipelines.cluster.launching import Launch

PIPELINE = "train-candidate"
_ANCESTOR = re.compile(r"([~^]\d*)+$")
_NO_REVISION = re.compile(r"^$|^[-/]|[\0-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|(^|/)\.|\.lock(/|$)|[./]$")
"""What `git check-ref-format` refuses in a name, and a leading dash, which would be an option."""
_LOCAL_WORKERS = 2  # as many tasks of a loop as kfp's local runner has at a time


@dataclass(frozen=True)
class TrainingRequest:
    """What a run is to train, on which data, how it will be judged, and who starts it.

    Raises InvalidValueError for a revision that git could not have, for a password in a URL (many read a run's
    arguments and records), and for an actor who may not start a run under the policy.
    """

    repository: str
    revision: str
    remote: str
    recipe: Recipe
    policy: Policy
    start_from: int
    actor: str

    def __post_init__(self) -> None:
        if _NO_REVISION.search(_ANCESTOR.sub("", self.revision)):
            raise InvalidValueError("dataset", self.revision, expected="a branch, tag or commit, as git names them")
        require_no_password("repository", self.repository)
        require_no_password("remote", self.remote)
        require_starter(self.actor, policy=self.policy)

    def arguments(self, *, root: str) -> dict[str, Any]:
        """Return the pipeline's arguments; recipe and policy travel as JSON, whole."""
        return {
            "root": root,
            "repository": self.repository,
            "revision": self.revision,
            "remote": self.remote,
            "recipe": strict_json(self.recipe.model_dump(mode="json")),
            "policy": strict_json(self.policy.model_dump(mode="json")),
            "start_from": self.start_from,
            "actor": self.actor,
        }


@dataclass(frozen=True)
class TrainingOutcome:
    """The chain of records that a run made; each quotes its parent's digest."""

    dataset: DatasetRevision
    plan: Plan
    checkpoints: tuple[FoldCheckpoint, ...]
    evaluation: EvaluationRecord
    verdict: Verdict
    version: ModelVersion | None
    report: Path

    def as_json(self) -> dict[str, Any]:
        """Return the records as JSON, each with its digest."""
        chain: dict[str, Record | None] = {
            "dataset": self.dataset,
            "plan": self.plan,
            "evaluation": self.evaluation,
            "verdict": self.verdict,
            "version": self.version,
        }
        shown: dict[str, Any] = {name: _sealed(record) for name, record in chain.items()}
        return {**shown, "checkpoints": [_sealed(record) for record in self.checkpoints], "report": str(self.report)}


def train_on_this_machine(request: TrainingRequest, *, on_event: Callable[[ProgressEvent], None]) -> TrainingOutcome:
    """Run the training pipeline here and check that it made every record that it owes."""
    root = settings().root_path
    root.mkdir(parents=True, exist_ok=True)
    groups = local_groups(request.recipe.training.folds)
    repository = request.repository
    if is_path(repository):
        repository = str(Path(repository).expanduser().absolute())
    arguments = {**request.arguments(root=str(root)), "repository": repository}
    side_by_side = min(len(groups), _LOCAL_WORKERS)
    run = run_local(
        pipeline=PIPELINE,
        arguments=arguments,
        root=root,
        on_event=on_event,
        fold_groups=groups,
        environment={"SPINELINE_TRAINING_THREADS": str(max(1, settings().cpu_threads // side_by_side))},
        prepare=lambda: end_dead_trainings(root, settings()),
    )
    return _outcome(run, root=root, groups=len(groups))


def local_groups(folds: Sequence[int]) -> list[list[int]]:
    """Deal folds to tasks on this machine: all to one where devices are named or there are GPUs, which it shares out.

    On CPU each fold is a task: two side by side on half the cores each train a third faster than one after the other
    on all of them, for the layers are too small to share among threads.
    """
    is_shared_out = settings().devices is not None or find_devices(None)[0].kind == "cuda"
    return [list(folds)] if is_shared_out else [[fold] for fold in folds]


def compiled_for_cluster(request: TrainingRequest, profile: Profile) -> AbstractContextManager["Launch"]:
    """Return the launch of the training pipeline for a cluster's profile, to be entered: it is compiled then.

    The run's actor is the user whom the profile's token names, else the request's. Raises InvalidValueError, at once,
    for a repository that only this machine has.
    """
    from pipelines.cluster.identity import token_user
    from pipelines.cluster.launching import compiled

    if is_path(request.repository):
        raise InvalidValueError("repository", request.repository, expected="a git URL that the cluster can clone")
    request = replace(request, actor=token_user(profile.kubeflow) or request.actor)
    return compiled(
        PIPELINE,
        profile=profile,
        folds=list(request.recipe.training.folds),
        arguments=request.arguments(root=profile.shared_root),
        title=f"{request.recipe.name} on {request.revision}",
    )


def _outcome(run: LocalRun, *, root: Path, groups: int) -> TrainingOutcome:
    where = str(run.log)
    dataset = DatasetRevision.from_text(run.record("pull_dataset"), where=where)
    plan = Plan.from_text(run.record("plan_training"), where=where)
    trained = [record for text in run.records_owed("train_folds", groups) for record in parse_checkpoints(text)]
    evaluation = EvaluationRecord.from_text(run.record("evaluate_folds"), where=where)
    verdict = Verdict.from_text(run.record("gate_candidate"), where=where)
    registered = run.record("register_candidate")
    version = ModelVersion.from_text(registered, where=where) if verdict.outcome == "pass" else None
    quoted = {
        "plan_training": plan.dataset == dataset.digest,
        "train_folds": all(record.plan == plan.digest for record in trained),
        "evaluate_folds": set(evaluation.checkpoints) == {record.digest for record in trained},
        "gate_candidate": verdict.evaluation == evaluation.test_evaluation,
        "register_candidate": version is None or version.evaluation == evaluation.digest,
    }
    for step, holds in quoted.items():
        if not holds:
            raise StepFailedError(step, reason="does not quote the record before it", log_tail=run.log_tail())
    return TrainingOutcome(
        dataset=dataset,
        plan=plan,
        checkpoints=tuple(trained),
        evaluation=evaluation,
        verdict=verdict,
        version=version,
        report=verdict.folder_below(root / evaluation.folder) / "report.html",
    )


def _sealed(record: Record | None) -> dict[str, Any] | None:
    return {**record.content, "digest": record.digest} if record else None
