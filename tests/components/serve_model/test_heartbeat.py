"""What a server calls itself among the others, and whose old reports it removes."""

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from components.serve_model.heartbeat import Reporter, _forget_old, _identity, _take_place
from components.serve_model.server_info import ServerInfo, announce
from model_registry.replicas import ReplicaReport, Replicas
from spine.blob_store import FolderBlobStore


def announced(root: Path, host: str) -> Path:
    info = ServerInfo(pid=os.getpid(), host=host, port=8701, url=f"http://{host}:8701", started_at="now")
    announce(root, info)
    return root


def report(name: str, *, silent_s: float) -> ReplicaReport:
    at = (datetime.now(UTC) - timedelta(seconds=silent_s)).isoformat(timespec="milliseconds")
    return ReplicaReport(
        name=name, url="", pid=1, version=1, event=0, event_digest=None, golden_dice=1.0, failure=None,
        ledger_problem=None, at=at,
    )  # fmt: skip


def test_servers_on_two_addresses_and_on_two_hosts_of_one_name_have_names_of_their_own(tmp_path: Path) -> None:
    roots = [announced(tmp_path / "a", "127.0.0.1"), announced(tmp_path / "b", "127.0.0.2"), tmp_path / "c"]
    names = [_identity(root)[0] for root in (*roots, *roots)]
    assert len(set(names)) == 6
    assert "127.0.0.1-8701" in names[0] and "127.0.0.2-8701" in names[1] and f"pid{os.getpid()}" in names[2]


def test_a_server_removes_what_a_silent_one_left_in_its_place_and_what_is_a_day_old(tmp_path: Path) -> None:
    replicas = Replicas(FolderBlobStore(tmp_path))
    for name, silent_s in (("h-1-a", 60), ("h-1-b", 0), ("h-2-c", 60), ("h-2-d", 100_000)):
        replicas.write(report(name, silent_s=silent_s))
    _forget_old(replicas, before="h-1-z")
    assert [found.name for found in replicas.reports()] == ["h-1-b", "h-2-c"]


def test_a_server_that_is_started_again_takes_the_place_of_the_one_that_was_killed_below_its_root(
    tmp_path: Path,
) -> None:
    replicas = Replicas(FolderBlobStore(tmp_path / "replicas"))
    root = announced(tmp_path / "root", "127.0.0.1")
    for name in ("killed", "other"):
        replicas.write(report(name, silent_s=0))
    _take_place(root, replicas, name="killed")
    assert [found.name for found in replicas.reports()] == ["killed", "other"]
    _take_place(root, replicas, name="started again")
    assert [found.name for found in replicas.reports()] == ["other"]


class _Following:
    """One who follows the ledger, and has seen as many events as told."""

    event = 0

    def report(self, *, name: str, url: str) -> ReplicaReport:
        return report(name, silent_s=0).model_copy(update={"url": url, "event": self.event})


class _Held(Replicas):
    """Reports whose writing can be held up."""

    def __init__(self, folder: Path) -> None:
        super().__init__(FolderBlobStore(folder))
        self.may_write = threading.Event()
        self.may_write.set()

    def write(self, report: ReplicaReport) -> None:
        self.may_write.wait(10)
        super().write(report)


def test_what_was_seen_is_on_the_record_before_the_load_begins_unless_the_store_hangs(tmp_path: Path) -> None:
    replicas, following = _Held(tmp_path / "replicas"), _Following()
    reporter = Reporter(root=tmp_path / "root", replicas=lambda: replicas, followed=following, pause_s=60)
    reporter.start()
    for event in range(1, 50):
        following.event = event
        reporter.changed(wait_s=10)
        assert [found.event for found in replicas.reports()] == [event]
    replicas.may_write.clear()
    following.event = 50
    reporter.changed(wait_s=0.05)
    assert [found.event for found in replicas.reports()] == [49]
    replicas.may_write.set()
    reporter.stop()
    assert replicas.reports() == []


def test_the_report_of_a_killed_server_stays_until_the_one_in_its_place_has_written_its_own(tmp_path: Path) -> None:
    root = announced(tmp_path / "root", "127.0.0.1")
    seen: list[list[str]] = []

    class Watched(Replicas):
        def remove(self, name: str) -> None:
            seen.append([found.name for found in self.reports()])
            super().remove(name)

    replicas = Watched(FolderBlobStore(tmp_path / "replicas"))
    replicas.write(report("killed", silent_s=0))
    _take_place(root, replicas, name="killed")
    reporter = Reporter(root=root, replicas=lambda: replicas, followed=_Following(), pause_s=60)
    reporter.start()
    reporter.changed(wait_s=10)
    reporter.stop()
    assert len(seen) == 2 and [len(names) for names in seen] == [2, 1]
    assert "killed" in seen[0] and "killed" not in seen[1]
