"""Judge a candidate's evaluation under a policy, against the model in use where there is one."""

from pathlib import Path

from components.gate_candidate.report import make_pictures, write_pictures, write_report
from model_registry.champion import candidate_evaluation, champion_of, dataset_of
from model_registry.gate import judge
from model_registry.lifecycle import Registry
from model_registry.policy import Policy, given_policy
from model_registry.verdict import Verdict
from spine import progress
from spine.arguments import Arguments
from spine.logs import run_program
from spine.metrics.postprocessing_variants import read_alternatives
from spine.records import ALTERNATIVES_FILE, MASKS_FOLDER, OUT_OF_FOLD_FILE, TEST_FILE, EvaluationRecord, Plan
from spine.settings import settings
from spine.steps import run_step
from spine.storage import write_json

STEP = "gate_candidate"


def gate_candidate(*, root: Path, plan: Plan, evaluation: EvaluationRecord, policy: Policy) -> Verdict:
    """Return the verdict and keep it, with the evidence it was made from, beside the evaluation."""
    champion = champion_of(Registry.at(root, settings()))
    rival = (
        champion.evaluation(dataset=dataset_of(root, plan), evaluation_folder=root / evaluation.folder)
        if champion
        else None
    )
    candidate = candidate_evaluation(root, evaluation, file=TEST_FILE)
    evaluated = root / evaluation.folder
    verdict = judge(candidate=candidate, champion=rival, policy=policy)
    folder = verdict.folder_below(evaluated)
    write_json(folder / "policy.json", policy.stored())
    if rival:
        write_json(folder / "champion.json", rival.content)
    pictures = make_pictures(
        dataset=root / plan.dataset_folder, predictions=evaluated / MASKS_FOLDER, evaluation=candidate
    )
    write_pictures(folder / "pictures", pictures)
    write_report(
        path=folder / "report.html",
        candidate=candidate,
        out_of_fold=candidate_evaluation(root, evaluation, file=OUT_OF_FOLD_FILE),
        champion=rival,
        verdict=verdict,
        pictures=pictures,
        alternatives=read_alternatives(evaluated / ALTERNATIVES_FILE),
    )
    verdict.write(folder / "verdict.json")
    progress.report(STEP, "judge", done=1, total=1, note=verdict.summary)
    return verdict


def step(*, root: str, plan: str, evaluation: str, policy: str) -> str:
    """Do the work of the pipeline's step: records and a policy as text in, the verdict out."""
    return run_step(
        STEP,
        lambda: gate_candidate(
            root=Path(root),
            plan=Plan.from_text(plan, where="plan"),
            evaluation=EvaluationRecord.from_text(evaluation, where="evaluation"),
            policy=given_policy(policy),
        ).text(),
    )


def main(argv: list[str] | None = None) -> int:
    """Run the step from the command line; the verdict is the last line of stdout."""

    def work() -> str:
        parser = Arguments(prog="python -m components.gate_candidate", description=__doc__)
        parser.add_argument("--root", default=str(settings().root_path), help="shared root (default: %(default)s)")
        parser.add_argument("--plan", required=True, help="the plan's record")
        parser.add_argument("--evaluation", required=True, help="the evaluation's record, as evaluate_folds printed it")
        parser.add_argument("--policy", required=True, help="name of a policy, a path to a .yaml, or its JSON")
        given = parser.parse_args(argv)
        return step(**vars(given))

    return run_program(work)
