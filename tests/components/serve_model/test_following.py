"""The server follows the ledger: promotions, rollbacks, failures and revocations."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from model_registry.bundle import Bundle
from model_registry.lifecycle import Registry
from model_registry.replicas import ReplicaReport

WHO = {"actor": "ann", "reason": "for tests"}


def test_without_a_promoted_version_it_lives_but_is_not_ready(serve, registry_with_two_versions, scan_bytes) -> None:
    server = serve(registry_with_two_versions.root)
    assert server.client.get("/healthz").status_code == 200
    assert server.client.get("/readyz").status_code == 503
    assert server.client.get("/v1/model").status_code == 503
    refused = server.segment(scan_bytes)
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert "no model version" in refused.json()["error"]


def test_promotion_and_rollback_change_what_answers(serve, registry_with_two_versions, scan_bytes) -> None:
    registry = registry_with_two_versions
    server = serve(registry.root)
    masks = {}
    registry.promote(1, **WHO, expected_serving=None)
    for version, change in ((1, None), (2, "promote"), (1, "roll back")):
        if change == "promote":
            registry.promote(2, **WHO, expected_serving=1)
        elif change == "roll back":
            registry.roll_back(to=None, **WHO)
        server.wait_for(version)
        answer = server.segment(scan_bytes)
        assert answer.status_code == 200
        assert answer.headers["x-spineline-version"] == str(version)
        assert "not for clinical use" in answer.headers["x-spineline-disclaimer"]
        assert masks.setdefault(version, answer.content) == answer.content
    assert masks[1] != masks[2]
    model = server.client.get("/v1/model").json()
    assert (model["recipe"], model["golden_dice"], model["versions_in_memory"]) == ("tiny", 1.0, [2, 1])
    assert server.client.get("/readyz").status_code == 200
    metrics = server.client.get("/metrics").text
    assert 'spineline_model_swaps_total{result="loaded"} 2.0' in metrics
    assert 'spineline_model_swaps_total{result="warm"} 1.0' in metrics
    assert 'spineline_segmentation_requests_total{status="200",version="1"} 2.0' in metrics
    assert 'spineline_live_model_info{digest="' in metrics
    assert metrics.count("spineline_live_model_info{") == 1


def test_no_request_is_lost_and_every_answer_is_of_a_version_live_meanwhile(
    serve, registry_with_two_versions, scan_bytes
) -> None:
    registry = registry_with_two_versions
    server = serve(registry.root)
    registry.promote(1, **WHO, expected_serving=None)
    server.wait_for(1)
    spans: list[tuple[float, float, int]] = [(0.0, float("inf"), 1)]
    answers: list[tuple[float, float, httpx.Response]] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=server.client.base_url, timeout=60, trust_env=False) as client:
            while not stop.is_set():
                start = time.monotonic()
                answer = client.post("/v1/segmentations", content=scan_bytes)
                answers.append((start, time.monotonic(), answer))

    clients = [threading.Thread(target=ask) for _ in range(3)]
    for client in clients:
        client.start()
    live = 1
    for _ in range(4):
        other = 3 - live
        asked = time.monotonic()
        if other == 2:
            registry.promote(2, **WHO, expected_serving=1)
        else:
            registry.roll_back(to=None, **WHO)
        server.wait_for(other)
        # The switch lies between asking for it and seeing it: both versions count as live in between.
        spans[-1] = (spans[-1][0], time.monotonic(), live)
        spans.append((asked, float("inf"), other))
        live = other
        time.sleep(0.3)
    stop.set()
    for client in clients:
        client.join(30)
    assert len(answers) > 10
    assert {answer.headers["x-spineline-version"] for *_, answer in answers} == {"1", "2"}
    for start, end, answer in answers:
        assert answer.status_code == 200
        version = int(answer.headers["x-spineline-version"])
        assert any(span[2] == version and span[0] <= end and start <= span[1] for span in spans)


def test_a_corrupt_bundle_leaves_the_live_version_and_says_so(serve, registry_with_two_versions, scan_bytes) -> None:
    registry = registry_with_two_versions
    server = serve(registry.root)
    registry.promote(1, **WHO, expected_serving=None)
    server.wait_for(1)
    weights = registry.bundle(2).fold_path(1)
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    registry.promote(2, **WHO, expected_serving=1)
    server.wait_until(lambda: server.client.get("/v1/model").json()["last_failure"] is not None, told="a failure")
    model = server.client.get("/v1/model").json()
    assert (model["version"], model["wanted_version"], model["last_failure"]["version"]) == (1, 2, 2)
    assert "digest" in model["last_failure"]["reason"]
    assert str(registry.root) not in model["last_failure"]["reason"]
    assert server.segment(scan_bytes).headers["x-spineline-version"] == "1"
    assert "spineline_model_behind_ledger 1.0" in server.client.get("/metrics").text
    time.sleep(0.5)
    assert server.client.get("/v1/model").json()["last_failure"]["attempts"] <= 4
    weights.write_bytes(good)
    server.wait_for(2)
    assert server.client.get("/v1/model").json()["last_failure"] is None


def test_a_version_that_fails_its_golden_case_never_goes_live(
    serve, tmp_path: Path, make_bundle: Callable[..., Bundle]
) -> None:
    from model_registry.bundle import GOLDEN_LABELS, MANIFEST_FILE, list_files
    from spine.storage import write_json
    from spine.volume.nifti import Volume, read_labels, write_volume

    registry = Registry(tmp_path)
    bundle = make_bundle(tmp_path / "versions" / "1")
    recorded = read_labels(bundle.folder / GOLDEN_LABELS)
    write_volume(bundle.folder / GOLDEN_LABELS, Volume(array=(recorded.array + 1) % 26, grid=recorded.grid))
    changed = bundle.manifest.model_copy(update={"files": list_files(bundle.folder)})
    write_json(bundle.folder / MANIFEST_FILE, changed.model_dump(mode="json"))
    registry.register(version=1, bundle=Bundle(bundle.folder), **WHO)
    registry.approve(1, **WHO)
    registry.promote(1, **WHO, expected_serving=None)
    server = serve(tmp_path)
    server.wait_until(lambda: server.client.get("/v1/model").json()["last_failure"] is not None, told="a failure")
    assert "golden case" in server.client.get("/v1/model").json()["last_failure"]["reason"]
    assert server.client.get("/readyz").status_code == 503


def test_a_broken_or_shortened_ledger_keeps_the_live_version(serve, registry_with_two_versions, scan_bytes) -> None:
    registry = registry_with_two_versions
    registry.promote(1, **WHO, expected_serving=None)
    registry.promote(2, **WHO, expected_serving=1)
    server = serve(registry.root)
    server.wait_for(2)
    events = sorted((registry.root / "ledger").glob("[0-9]*.json"))
    for damage, told in ((b"{}", "was changed"), (None, "gone or another")):
        whole = events[-1].read_bytes()
        events[-1].unlink()
        if damage is not None:
            events[-1].write_bytes(damage)

        def told_so(told: str = told) -> bool:
            return told in (server.client.get("/v1/model").json()["ledger_problem"] or "")

        server.wait_until(told_so, told="the problem to be told")
        assert server.segment(scan_bytes).headers["x-spineline-version"] == "2"
        events[-1].unlink(missing_ok=True)
        events[-1].write_bytes(whole)
        server.wait_until(
            lambda: server.client.get("/v1/model").json()["ledger_problem"] is None, told="the ledger to be sound again"
        )
    assert server.version() == 2


def test_a_live_version_that_is_revoked_meanwhile_is_dropped(serve, registry_with_two_versions, scan_bytes) -> None:
    registry = registry_with_two_versions
    server = serve(registry.root)
    registry.promote(1, **WHO, expected_serving=None)
    server.wait_for(1)
    weights = registry.bundle(2).fold_path(0)
    os.truncate(weights, 10)
    registry.promote(2, **WHO, expected_serving=1)
    registry.revoke(1, **WHO)
    server.wait_for(None)
    assert server.segment(scan_bytes).status_code == 503
    assert server.client.get("/v1/model").json()["versions_in_memory"] == []


def test_a_first_version_that_is_taken_back_is_no_longer_served(serve, registry_with_two_versions, scan_bytes) -> None:
    registry = registry_with_two_versions
    server = serve(registry.root)
    event = registry.promote(1, **WHO, expected_serving=None)
    server.wait_for(1)
    registry.revert(event, **WHO)
    server.wait_for(None)
    assert server.segment(scan_bytes).status_code == 503
    assert server.client.get("/v1/model").json()["wanted_version"] is None


def test_a_server_reports_what_it_answers_with_and_why_it_can_not_follow(serve, registry_with_two_versions) -> None:
    registry = registry_with_two_versions
    server = serve(registry.root)
    registry.promote(1, **WHO, expected_serving=None)
    server.wait_for(1)
    replicas = registry.replicas()

    def reported(condition: Callable[[ReplicaReport], bool]) -> Callable[[], bool]:
        return lambda: any(condition(report) for report in replicas.fresh())

    newest = registry.history()[-1]
    server.wait_until(reported(lambda report: report.follows(newest)), told="a report that follows")
    os.truncate(registry.bundle(2).fold_path(0), 10)
    event = registry.promote(2, **WHO, expected_serving=1)
    server.wait_until(reported(lambda report: report.failed_on(event)), told="a report of the failure")
    (report,) = replicas.fresh()
    assert (report.version, report.event, report.event_digest) == (1, event.number, event.digest)
    assert "digest" in report.problem() and str(registry.root) not in report.problem()
    registry.revert(event, **WHO)
    server.wait_until(reported(lambda report: report.failure is None), told="the failure to be forgotten")
