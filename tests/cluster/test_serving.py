"""Promotion by command and by pipeline, requests through the Service, a rollback under load, and MLflow's aliases."""

import pytest

from tests.cluster.configuration import ACTOR, APPROVER
from tests.cluster.kubeflow_api import start_pipeline
from tests.cluster.segmentation_load import Load, phantom_scan, segment
from tests.cluster.waiting import wait_until

pytestmark = pytest.mark.cluster
SERVICE, PORT = "spineline-serve", 8642
ALIASES_S = 60.0
GZIP = b"\x1f\x8b"


@pytest.fixture(scope="session")
def promotable(configuration, kubectl, registry, registered, interrupted):
    """The suite's two versions, where it may put one in use; what was in use before is put back at the end."""
    if not kubectl.has("deployment", SERVICE):
        pytest.skip(f"no Deployment {SERVICE}: KServe serves here")
    before = registry.served()
    if before and before not in registry.own_versions() and not configuration.replaces_served:
        pytest.skip(
            f"version {before} is in use, which the suite did not register: set SPINELINE_CLUSTER_REPLACE_SERVED=1"
        )
    yield registered.versions
    if before and registry.served() != before:
        registry.change(
            "rollback", "--to", str(before), "--reason", "end of the cluster suite", actor=APPROVER
        ).require()
    for one in registry.versions():
        if one["version"] in registered.versions and not one["in_use"] and one["stage"] != "revoked":
            registry.change("revoke", str(one["version"]), "--reason", "end of the cluster suite", actor=APPROVER)


@pytest.fixture(scope="session")
def first(promotable, registry, kubectl):
    """The first version, approved and promoted by command."""
    version = promotable[0]
    registry.change("approve", str(version), "--reason", "for the cluster suite", actor=APPROVER).require()
    registry.change("promote", str(version), "--reason", "for the cluster suite", actor=APPROVER).require()
    kubectl.do("rollout", "status", f"deployment/{SERVICE}", "--timeout=300s", timeout_s=360)
    return version


@pytest.fixture(scope="session")
def second(first, promotable, registry, spineline, launcher):
    """The second version, approved by command and promoted by the pipeline."""
    version = promotable[1]
    registry.change("approve", str(version), "--reason", "for the cluster suite", actor=APPROVER).require()
    run_id = start_pipeline(
        spineline.profile,
        "promote-approved",
        {"version": version, "reason": "for the cluster suite", "actor": APPROVER},
    )
    launcher.adopt(run_id).wait_for_state("SUCCEEDED", timeout_s=600)
    return version


@pytest.fixture(scope="session")
def scan(tmp_path_factory):
    return phantom_scan(tmp_path_factory.mktemp("scan") / "scan.nii.gz")


@pytest.fixture
def server(kubectl, tmp_path, configuration, scan):
    """Address of the Service on this machine; skips where it asks for a token that was not given."""
    with kubectl.forwarded(SERVICE, PORT, log=tmp_path / "forward.log") as address:
        if segment(address, scan, token=configuration.token).status in (401, 403):
            pytest.skip("the server takes only callers with a token: set SPINELINE_CLUSTER_TOKEN")
        yield address


def test_whoever_registered_a_version_may_not_approve_it(promotable, registry):
    answer = registry.change("approve", str(promotable[0]), "--reason", "for the cluster suite", actor=ACTOR)
    assert ACTOR in answer.require(2).err


def test_a_version_is_promoted_by_command(first, registry):
    assert registry.served() == first
    events = [event for event in registry.history() if event["kind"] == "promote" and event["version"] == first]
    assert events[-1]["actor"] == APPROVER


def test_mlflows_aliases_follow_a_promotion_by_command_within_a_minute(first, registry):
    _require_champion(registry, first)


def test_a_request_through_the_service_is_answered_by_the_version_in_use(first, server, configuration, scan):
    answer = segment(server, scan, token=configuration.token)
    assert (answer.status, answer.version) == (200, str(first))
    assert answer.mask.startswith(GZIP)


def test_the_promotion_pipeline_refuses_to_promote_without_an_actor(first, promotable, registry, spineline, launcher):
    from pipelines.cluster.errors import ClusterError

    arguments = {"version": promotable[1], "reason": "for the cluster suite"}
    try:
        run_id = start_pipeline(spineline.profile, "promote-approved", arguments)
    except ClusterError as error:
        assert "actor" in str(error)
    else:
        run = launcher.adopt(run_id)
        run.wait_for_state("FAILED", timeout_s=600)
        messages = [step["message"] or "" for step in run.status()["steps"]]
        assert any("actor" in message for message in messages), messages
    assert registry.served() == first


def test_the_promotion_pipeline_promotes_for_its_actor(second, registry):
    assert registry.served() == second
    events = [event for event in registry.history() if event["kind"] == "promote" and event["version"] == second]
    assert events[-1]["actor"] == APPROVER


def test_mlflows_aliases_follow_a_promotion_by_pipeline_within_a_minute(second, registry):
    _require_champion(registry, second)


def test_a_rollback_under_load_fails_no_request(first, second, server, registry, configuration, scan):
    with Load(server, scan, configuration.token) as load:
        load.wait_for_version(second)
        registry.change("rollback", "--reason", "for the cluster suite", actor=APPROVER).require()
        load.wait_for_version(first)
    assert load.failed == []
    assert {answer.version for answer in load.answers} == {str(first), str(second)}
    assert registry.served() == first


def test_mlflows_aliases_follow_a_rollback_within_a_minute(first, second, registry):
    _require_champion(registry, registry.served())


def _require_champion(registry, version):
    def look():
        status = registry.status()
        aliases = status["aliases in MLflow"]
        differs = [line for line in status["differences"] if "alias" in line]
        return isinstance(aliases, dict) and aliases.get("champion") == version and not differs

    what = f"MLflow's alias champion to be version {version}"
    wait_until(look, what, timeout_s=ALIASES_S, state=lambda: registry.status()["aliases in MLflow"])
