"""Which unsuccessful steps the cluster starts again by itself, by the ConfigMap of Argo's controller."""

from typing import get_args

import pytest

from pipelines.cluster.endpoint import Endpoint
from pipelines.cluster.kubernetes_access import UnreadError, reach
from pipelines.cluster.retry_policy import NOTES, RetryPolicy, cluster_retry_policy
from tests.pipelines.cluster.fakes.kubernetes_server import ON_ERROR

NAME = "workflow-controller-configmap"
DEFAULTS = "spec: {templateDefaults: {retryStrategy: {limit: '2'%s}}}"
ALWAYS = DEFAULTS % ", retryPolicy: Always"


@pytest.fixture
def policy(kubernetes):
    """A function that returns the policy of the cluster."""
    return lambda: cluster_retry_policy(reach(Endpoint(namespace="spineline")))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"workflowDefaults": ON_ERROR}, "OnError"),
        ({"workflowDefaults": ALWAYS}, "Always"),
        ({"workflowDefaults": DEFAULTS % ", retryPolicy: OnTransientError"}, "OnTransientError"),
        ({"workflowDefaults": DEFAULTS % ""}, "OnFailure"),
        ({"workflowDefaults": "spec: {ttlStrategy: {secondsAfterCompletion: 3600}}"}, "OnFailure"),
        ({"executor": "imagePullPolicy: IfNotPresent"}, "OnFailure"),
        (None, "OnFailure"),
    ],
)
def test_the_policy_is_that_of_the_workflow_defaults_or_argos_own(kubernetes, policy, data, expected):
    kubernetes.controllers = {"kubeflow": data}
    assert policy() == expected


def test_the_config_map_of_the_runs_own_namespace_comes_first(kubernetes, policy):
    kubernetes.controllers["spineline"] = {"workflowDefaults": ALWAYS}
    assert policy() == "Always"


def test_no_policy_is_known_without_a_config_map(kubernetes, policy):
    kubernetes.controllers = {}
    assert policy() is None


@pytest.mark.parametrize(
    ("defaults", "reason"),
    [
        ("spec: [1", "its workflowDefaults are not a workflow"),
        ("OnError", "its workflowDefaults are not a workflow"),
        (DEFAULTS % ", retryPolicy: Never", "unknown retryPolicy 'Never'"),
        (DEFAULTS % ", retryPolicy: [Never]", "unknown retryPolicy"),
    ],
)
def test_defaults_that_are_not_a_workflow_are_reported(kubernetes, policy, defaults, reason):
    kubernetes.controllers = {"kubeflow": {"workflowDefaults": defaults}}
    with pytest.raises(UnreadError, match=reason):
        policy()


def test_every_policy_has_a_note():
    assert set(NOTES) == set(get_args(RetryPolicy))


def test_the_check_before_a_run_says_in_one_line_what_the_cluster_retries(kubernetes, submit):
    told = submit("--detach")
    assert told.code == 0, told.err
    assert [line for line in told.err.splitlines() if "retryPolicy" in line] == [NOTES["OnError"]]


def test_a_config_map_that_may_not_be_read_or_is_missing_stops_no_run(kubernetes, submit):
    kubernetes.forbidden = {"configmaps"}
    told = submit("--detach")
    assert told.code == 0, told.err
    assert "may not read ConfigMaps in namespace 'spineline'" in told.err
    kubernetes.forbidden, kubernetes.controllers = set(), {}
    told = submit("--detach")
    assert told.code == 0, told.err
    assert f"which steps the cluster retries: no ConfigMap '{NAME}'" in told.err


def test_a_refusal_says_nothing_about_retries(kubernetes, submit):
    kubernetes.claims = {}
    assert "retryPolicy" not in submit("--detach").err
