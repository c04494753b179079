"""Every object is valid for the three newest versions of Kubernetes, and custom resources for their own schema."""

import copy
import json
from pathlib import Path

import pytest
from manifests.objects import named
from manifests.rendering import render
from manifests.schemas import faults, newest_versions

KUBERNETES = Path(__file__).resolve().parents[3] / "infra" / "kubernetes"


@pytest.mark.slow
@pytest.mark.parametrize("version", newest_versions())
def test_every_object_of_every_overlay_is_valid(rendered, version):
    distinct = {json.dumps(item): item for objects in rendered.values() for item in objects}
    assert [fault for item in distinct.values() for fault in faults(item, version=version)] == []


def test_the_servers_deployment_is_valid(rendered):
    item = named(rendered["production"], "Deployment", "spineline-serve")
    assert faults(item, version=newest_versions()[-1]) == []


def test_the_pod_monitors_are_valid():
    objects = render(KUBERNETES / "components" / "pod-monitors")
    assert [fault for item in objects for fault in faults(item, version=newest_versions()[-1])] == []


def test_three_versions_are_looked_at():
    assert len(set(newest_versions())) == 3


@pytest.mark.parametrize(
    ("kind", "name", "place", "value"),
    [
        ("Deployment", "spineline-serve", ("spec", "replica"), 2),
        ("Deployment", "spineline-serve", ("spec", "template", "spec", "terminationGracePeriodSeconds"), "long"),
        ("InferenceService", "vertebrae", ("spec", "predictor", "minReplica"), 2),
        ("InferenceService", "vertebrae", ("spec", "predictor", "scaleMetric"), "rps"),
        ("InferenceService", "vertebrae", ("spec", "predictor", "scaleTarget"), 150),
        ("InferenceService", "vertebrae", ("metadata", "annotations", "serving.kserve.io/deploymentMode"), "Raw"),
        ("InferenceService", "vertebrae", ("spec", "predictor", "securityContext", "runAsUser"), "me"),
        ("InferenceService", "vertebrae", ("spec", "transformers"), {}),
    ],
)
def test_a_field_that_is_unknown_or_of_the_wrong_kind_is_a_fault(rendered, kind, name, place, value):
    overlay = "kserve" if kind == "InferenceService" else "production"
    broken = copy.deepcopy(named(rendered[overlay], kind, name))
    at = broken
    for part in place[:-1]:
        at = at[part]
    at[place[-1]] = value
    assert faults(broken, version=newest_versions()[-1])


def test_a_monitor_of_the_wrong_kind_is_a_fault():
    monitor = render(KUBERNETES / "components" / "pod-monitors")[0]
    monitor["spec"]["podMetricsEndpoints"][0]["interval"] = 15
    assert faults(monitor, version=newest_versions()[-1])
