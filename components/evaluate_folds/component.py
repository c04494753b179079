"""KFP component definition."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("train"), install_kfp_package=False)
def evaluate_folds(root: str, plan: str, recipe: str, checkpoints: list[str]) -> str:
    """Evaluate out of fold and on the locked test set; return the evaluation's record."""
    import json

    from components.evaluate_folds.main import step

    return step(root=root, plan=plan, recipe=recipe, checkpoints=json.dumps(checkpoints))
