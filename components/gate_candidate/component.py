"""KFP component definition."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("registry"), install_kfp_package=False)
def gate_candidate(root: str, plan: str, evaluation: str, policy: str) -> str:
    """Judge the candidate under a policy; return the verdict."""
    from components.gate_candidate.main import step

    return step(root=root, plan=plan, evaluation=evaluation, policy=policy)
