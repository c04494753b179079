"""All rules: those on the graph hold everywhere, those on pods where there is a cluster."""

from pipelines.linting.graph_rules import GRAPH_RULES
from pipelines.linting.placement_rules import PLACEMENT_RULES
from pipelines.linting.pod_rules import POD_RULES

RULES = (*GRAPH_RULES, *POD_RULES, *PLACEMENT_RULES)
__all__ = ["GRAPH_RULES", "RULES"]
