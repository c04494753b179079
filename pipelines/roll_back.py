"""Return to an earlier version; version 0 is the one before the one in use."""

from kfp import dsl

from components.promote_model.component import promote_model
from pipelines.pod_settings import apply_settings
from pipelines.profile import Profile

NAME = "roll-back"


def build(profile: Profile) -> dsl.graph_component.GraphComponent:
    """Build the pipeline for a profile."""

    @dsl.pipeline(name=NAME, description=__doc__)
    def roll_back(root: str = profile.shared_root, reason: str = "", actor: str = "", version: int = 0) -> str:
        """Roll back.

        Args:
            root: Folder of the shared volume in the pods; the profile's by default.
            reason: Why, in one sentence, for the ledger. Required.
            actor: Name of the person who decides, for the ledger. Required.
            version: Number of the version to return to; 0 for the one before the one in use.
        """
        event = promote_model(root=root, action="roll-back", version=version, reason=reason, actor=actor)
        apply_settings(event, profile, step="promote_model")
        return event.output

    return roll_back
