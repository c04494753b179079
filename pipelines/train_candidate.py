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


def build(*, fold_groups: Sequence[Sequence[int]], profile: Profile) -> dsl.graph_component.GraphComponent:
    """Build the pipeline for a profile; each group of folds is one task, side by side with the others.

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
        root: str, repository: str, revision: str, remote: str, recipe: str, policy: str, start_from: int = 0
    ) -> str:
        dataset = pull_dataset(root=root, repository=repository, revision=revision, remote=remote)
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
