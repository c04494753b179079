"""For each policy, manifests that break it."""

from typing import Final

from manifests.planted import naming, running
from manifests.planted.places import Break

_ELSEWHERE: tuple[tuple[str, str, Break], ...] = (
    ("policies_apply", "single-node", naming.a_policy_lets_in_nobody),
    ("both_ends_agree", "single-node", naming.only_one_end_may),
    ("both_ends_agree", "single-node", naming.only_the_other_end_may),
    ("roll_outs_keep_one_ready", "kserve", running.kserve_takes_one_away),
)
PLANTED: Final = (
    *(
        (policy, "production", breaking)
        for room in (naming, running)
        for policy, several in room.PLANTED.items()
        for breaking in several
    ),
    *_ELSEWHERE,
)
"""Policy, overlay, and what is done to it."""
