"""All policies by name: each takes the objects of an overlay and returns what is wrong with them."""

from collections.abc import Callable, Sequence

from manifests.objects import Object
from manifests.policies import containers, lifecycle, network, references, rights, scaling, selection

POLICIES: dict[str, Callable[[Sequence[Object]], list[str]]] = {
    policy.__name__: policy
    for policy in (
        selection.selectors_match,
        selection.services_hit_ports,
        network.everything_is_shut_by_default,
        network.policies_apply,
        network.both_ends_agree,
        references.volumes_exist,
        references.references_exist,
        references.secrets_are_documented,
        containers.limits_are_set,
        containers.images_are_pinned,
        containers.settings_exist,
        containers.commands_exist,
        rights.nobody_is_root,
        rights.rights_are_least,
        rights.claims_have_a_group,
        lifecycle.probes_mean_something,
        lifecycle.requests_may_end,
        scaling.roll_outs_keep_one_ready,
        scaling.autoscalers_decide,
        scaling.budgets_let_go_and_keep,
        scaling.the_quota_has_room,
    )
}
