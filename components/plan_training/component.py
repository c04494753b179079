"""KFP component definition."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("train"), install_kfp_package=False)
def plan_training(root: str, dataset: str, recipe: str) -> str:
    """Plan with nnU-Net and preprocess; return the plan's record."""
    from components.plan_training.main import step

    return step(root=root, dataset=dataset, recipe=recipe)
