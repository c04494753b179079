"""The KFP face of the step: its image, inputs and output, and no work."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("data"), install_kfp_package=False)
def pull_dataset(root: str, repository: str, revision: str, remote: str) -> str:
    """Pull a data set's revision into the shared root; return its record."""
    from components.pull_dataset.program import step

    return step(root=root, repository=repository, revision=revision, remote=remote)
