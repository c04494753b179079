"""The gate, the ledger and the servers as the monitor tells of them."""

from datetime import UTC, datetime, timedelta

import pytest

from model_registry.lifecycle import Registry
from model_registry.replicas import LoadFailure, ReplicaReport
from model_registry.verdict import Verdict
from spine.errors import SpinelineError


def verdict(site, evaluation, outcome, number=0, age_s=0.0):
    made = Verdict(
        outcome=outcome, evaluation=f"sha256:{number:064x}", champion=None, policy_name="p", policy="sha256:0",
        scans=2, rules=(), regions_without_cases=(), regions_not_compared=(), summary="",
    )  # fmt: skip
    path = made.folder_below(site.root / "evaluations" / evaluation) / "verdict.json"
    made.write(path)
    site.set_age(path, age_s)
    return path


def report(name, version, *, age_s=0.0, **more):
    at = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat(timespec="milliseconds")
    given = {"event": 0, "event_digest": None, "golden_dice": None, "failure": None, "ledger_problem": None, **more}
    return ReplicaReport(name=name, url="", pid=1, version=version, at=at, **given)


def test_verdicts_are_counted_by_outcome_and_the_newest_of_an_evaluation_is_told(site):
    watched = site.watched()
    assert [watched()["gate_verdicts", outcome] for outcome in ("pass", "fail", "inconclusive")] == [0, 0, 0]
    verdict(site, "abad1deaabad", "fail", number=1, age_s=900)
    verdict(site, "abad1deaabad", "inconclusive", number=2, age_s=60)
    verdict(site, "decadedecade", "pass", number=3, age_s=30 * 86400)
    seen = watched()
    assert [seen["gate_verdicts", outcome] for outcome in ("pass", "fail", "inconclusive")] == [1, 1, 1]
    now = datetime.now(UTC).timestamp()
    assert now - seen["gate_last_verdict_timestamp_seconds", "inconclusive"] == pytest.approx(60, abs=30)
    told = [key for key in seen if key[0] == "gate_verdict_timestamp_seconds"]
    assert told == [("gate_verdict_timestamp_seconds", "abad1deaabad", "inconclusive")]


def test_a_verdict_that_was_changed_is_counted_as_unreadable_until_it_is_restored(site):
    watched = site.watched()
    path = verdict(site, "abad1deaabad", "fail", age_s=60)
    whole = path.read_text()
    path.write_text(whole.replace('"fail"', '"pass"'))
    seen = watched()
    assert (seen["gate_verdicts_unreadable",], seen["gate_verdicts", "pass"]) == (1, 0)
    path.write_text(whole)
    site.set_age(path, 30)
    seen = watched()
    assert (seen["gate_verdicts_unreadable",], seen["gate_verdicts", "fail"]) == (0, 1)


def test_a_root_without_a_ledger_is_sound_and_has_no_version_in_use(site):
    seen = site.watched()()
    assert (seen["ledger_reachable",], seen["ledger_sound",], seen["ledger_version_in_use",]) == (1, 1, 0)
    assert seen["ledger_events_total", "promote"] == 0
    assert ("ledger_last_event_timestamp_seconds",) not in seen
    assert list(site.root.iterdir()) == []


def test_the_ledger_is_told_and_followed(registry_with_two_versions, site):
    registry: Registry = registry_with_two_versions
    watched = site.watched()
    registry.promote(1, actor="ann", reason="r", expected_serving=None)
    registry.promote(2, actor="ann", reason="r", expected_serving=1)
    seen = watched()
    kinds = ("register", "approve", "promote", "roll back", "revoke")
    assert [seen["ledger_events_total", kind] for kind in kinds] == [2, 2, 2, 0, 0]
    assert (seen["ledger_version_in_use",], seen["ledger_version_before",]) == (2, 1)
    registry.roll_back(to=None, actor="ann", reason="r")
    seen = watched()
    assert (seen["ledger_version_in_use",], seen["ledger_events_total", "roll back"]) == (1, 1)
    assert datetime.now(UTC).timestamp() - seen["ledger_last_event_timestamp_seconds",] < 60


@pytest.mark.parametrize("harm", ["changed", "removed", "cut off"])
def test_a_ledger_that_does_not_verify_is_unsound_and_nothing_else_is_said_of_it(
    registry_with_two_versions, site, harm
):
    watched, events = site.watched(), sorted((site.root / "ledger").glob("*.json"))
    assert watched()["ledger_sound",] == 1
    if harm == "changed":
        events[1].chmod(0o644)
        events[1].write_text(events[1].read_text().replace("for tests", "for fun"))
    else:
        events[1 if harm == "removed" else -1].unlink()
    seen = watched()
    assert (seen["ledger_reachable",], seen["ledger_sound",]) == (1, 0)
    assert not [key for key in seen if key[0] in ("ledger_version_in_use", "ledger_events_total")]


def test_a_server_that_has_seen_an_event_which_is_gone_is_a_observer(registry_with_two_versions, site):
    registry: Registry = registry_with_two_versions
    newest = registry.history()[-1]
    registry.replicas().write(report("a", None, event=newest.number, event_digest=newest.digest))
    assert site.watched()()["ledger_lost_events",] == 0
    max((site.root / "ledger").glob("*.json")).unlink()
    assert site.watched()()["ledger_lost_events",] == 1


def test_servers_are_counted_by_version_and_freshness(site):
    replicas = Registry(site.root).replicas()
    failure = LoadFailure(version=2, event=1, reason="golden case", at="2026-01-01T00:00:00+00:00", attempts=3)
    replicas.write(report("a", 2))
    replicas.write(report("b", 1, failure=failure))
    replicas.write(report("c", 1, age_s=3600, ledger_problem="away"))
    replicas.write(report("d", None, ledger_problem="away"))
    seen = site.watched()()
    found = {key[1:]: value for key, value in seen.items() if key[0] == "replicas"}
    assert found == {("fresh", "2"): 1, ("fresh", "1"): 1, ("silent", "1"): 1, ("fresh", "none"): 1}
    assert (seen["replicas_failing",], seen["replicas_cut_off",]) == (1, 1)


def test_a_root_that_is_not_mounted_is_told_and_so_is_its_return(site):
    watched = site.watched()
    site.root.rmdir()
    seen = watched()
    assert seen["monitor_problem", "root"] == 1
    assert {key[0] for key in seen} == {"monitor_problem", "monitor_look_seconds"}
    site.root.mkdir()
    assert watched()["monitor_problem", "root"] == 0


def test_a_part_that_can_not_be_read_is_told_and_the_others_go_on(site, caplog):
    (site.root / "candidates").write_text("a file where a folder belongs")
    site_watched = site.watched()
    for _ in range(3):
        seen = site_watched()
    assert (seen["monitor_problem", "training"], seen["monitor_problem", "ledger"]) == (1, 0)
    assert seen["ledger_sound",] == 1
    assert caplog.text.count("training: can't be read") == 1


def test_whatever_is_scraped_in_between_is_what_was_seen_last(site):
    watched = site.watched(pause_s=3600)
    first = watched.text()
    site.journal(0).status("RUNNING")
    assert watched.text() == first


def test_a_ledger_in_a_place_that_is_away_is_not_called_unsound(site, monkeypatch):
    monkeypatch.setattr(
        "model_registry.ledger.Ledger.events",
        lambda _: (_ for _ in ()).throw(_away()),
    )
    seen = site.watched()()
    assert seen["ledger_reachable",] == 0 and ("ledger_sound",) not in seen


def _away() -> SpinelineError:
    from spine.blob_store import BlobStoreUnreachableError

    return BlobStoreUnreachableError("s3://bucket/ledger", reason="nobody answers")
