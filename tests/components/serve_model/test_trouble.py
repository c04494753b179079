"""What a server tells Prometheus when it can't have a version, or can't follow the ledger."""

import threading

from prometheus_client.parser import text_string_to_metric_families

WHO = {"actor": "ann", "reason": "for tests"}


def told(server, name: str) -> float:
    families = text_string_to_metric_families(server.client.get("/metrics").text)
    return next(sample.value for family in families for sample in family.samples if sample.name == f"spineline_{name}")


def test_a_version_whose_golden_case_fails_is_counted(serve, registry_with_two_versions, monkeypatch) -> None:
    server = serve(registry_with_two_versions.root)
    assert told(server, "golden_case_failures_total") == 0
    monkeypatch.setattr("model_registry.models.GOLDEN_DICE", 1.01)
    registry_with_two_versions.promote(1, **WHO, expected_serving=None)
    server.wait_until(lambda: told(server, "golden_case_failures_total") > 0, told="a golden case that fails")
    assert told(server, "model_behind_ledger") == 1
    monkeypatch.undo()
    server.wait_for(1)
    server.wait_until(lambda: told(server, "model_behind_ledger") == 0, told="the server to have caught up")


def test_a_load_that_hangs_is_told_while_it_hangs(serve, registry_with_two_versions, monkeypatch) -> None:
    registry = registry_with_two_versions
    registry.promote(1, **WHO, expected_serving=None)
    server = serve(registry.root)
    server.wait_for(1)
    prepare, asked, freed = server.service.watcher._engine.prepare, threading.Event(), threading.Event()

    def hanging(*given):
        asked.set()
        freed.wait(20)
        return prepare(*given)

    monkeypatch.setattr(server.service.watcher._engine, "prepare", hanging)
    registry.promote(2, **WHO, expected_serving=1)
    assert asked.wait(20)
    assert told(server, "model_behind_ledger") == 1
    freed.set()
    server.wait_for(2)
    server.wait_until(lambda: told(server, "model_behind_ledger") == 0, told="the server to have caught up")


def test_another_failure_is_no_golden_case(serve, registry_with_two_versions) -> None:
    registry = registry_with_two_versions
    registry.bundle(1).fold_path(0).write_bytes(b"damaged")
    server = serve(registry.root)
    registry.promote(1, **WHO, expected_serving=None)
    server.wait_until(lambda: server.service.watcher.last_failure is not None, told="a version that can't be loaded")
    assert told(server, "golden_case_failures_total") == 0


def test_a_ledger_that_can_not_be_followed_is_told_until_it_can(serve, registry_with_two_versions) -> None:
    registry = registry_with_two_versions
    registry.promote(1, **WHO, expected_serving=None)
    server = serve(registry.root)
    server.wait_for(1)
    assert told(server, "ledger_problem") == 0
    event = registry.root / "ledger" / "000002.json"
    whole = event.read_bytes()
    event.unlink()
    server.wait_until(lambda: told(server, "ledger_problem") == 1, told="the gap to be seen")
    event.write_bytes(whole)
    server.wait_until(lambda: told(server, "ledger_problem") == 0, told="the ledger to be whole again")
    assert server.version() == 1
