"""KFP component definition."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("data"), install_kfp_package=False)
def pull_dataset(root: str, repository: str, revision: str, remote: str, recipe: str, policy: str, actor: str) -> str:
    """Check the run's parameters, pull a data set's revision into the shared root, and return its record."""
    from components.pull_dataset.main import step

    return step(
        root=root,
        repository=repository,
        revision=revision,
        remote=remote,
        recipe=recipe,
        policy=policy,
        actor=actor,
    )
