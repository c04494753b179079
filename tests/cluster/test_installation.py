"""What is installed, or is installed now from the overlay that the user names."""

import pytest

pytestmark = pytest.mark.cluster
DEPLOYMENTS = ("mlflow", "spineline-monitor", "spineline-supervisor")


def test_the_overlay_applies_and_its_workloads_become_ready(configuration, kubectl):
    if configuration.overlay:
        kubectl.do("apply", "--kustomize", str(configuration.overlay), timeout_s=300)
    missing = [name for name in DEPLOYMENTS if not kubectl.has("deployment", name)]
    assert missing == [], f"Deployments of Spineline that namespace '{configuration.namespace}' lacks"
    for name in DEPLOYMENTS:
        kubectl.do("rollout", "status", f"deployment/{name}", "--timeout=600s", timeout_s=660)


def test_everything_that_the_profile_names_exists(kubectl, profile_content):
    given = profile_content["kubernetes"]
    wanted = [
        ("pvc", given.get("volume_claim")),
        ("pvc", given.get("cache_claim")),
        ("serviceaccount", given.get("service_account")),
        ("secret", given.get("tracking_secret")),
        ("secret", given.get("store_secret")),
        *(("secret", name) for name in given.get("store_secrets", {}).values()),
    ]
    missing = [f"{kind} {name}" for kind, name in wanted if name and not kubectl.has(kind, name)]
    assert missing == []


def test_the_claims_have_volumes(kubectl, profile_content):
    given = profile_content["kubernetes"]
    for name in filter(None, (given.get("volume_claim"), given.get("cache_claim"))):
        phase = kubectl.do("get", "pvc", name, "--output", "jsonpath={.status.phase}")
        assert phase == "Bound", f"claim {name} is {phase}"
