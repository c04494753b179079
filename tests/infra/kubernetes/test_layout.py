"""Two servers with roots of their own, laid out as the manifests mount them, follow one ledger side by side."""

import contextlib
import os
import subprocess
import sys
import time

import httpx
import pytest
from manifests.objects import named

from components.serve_model.server_info import running_server, served_version
from model_registry.lifecycle import Registry
from model_registry.replicas import Replicas
from spine.blob_store import FolderBlobStore

_PATIENCE_S = 240.0
"""For a process to load torch, and to compile what it keeps compiled later."""
WHO = {"actor": "ann", "reason": "for tests"}


@pytest.fixture
def registry(tmp_path, make_bundle):
    """A registry whose bundles lie where registration puts them, with version 1 in use and version 2 approved."""
    made = Registry(tmp_path / "root")
    for version in (1, 2):
        bundle = make_bundle(made.root / "models" / str(version), seed=version)
        made.register(version=version, bundle=bundle, actor="ann", reason="for tests")
        made.approve(version, actor="ben", reason="for tests")
    made.promote(1, **WHO, expected_serving=None)
    return made


def wait_for(what):
    deadline = time.monotonic() + _PATIENCE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def own_root(folder, *, mounts, shared):
    """A root as a pod has it; links stand in for what is mounted there."""
    folder.mkdir()
    for mount in mounts:
        (folder / mount["mountPath"].removeprefix("/spineline/")).symlink_to(shared / mount["subPath"])
    return folder


@contextlib.contextmanager
def server(root):
    command = [sys.executable, "-m", "components.serve_model", "--root", str(root), "--port", "0"]
    environment = {**os.environ, "SPINELINE_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        wait_for(lambda: running_server(root) or process.poll() is not None)
        assert process.poll() is None, process.communicate()[1]
        yield running_server(root)
        process.terminate()
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_replicas_share_three_folders_of_the_root_and_keep_the_rest_to_themselves(rendered, registry, tmp_path):
    shared = registry.root
    pod = named(rendered["production"], "Deployment", "spineline-serve")["spec"]["template"]["spec"]
    mounts = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "shared"]
    for mount in mounts:
        (shared / mount["subPath"]).mkdir(exist_ok=True)
    before = {path.name for path in shared.iterdir()}
    replicas = Replicas(FolderBlobStore(shared / "replicas"))
    roots = [own_root(tmp_path / name, mounts=mounts, shared=shared) for name in ("one", "two")]
    with server(roots[0]) as one, server(roots[1]) as two:
        wait_for(lambda: served_version(one) == served_version(two) == 1)
        wait_for(lambda: [report.version for report in replicas.fresh()] == [1, 1])
        registry.promote(2, **WHO, expected_serving=1)
        wait_for(lambda: [report.version for report in replicas.fresh()] == [2, 2])
        assert httpx.get(f"{two.url}/readyz", trust_env=False).json() == {"status": "ready", "version": 2}
    assert replicas.reports() == []
    assert {path.name for path in shared.iterdir()} == before
    assert all((root / "serving").is_dir() for root in roots)
