"""Return to an earlier version; version 0 is the one before the one in use."""

from kfp import dsl

from components.promote_model.component import promote_model
from pipelines.pod_settings import apply_settings
from pipelines.profile import Profile

NAME = "roll-back"


def build(profile: Profile) -> dsl.graph_component.GraphComponent:
    """Build the pipeline for a profile."""

    @dsl.pipeline(name=NAME, description=__doc__)
    def roll_back(root: str, reason: str, version: int = 0) -> str:
        event = promote_model(root=root, action="roll-back", version=version, reason=reason)
        apply_settings(event, profile, step="promote_model")
        return event.output

    return roll_back
