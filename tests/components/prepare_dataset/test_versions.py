"""The data set under real DVC: one directory a revision, importable elsewhere, old cases where they were."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.prepare_dataset.checks.catalogue import CHECKS
from components.pull_dataset.main import pull_dataset
from spine.dataset import Manifest
from spine.storage import digest_folder

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).resolve().parents[3]


def call(folder, *command):
    identity = {f"GIT_{role}_{key}": "t@localhost" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environment = {
        **os.environ,
        **identity,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.defpath)),
        "PYTHONPATH": str(PROJECT),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder.parent / "dvc-site"),
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def dvc(folder, *arguments):
    return call(folder, sys.executable, "-m", "dvc", *arguments)


def commit(folder, message):
    call(folder, "git", "add", "--all")
    call(folder, "git", "commit", "--quiet", "--message", message)
    dvc(folder, "push", "--quiet")


def locked(folder):
    outputs = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]["prepare_dataset"]["outs"]
    return {output["path"]: output["md5"] for output in outputs}


@pytest.fixture
def repository(many, tmp_path):
    """A git and DVC repository with this project's own stage and fifteen of sixteen scans, prepared and pushed."""
    folder = tmp_path / "data-repository"
    folder.mkdir()
    for name in ("dvc.yaml", "set_aside.yaml"):
        shutil.copy(PROJECT / name, folder / name)
    parameters = {"raw": "data/raw", "split": {"seed": 1, "test_share": 0.3}, "rejects_allowed": 0.5}
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters))
    (folder / ".gitignore").write_text("/data/\n")
    shutil.copytree(many, folder / "data" / "raw")
    for kind in ("volumes", "segmentations"):
        (folder / "data" / "raw" / kind / "case_03.nii.gz").unlink()
    call(folder, "git", "init", "--quiet", "--initial-branch", "main")
    dvc(folder, "init", "--quiet")
    dvc(folder, "config", "cache.type", "reflink,hardlink,copy")
    dvc(folder, "remote", "add", "--quiet", "-d", "folder", str(tmp_path / "remote"))
    dvc(folder, "repro")
    commit(folder, "first")
    return folder


def test_the_data_set_is_one_directory_and_the_lock_is_in_git(repository):
    outputs = locked(repository)
    assert outputs["data/prepared"].endswith(".dir") and outputs["data/report"].endswith(".dir")
    tracked = call(repository, "git", "ls-files").split()
    assert {"splits.json", "dvc.lock", "set_aside.yaml"} <= set(tracked)
    assert not [name for name in tracked if name.startswith("data/")]


def test_another_repository_imports_it_and_follows_a_later_revision(repository, many, tmp_path):
    other = tmp_path / "another"
    other.mkdir()
    call(other, "git", "init", "--quiet")
    dvc(other, "init", "--quiet")
    dvc(other, "import", str(repository), "data/prepared", "--out", "spine")
    assert digest_folder(other / "spine") == digest_folder(repository / "data" / "prepared")
    add(repository, many)
    dvc(repository, "repro")
    commit(repository, "second")
    dvc(other, "update", "spine.dvc")
    assert len(Manifest.of(other / "spine").cases) == 16
    written = yaml.safe_load((other / "spine.dvc").read_text())
    assert written["outs"][0]["md5"] == locked(repository)["data/prepared"]


def add(repository, many):
    for kind in ("volumes", "segmentations"):
        shutil.copy(many / kind / "case_03.nii.gz", repository / "data" / "raw" / kind)


def test_one_new_case_touches_one_case_and_moves_none(repository, many):
    before = Manifest.of(repository / "data" / "prepared")
    add(repository, many)
    assert "16/16 15 as before" in dvc(repository, "repro")
    after = {case.case: case for case in Manifest.of(repository / "data" / "prepared").cases}
    for case in before.cases:
        now = after.pop(case.case)
        assert (now.split, now.image_sha256) == (case.split, case.image_sha256)
    assert set(after) == {"case_03"}


def test_a_fresh_clone_keeps_every_case_on_its_side(repository, many, tmp_path):
    other = {"train": "test", "test": "train"}
    lock = json.loads((repository / "splits.json").read_text())
    lock["cases"] = {case: other[split] for case, split in lock["cases"].items()}
    # A lock that no draw would give: whoever lost it would put the cases elsewhere.
    (repository / "splits.json").write_text(json.dumps(lock))
    call(repository, "git", "commit", "--quiet", "--all", "--message", "another lock")
    clone = tmp_path / "clone"
    call(tmp_path, "git", "clone", "--quiet", str(repository), str(clone))
    shutil.copytree(repository / "data" / "raw", clone / "data" / "raw")
    add(clone, many)
    dvc(clone, "repro")
    after = {case.case: case.split for case in Manifest.of(clone / "data" / "prepared").cases}
    assert lock["cases"].items() <= after.items() and len(after) == 16


def test_a_case_set_aside_leaves_with_the_next_revision(repository):
    (repository / "set_aside.yaml").write_text("case_05: T9 is named T10\n")
    dvc(repository, "repro")
    assert Manifest.of(repository / "data" / "prepared").quarantined == ("case_05",)


def test_the_page_on_checks_lists_every_check_with_its_severity():
    page = (PROJECT / "components" / "prepare_dataset" / "README.md").read_text()
    for name, check in CHECKS.items():
        assert f"| `{name}` | {check.severity} | {check.about} | {check.number} |" in page


@pytest.fixture
def endpoint(monkeypatch):
    """An S3 endpoint on loopback with a bucket "spine", and its keys in the environment."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="spine")
    yield f"http://{host}:{port}"
    server.stop()


def test_what_dvc_pushes_to_s3_both_dvc_and_our_pull_bring_back(repository, endpoint, tmp_path):
    dvc(repository, "remote", "add", "--quiet", "--force", "-d", "store", "s3://spine/sets")
    dvc(repository, "remote", "modify", "store", "endpointurl", endpoint)
    commit(repository, "on S3")
    record = pull_dataset(root=tmp_path / "root", repository=str(repository), revision="HEAD")
    prepared = digest_folder(repository / "data" / "prepared")
    assert digest_folder(tmp_path / "root" / record.folder) == prepared
    clone = tmp_path / "clone"
    call(tmp_path, "git", "clone", "--quiet", str(repository), str(clone))
    dvc(clone, "pull", "--quiet")
    assert digest_folder(clone / "data" / "prepared") == prepared
