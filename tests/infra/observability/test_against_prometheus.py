"""Every query of every panel and rule, asked of a real Prometheus that scrapes a real server, trainer and monitor."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from components.train_folds.telemetry import METRICS_FILE, EpochMetrics, FoldTelemetry, serve_group
from model_registry.bundle import Bundle
from model_registry.lifecycle import Registry
from model_registry.mlflow_store import MlflowStore
from model_registry.replicas import ReplicaReport
from model_registry.verdict import Verdict
from spine.journal import JOURNAL_FILE, Journal
from spine.nnunet.checkpoint_files import Position
from spine.phantom import make_scan
from spine.settings import Settings, child_environment
from spine.volume.nifti import write_volume

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="prometheus is not installed (Debian's package prometheus)"
    ),
]
CANDIDATE = "c0ffeec0ffee"
ONLY_BY_AN_EVENT = {
    'ALERTS{alertname=~"Spineline.+", alertstate="firing"}': "an alert that fires",
    'spineline_segmentation_requests_total{status="429"}': "a server that turns a scan away",
    "spineline_supervisor_last_look_timestamp_seconds": "a supervisor, which only a cluster has",
}
"""What has no series while nothing happens, and what makes one."""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def fetch(url, *, content=None):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, data=content), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def wait_for(condition, *, told, limit_s=90):
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {told}"
        time.sleep(0.2)
    return found


@contextlib.contextmanager
def running(command, log) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(word) for word in command], stdout=output, stderr=output, env=child_environment()
        )
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(30)


class Prometheus:
    """A Prometheus that scrapes every second."""

    def __init__(self, url):
        self._url = url

    def api(self, path, **query):
        status, content = fetch(f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(query)}")
        return status, json.loads(content)

    def series(self, expr):
        """Ask for an expression; return its series, or the error as text."""
        status, answer = self.api("query", query=expr)
        return answer["data"]["result"] if status == 200 else answer["error"]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory, bundles, observability):
    """A Prometheus with our rules, when all that it scrapes has been used and scraped at least twice."""
    folder = tmp_path_factory.mktemp("prometheus")
    registry, root = _registered(folder / "root", bundles), folder / "root"
    _train(root)
    _judge(root)
    ports = {job: free_port() for job in ("serve", "monitor", "training", "prometheus")}
    files = [_fold_folder(root) / METRICS_FILE]
    server = [sys.executable, "-m", "components.serve_model", "--root", root, "--port", ports["serve"]]
    monitor = [sys.executable, "-m", "components.monitor_root", "--root", root, "--pause", "0", "--host", "127.0.0.1"]
    with (
        serve_group(ports["training"], files),
        running(server, folder / "server.log"),
        running([*monitor, "--port", ports["monitor"]], folder / "monitor.log"),
        running(_command(folder, ports, observability), folder / "prometheus.log"),
    ):
        asked = Prometheus(f"http://127.0.0.1:{ports['prometheus']}")
        wait_for(lambda: _is_up(asked), told="three targets to be up")
        _use(registry, f"http://127.0.0.1:{ports['serve']}", folder)
        seen = "count_over_time(spineline_vertebrae_found_count[1m]) > 2 and spineline_vertebrae_found_count > 2"
        wait_for(lambda: asked.series(seen), told="scans to be scraped")
        yield asked


def _registered(root, bundles):
    registry = Registry(root)
    for version in (1, 2):
        bundle = Bundle(shutil.copytree(bundles[version], root / "versions" / str(version)))
        registry.register(version=version, bundle=bundle, actor="ann", reason="for tests")
        registry.approve(version, actor="ben", reason="for tests")
    store = MlflowStore(f"sqlite:///{root / 'mlflow' / 'mlflow.db'}", artifacts=root, model_name=Settings().model_name)
    run = store.candidate_run("t", name="t")
    for known in registry.state().versions.values():
        store.create_version(run_id=run, source=root.as_uri(), digest=known.model_digest, tags={})
    return registry


def _fold_folder(root):
    return root / "candidates" / CANDIDATE / "Dataset001_Spine" / "SpineTrainer__Plans__3d_fullres" / "fold_0"


def _train(root):
    """Leave behind what a fold in training leaves."""
    folder = _fold_folder(root)
    telemetry = FoldTelemetry(folder, fold=0, candidate=CANDIDATE, epochs=100, resumes=1)
    told = {"train_loss": -0.4, "pseudo_dice": 0.8, "epoch_seconds": 12.5}
    Journal(root / "candidates" / CANDIDATE / JOURNAL_FILE).parameters({"training.epochs": "100"})
    Journal(folder / JOURNAL_FILE).status("RUNNING")
    Journal(folder / JOURNAL_FILE).metrics(told, step=7)
    telemetry.epoch_ended(
        EpochMetrics(epoch=7, seconds=12.5, loss=-0.4, pseudo_dice=0.8, gradient_overflows=2, memory_bytes=3 << 30)
    )
    (folder / Position(epoch=7).file_name).write_bytes(b"weights")
    telemetry.checkpoint_saved()


def _judge(root):
    made = Verdict(
        outcome="inconclusive", evaluation="sha256:1", champion=None, policy_name="p", policy="sha256:2", scans=2,
        rules=(), regions_without_cases=(), regions_not_compared=(), summary="",
    )  # fmt: skip
    made.write(made.folder_below(root / "evaluations" / "abad1deaabad") / "verdict.json")


def _command(folder, ports, observability):
    rules = folder / "rules"
    rules.mkdir()
    for file in observability.rule_files:
        # A group with a pause of minutes would not be evaluated within this test.
        (rules / file.name).write_text(re.sub(r"^    interval: .*\n", "", file.read_text(), flags=re.MULTILINE))
    jobs = [
        {
            "job_name": f"spineline-{job}",
            "static_configs": [{"targets": [f"127.0.0.1:{ports[job]}"], "labels": {"namespace": "spineline"}}],
        }
        for job in ("serve", "monitor", "training")
    ]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules / "*.yaml")],
        "scrape_configs": jobs,
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    return [
        "prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
    ]  # fmt: skip


def _is_up(asked):
    with contextlib.suppress(OSError, ValueError):  # it listens before it can answer
        return len(asked.series("up == 1")) == 3
    return False


def _use(registry, url, folder):
    """Make every kind of series: a refusal before the first promotion, a bad scan, scans, a server that fell silent."""
    path = folder / "scan.nii.gz"
    write_volume(path, make_scan(seed=7, patient=1, first=20, last=23, spacing_mm=(6.0, 6.0, 6.0)).image)
    scan = path.read_bytes()
    assert fetch(f"{url}/v1/segmentations", content=scan)[0] == 503
    for version, before in ((1, None), (2, 1)):
        registry.promote(version, actor="ann", reason="for tests", expected_serving=before)
    old = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="milliseconds")
    silent = {"event": 0, "event_digest": None, "golden_dice": None, "failure": None, "ledger_problem": None}
    registry.replicas().write(ReplicaReport(name="killed", url="", pid=1, version=1, at=old, **silent))
    wait_for(lambda: json.loads(fetch(f"{url}/readyz")[1]).get("version") == 2, told="version 2")
    assert fetch(f"{url}/v1/segmentations", content=b"no scan")[0] in (400, 422)
    for _ in range(4):
        assert fetch(f"{url}/v1/segmentations", content=scan)[0] == 200
        time.sleep(1.5)


def test_every_query_answers_and_every_one_but_of_events_with_series(prometheus, observability):
    asked = {
        **observability.queries(),
        **{rule["record"]: rule["expr"] for rule in observability.rules() if "record" in rule},
        **{
            f"{name}: {part}": part
            for name, rule in observability.alerts().items()
            for part in _selectors(rule["expr"])
        },
    }
    until = time.monotonic() + 40
    while (left := _unanswered(prometheus, asked)) and time.monotonic() < until:
        time.sleep(0.5)
    assert left == {}


def _unanswered(prometheus, asked):
    """Return the queries that gave no series, or an error, with what they gave."""
    answers = {place: prometheus.series(expr) for place, expr in asked.items() if expr not in ONLY_BY_AN_EVENT}
    return {place: (asked[place], found) for place, found in answers.items() if not found or isinstance(found, str)}


def test_every_rule_is_healthy_and_no_alert_calls_for_what_is_well(prometheus, observability):
    def evaluated():
        groups = prometheus.api("rules")[1]["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else None

    rules = wait_for(evaluated, told="every rule to be evaluated")
    assert len(rules) == len(observability.rules())
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    calling = {rule["name"] for rule in rules if rule.get("state") in ("pending", "firing")}
    assert calling == {"SpinelineReplicaSilent", "SpinelineGateInconclusive"}


def test_every_whole_alert_is_an_expression_that_prometheus_can_answer(prometheus, observability):
    answers = {name: prometheus.series(rule["expr"]) for name, rule in observability.alerts().items()}
    assert {name: answer for name, answer in answers.items() if isinstance(answer, str)} == {}
    assert len(answers["SpinelineGateInconclusive"]) == 1


def test_every_variable_of_a_page_has_values(prometheus, observability):
    for page in observability.dashboards().values():
        for variable in page["templating"]["list"][1:]:
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
            values = prometheus.api(f"label/{label}/values", **{"match[]": metric})[1]["data"]
            assert values, variable["definition"]


def _selectors(expr):
    """The metrics that an alert looks at, each with its labels."""
    return [found[0] for found in re.finditer(r"\b(?:spineline[\w:]+|up)(?:\{[^}]*\})?", expr)]
