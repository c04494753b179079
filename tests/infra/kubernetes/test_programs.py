"""What manifests ask of our programs is there: routes, options, scripts, names that MLflow lets in."""

import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml
from fastapi.testclient import TestClient
from manifests.objects import named
from manifests.policies.lifecycle import asked_paths
from manifests.policies.selection import ways_in
from prometheus_client import CollectorRegistry

from components.monitor_root.server import answering
from components.serve_model.access import Guard
from components.serve_model.app import create_app
from components.serve_model.limits import Limits
from components.serve_model.openapi import document_of
from components.serve_model.service import Service


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    service = Service(root=tmp_path_factory.mktemp("root"), limits=Limits(), threads=1)
    app = create_app(service, guard=Guard(None))
    document = "/openapi.json"
    assert TestClient(app).get(document).status_code == 200
    return {*document_of(app)["paths"], document}


@pytest.mark.parametrize("overlay", ["single-node", "production", "kserve"])
def test_probes_and_prometheus_ask_the_server_for_what_it_has(rendered, overlay, routes):
    asked = asked_paths(rendered[overlay])["serve"]
    assert asked == {"/healthz", "/readyz", "/metrics"}
    assert asked <= routes


def test_every_way_in_leads_to_a_route_and_metrics_stay_inside(rendered, routes):
    ways = ways_in(rendered["production"])
    assert ways
    for path, with_all_below in ways:
        assert any(route == path or (with_all_below and route.startswith(f"{path}/")) for route in routes), path
        assert not "/metrics".startswith(path), path


def test_every_route_for_callers_can_be_reached(rendered, routes):
    ways = ways_in(rendered["production"])
    inside = {"/metrics", "/healthz"}
    for route in routes - inside:
        assert any(route == path or (below and route.startswith(f"{path}/")) for path, below in ways), route


def test_the_monitor_answers_what_it_is_asked(rendered):
    with answering(CollectorRegistry(), host="127.0.0.1", port=0) as url:
        for path in asked_paths(rendered["production"])["monitor"]:
            with urllib.request.urlopen(url + path, timeout=5) as answer:
                assert answer.status == 200


@pytest.mark.slow
def test_mlflow_answers_what_it_is_asked_and_lets_in_its_names_in_the_cluster(rendered):
    from mlflow.server import app
    from mlflow.server.security_utils import is_allowed_host_header

    assert asked_paths(rendered["production"])["mlflow"] <= {rule.rule for rule in app.url_map.iter_rules()}
    container = named(rendered["production"], "Deployment", "mlflow")["spec"]["template"]["spec"]["containers"][0]
    variables = {entry["name"]: entry.get("value") for entry in container["env"]}
    allowed = variables["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    for host in ("mlflow:5000", "mlflow.spineline.svc:5000", "mlflow.a.svc.cluster.local:5000", "localhost:5000"):
        assert is_allowed_host_header(allowed, host), host
    for host in ("mlflow.example.org:5000", "example.org", "spineline-mlflow:5000"):
        assert not is_allowed_host_header(allowed, host), host


@pytest.mark.slow
@pytest.mark.parametrize("workload", ["spineline-serve", "spineline-monitor", "spineline-supervisor", "mlflow"])
def test_a_program_knows_the_options_that_it_is_given(rendered, workload):
    container = named(rendered["production"], "Deployment", workload)["spec"]["template"]["spec"]["containers"][0]
    first, *others = container["command"]
    program = str(Path(sys.executable).with_name(first))
    done = subprocess.run([program, *others, "--help"], capture_output=True, text=True, check=True)
    for option in (argument for argument in container["args"] if argument.startswith("--")):
        assert option in done.stdout, option


def script(objects, workload, container):
    pod = named(objects, "Deployment", workload)["spec"]["template"]["spec"]
    (found,) = [one for one in pod["initContainers"] if one["name"] == container]
    assert found["command"] == ["python", "-c"]
    return found["args"][0]


@pytest.mark.parametrize("workload", ["spineline-serve", "spineline-monitor"])
def test_the_folders_that_a_program_mounts_are_made_once_and_kept(rendered, tmp_path, workload):
    code = script(rendered["production"], workload, "folders").replace("/shared", str(tmp_path))
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], check=True)
        (tmp_path / "replicas" / "kept").touch()
    pod = named(rendered["production"], "Deployment", workload)["spec"]["template"]["spec"]
    mounted = {mount["subPath"] for mount in pod["containers"][0]["volumeMounts"] if "subPath" in mount}
    assert {path.name for path in tmp_path.iterdir()} == mounted


@pytest.mark.slow
def test_the_bucket_is_made_once_and_kept(rendered):
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        settings = named(rendered["single-node"], "ConfigMap", "spineline-settings")["data"]
        environment = {**os.environ, **settings, **keys, "SPINELINE_S3_ENDPOINT": url}
        store = boto3.client("s3", endpoint_url=url, aws_access_key_id="key", aws_secret_access_key="secret")
        others = [bucket["Name"] for bucket in store.list_buckets()["Buckets"]]  # of other tests: moto has one memory
        for _ in range(2):
            code = script(rendered["single-node"], "mlflow", "bucket")
            subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        buckets = [bucket["Name"] for bucket in store.list_buckets()["Buckets"]]
        asked = {value.split("/")[2] for value in settings.values() if value.startswith("s3://")}
        assert set(buckets) == asked | set(others)
    finally:
        server.stop()


def configuration(kubernetes, *, with_alertmanager):
    text = (kubernetes / "components" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    if with_alertmanager:
        head, block = text.split("# alerting:\n")
        lines = ["# alerting:", *block.splitlines()]
        own = next(number for number, line in enumerate(lines) if not line.startswith("#"))
        text = head + "\n".join([*(line.removeprefix("# ") for line in lines[:own]), *lines[own:]])
    return yaml.safe_load(text)


def test_prometheus_may_send_alerts_where_its_configuration_says(rendered, kubernetes):
    (manager,) = configuration(kubernetes, with_alertmanager=True)["alerting"]["alertmanagers"]
    ports = {int(target.rpartition(":")[2]) for each in manager["static_configs"] for target in each["targets"]}
    policies = [one for one in rendered["single-node"] if one["kind"] == "NetworkPolicy"]
    selected = [
        one for one in policies
        if one["spec"]["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/component") == "prometheus"
    ]  # fmt: skip
    monitoring = {"namespaceSelector": {"matchLabels": {"spineline.io/role": "monitoring"}}}
    open_ports = {
        port["port"]
        for policy in selected
        for rule in policy["spec"].get("egress", [])
        if monitoring in rule.get("to", [])
        for port in rule["ports"]
    }
    assert ports <= open_ports


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool on this machine")
@pytest.mark.parametrize("with_alertmanager", [False, True])
def test_prometheus_can_read_its_configuration(kubernetes, tmp_path, with_alertmanager):
    config = configuration(kubernetes, with_alertmanager=with_alertmanager)
    assert ("alerting" in config) == with_alertmanager
    # Debian builds Prometheus without Kubernetes' discovery: other targets stand in for its pods.
    for job in config["scrape_configs"]:
        del job["kubernetes_sd_configs"]
        job["static_configs"] = [{"targets": ["127.0.0.1:8642"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    done = subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
