"""KFP component definition."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("train"), install_kfp_package=False)
def train_folds(root: str, plan: str, recipe: str, folds: str, start_from: int) -> str:
    """Train a group of folds; return their records."""
    from components.train_folds.main import step

    return step(root=root, plan=plan, recipe=recipe, folds=folds, start_from=start_from)
