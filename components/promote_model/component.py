"""KFP component definition."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("train"), install_kfp_package=False)
def promote_model(root: str, action: str, version: int, reason: str, actor: str) -> str:
    """Promote a version or roll back; return the event of the ledger."""
    from components.promote_model.main import step

    return step(root=root, action=action, version=version, reason=reason, actor=actor)
