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
from manifests.objects import named, pods
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
@pytest.mark.parametrize("workload", ["spineline-serve", "spineline-monitor", "mlflow"])
def test_a_program_knows_the_options_that_it_is_given(rendered, workload):
    container = named(rendered["production"], "Deployment", workload)["spec"]["template"]["spec"]["containers"][0]
    first, *others = container["command"]
    program = str(Path(sys.executable).with_name(first))
    done = subprocess.run([program, *others, "--help"], capture_output=True, text=True, check=True)
    for option in (argument for argument in container["args"] if argument.startswith("--")):
        assert option in done.stdout, option


def script(objects, container):
    found = [one for pod in pods(objects) for one in pod.containers if one["name"] == container]
    assert found[0]["command"] == ["python", "-c"]
    return found[0]["args"][0]


def test_the_folders_that_the_server_mounts_are_made_once_and_kept(rendered, tmp_path):
    code = script(rendered["production"], "folders").replace("/shared", str(tmp_path))
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], check=True)
        (tmp_path / "ledger" / "kept").touch()
    pod = named(rendered["production"], "Deployment", "spineline-serve")["spec"]["template"]["spec"]
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
        for _ in range(2):
            code = script(rendered["single-node"], "bucket")
            subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        store = boto3.client("s3", endpoint_url=url, aws_access_key_id="key", aws_secret_access_key="secret")
        buckets = [bucket["Name"] for bucket in store.list_buckets()["Buckets"]]
        asked = {value.split("/")[2] for value in settings.values() if value.startswith("s3://")}
        assert set(buckets) == asked
    finally:
        server.stop()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool on this machine")
def test_prometheus_can_read_its_configuration(kubernetes, tmp_path):
    config = yaml.safe_load((kubernetes / "components" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    # Debian builds Prometheus without Kubernetes' discovery: other targets stand in for its pods.
    for job in config["scrape_configs"]:
        del job["kubernetes_sd_configs"]
        job["static_configs"] = [{"targets": ["127.0.0.1:8642"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    done = subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
