"""From a data set's revision to a registered version: pull, plan, train folds, evaluate, gate, register."""

from collections.abc import Sequence

from kfp import dsl

from components.evaluate_folds.component import evaluate_folds
from components.gate_candidate.component import gate_candidate
from components.plan_training.component import plan_training
from components.pull_dataset.component import pull_dataset
from components.register_candidate.component import register_candidate
from components.train_folds.component import train_folds
from pipelines.pod_settings import apply_settings
from pipelines.profile import Profile
from pipelines.step_settings import Step

NAME = "train-candidate"


def build(
    *, fold_groups: Sequence[Sequence[int]], profile: Profile, repository: str = ""
) -> dsl.graph_component.GraphComponent:
    """Build the pipeline for a profile; each group of folds is one task, side by side with the others.

    Every parameter has a default, so that a run can be started from Kubeflow's pages; ``repository`` is the one of the
    repository, and the first step refuses an empty one.

    The loop stands in a pipeline of its own: kfp's local runner replaces every upstream output that a loop's body
    reads by the loop's item, and leaves a pipeline's parameters alone.
    """
    groups = [str(list(group)) for group in fold_groups]

    @dsl.pipeline(name="train-groups-of-folds")
    def train_groups(root: str, plan: str, recipe: str, start_from: int) -> list[str]:
        with dsl.ParallelFor(groups, parallelism=0) as folds:
            trained = train_folds(root=root, plan=plan, recipe=recipe, folds=folds, start_from=start_from)
            apply_settings(trained, profile, step="train_folds")
        return dsl.Collected(trained.output)

    @dsl.pipeline(name=NAME, description=__doc__)
    def train_candidate(
        root: str = profile.shared_root,
        repository: str = repository,
        revision: str = "main",
        remote: str = "",
        recipe: str = "spine",
        policy: str = "research",
        start_from: int = 0,
        actor: str = "",
    ) -> str:
        """Train a candidate.

        Args:
            root: Folder of the shared volume in the pods; the profile's by default.
            repository: URL of the git repository whose dvc.lock versions the data set. Required.
            revision: Branch, tag or commit of that repository.
            remote: URL of the DVC remote; empty for the repository's own.
            recipe: Name of a recipe, or its JSON; its folds are those that the pipeline was compiled for.
            policy: Name of a policy, or its JSON.
            start_from: Version whose weights training begins with; 0 for random weights.
            actor: Name of the person who starts the run; required where the policy separates who approves.
        """
        dataset = pull_dataset(
            root=root,
            repository=repository,
            revision=revision,
            remote=remote,
            recipe=recipe,
            policy=policy,
            actor=actor,
        )
        plan = plan_training(root=root, dataset=dataset.output, recipe=recipe)
        folds = train_groups(root=root, plan=plan.output, recipe=recipe, start_from=start_from)
        folds.set_caching_options(enable_caching=False)
        evaluation = evaluate_folds(root=root, plan=plan.output, recipe=recipe, checkpoints=folds.output)
        verdict = gate_candidate(root=root, plan=plan.output, evaluation=evaluation.output, policy=policy)
        # A verdict that does not pass is told by this step, not skipped: a branch not taken is easily missed.
        version = register_candidate(
            root=root,
            plan=plan.output,
            recipe=recipe,
            checkpoints=folds.output,
            evaluation=evaluation.output,
            verdict=verdict.output,
            actor=actor,
        )
        tasks: dict[Step, dsl.PipelineTask] = {
            "pull_dataset": dataset,
            "plan_training": plan,
            "evaluate_folds": evaluation,
            "gate_candidate": verdict,
            "register_candidate": version,
        }
        for step, task in tasks.items():
            apply_settings(task, profile, step=step)
        return version.output

    return train_candidate
