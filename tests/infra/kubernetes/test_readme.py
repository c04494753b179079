"""The README's commands name what is there, and make every Secret that a manifest names."""

import base64
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from manifests.policies.references import documented_secrets
from manifests.rendering import render


def blocks(kubernetes, language):
    text = (kubernetes / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_what_is_applied_or_read_is_there(kubernetes):
    commands = "\n".join(blocks(kubernetes, "sh"))
    project = kubernetes.parents[1]
    named = re.findall(r"(?:-k|-f|--from-file=?) ?(infra/\S+)", commands)
    assert {"infra/kubernetes/overlays/single-node", "infra/observability"} <= set(named)
    assert [place for place in named if not (project / place).exists()] == []


def test_every_overlay_and_component_is_told(kubernetes):
    text = (kubernetes / "README.md").read_text(encoding="utf-8")
    folders = [*(kubernetes / "overlays").iterdir(), *(kubernetes / "components").iterdir()]
    assert [path.name for path in folders if f"`{path.name}`" not in text] == []


def test_the_secrets_have_the_keys_that_all_agreed_on():
    made = documented_secrets()
    assert made["spineline-mlflow"] == {"MLFLOW_TRACKING_URI"}
    assert made["spineline-store"] == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert made["spineline-mlflow-db"] == {"POSTGRES_PASSWORD", "MLFLOW_BACKEND_STORE_URI"}
    assert made["spineline-tokens"] == {"tokens.json"}


def test_no_command_line_holds_a_secret(kubernetes):
    for line in "\n".join(blocks(kubernetes, "sh")).splitlines():
        assert not re.search(r"--docker-password|--from-literal=(?!MLFLOW_TRACKING_URI=)", line), line


def test_rules_that_prometheus_mounts_are_made_of_every_rule_file(kubernetes):
    folder = kubernetes.parent / "observability"
    made = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))["configMapGenerator"]
    rules = next(entry["files"] for entry in made if entry["name"] == "spineline-prometheus-rules")
    assert sorted(rules) == sorted(f"prometheus/{path.name}" for path in (folder / "prometheus").glob("*.yaml"))


def test_the_shells_commands_can_be_parsed(kubernetes):
    for block in blocks(kubernetes, "sh"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_the_overlay_of_a_sites_own_can_be_rendered(kubernetes, tmp_path):
    shutil.copytree(kubernetes, tmp_path / "kubernetes")
    site = tmp_path / "kubernetes" / "overlays" / "site"
    site.mkdir()
    (site / "kustomization.yaml").write_text(blocks(kubernetes, "yaml")[0])
    objects = render(site)
    claims = [item["spec"]["storageClassName"] for item in objects if item["kind"] == "PersistentVolumeClaim"]
    assert claims == ["cephfs", "cephfs"]
    assert "registry.example.org/spineline/serve:0.1.0" in yaml.safe_dump(objects)


KUBECTL = """#!/bin/bash
# Stands in for a cluster: what is created is written to a file, what is applied is rendered.
set -euo pipefail
case " $* " in
  *" create "*) {kubectl} "$@" --dry-run=client -o yaml > {made}/$$.yaml ;;
  *" apply -k "* | *" diff -k "*) {kubectl} kustomize "${{@: -1}}" > /dev/null ;;
  *" apply -f "*) test -f "${{@: -1}}" ;;
esac
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
def test_the_commands_work_and_make_the_secrets_as_told(kubernetes, tmp_path):
    (tmp_path / "infra").symlink_to(kubernetes.parent)
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text('{"auths": {"registry.example.org": {"auth": "YTpi"}}}')
    certificate = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=test"
    own = [*certificate.split(), "-keyout", "tls.key", "-out", "tls.crt"]
    subprocess.run(own, cwd=tmp_path, check=True, capture_output=True)
    stand_in = tmp_path / "bin" / "kubectl"
    stand_in.parent.mkdir()
    (tmp_path / "made").mkdir()
    stand_in.write_text(KUBECTL.format(kubectl=shutil.which("kubectl"), made=tmp_path / "made"))
    stand_in.chmod(0o755)
    path = os.pathsep.join([str(stand_in.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    commands = "set -euo pipefail\n" + "\n".join(blocks(kubernetes, "sh"))
    done = subprocess.run(
        ["bash"],
        input=commands,
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "HOME": str(tmp_path)},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    items = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (tmp_path / "made").iterdir()]
    made = {item["metadata"]["name"]: item for item in items if item["kind"] == "Secret"}
    assert set(made) == set(documented_secrets())
    for name, keys in documented_secrets().items():
        assert keys <= set(made[name]["data"]), name
    database = base64.b64decode(made["spineline-mlflow-db"]["data"]["MLFLOW_BACKEND_STORE_URI"]).decode()
    password = base64.b64decode(made["spineline-mlflow-db"]["data"]["POSTGRES_PASSWORD"]).decode()
    assert database == f"postgresql+psycopg2://mlflow:{password}@spineline-postgres:5432/mlflow"
    entries = yaml.safe_load(base64.b64decode(made["spineline-tokens"]["data"]["tokens.json"]))
    assert [(entry["name"], entry["role"]) for entry in entries] == [("maria", "operator")]
