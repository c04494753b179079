"""Put an approved version in use, after its digests and golden case were checked."""

from kfp import dsl

from components.promote_model.component import promote_model
from pipelines.pod_settings import apply_settings
from pipelines.profile import Profile

NAME = "promote-approved"


def build(profile: Profile) -> dsl.graph_component.GraphComponent:
    """Build the pipeline for a profile."""

    @dsl.pipeline(name=NAME, description=__doc__)
    def promote_approved(root: str, version: int, reason: str) -> str:
        event = promote_model(root=root, action="promote", version=version, reason=reason)
        apply_settings(event, profile, step="promote_model")
        return event.output

    return promote_approved
