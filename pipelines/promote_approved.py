"""Put an approved version in use, after its digests and golden case were checked."""

from kfp import dsl

from components.promote_model.component import promote_model
from pipelines.pod_settings import apply_settings
from pipelines.profile import Profile

NAME = "promote-approved"


def build(profile: Profile) -> dsl.graph_component.GraphComponent:
    """Build the pipeline for a profile."""

    @dsl.pipeline(name=NAME, description=__doc__)
    def promote_approved(root: str = profile.shared_root, version: int = 0, reason: str = "", actor: str = "") -> str:
        """Promote a version.

        Args:
            root: Folder of the shared volume in the pods; the profile's by default.
            version: Number of the approved version. Required.
            reason: Why, in one sentence, for the ledger. Required.
            actor: Name of the person who decides, for the ledger. Required.
        """
        event = promote_model(root=root, action="promote", version=version, reason=reason, actor=actor)
        apply_settings(event, profile, step="promote_model")
        return event.output

    return promote_approved
