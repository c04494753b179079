"""KFP component definition."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("registry"), install_kfp_package=False)
def register_candidate(
    root: str, plan: str, recipe: str, checkpoints: list[str], evaluation: str, verdict: str, actor: str
) -> str:
    """Register a candidate that passed; return the version's record, or why there is none."""
    import json

    from components.register_candidate.main import step

    return step(
        root=root,
        plan=plan,
        recipe=recipe,
        checkpoints=json.dumps(checkpoints),
        evaluation=evaluation,
        verdict=verdict,
        actor=actor,
    )
