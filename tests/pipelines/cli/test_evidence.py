"""What the command line answers of where a version comes from, and the pack that it writes."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from model_registry.bundle import MANIFEST_FILE, Bundle, list_files
from model_registry.lifecycle import Registry
from model_registry.provenance import PROVENANCE_FILE, Provenance
from spine.storage import read_json, write_json

DVC_HASH = "98f8f2b52bbbd3e4c2e1b0d3ac5a7d0e.dir"


@pytest.fixture
def registry(root, make_bundle) -> Registry:
    """Two approved versions of one data set."""
    registry = Registry(root)
    for version in (1, 2):
        folder = make_bundle(root / "models" / str(version) / "bundle", seed=version).folder
        provenance = Provenance(git_revision="1" * 40, dvc_hash=DVC_HASH)
        write_json(folder / PROVENANCE_FILE, provenance.model_dump(mode="json"))
        manifest = read_json(folder / MANIFEST_FILE, expected="a manifest")
        write_json(folder / MANIFEST_FILE, {**manifest, "files": list_files(folder)})
        registry.register(version=version, bundle=Bundle(folder), actor="ann", reason="for tests")
        registry.approve(version, actor="ben", reason="for tests")
    return registry


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_version_is_answered_for_in_json_and_in_tables(registry: Registry, spineline) -> None:
    found = json.loads(spineline("lineage", 2, "--json").out)
    assert (found["version"], found["stage"], found["recipe"]) == (2, "approved", "tiny")
    assert [event["kind"] for event in found["events"]] == ["register", "approve"]
    told = spineline("lineage", 2)
    assert (told.code, told.err) == (0, "")
    for part in (found["model_digest"], "data, DVC hash", "ben", found["folds"][1]["weights"]):
        assert part in told.out


def rows(answer) -> list[tuple[int, int | None]]:
    return [(row["version"], row["through_version"]) for row in json.loads(answer.out)]


def test_data_lead_to_versions_by_hash_and_by_what_git_calls_them(registry: Registry, spineline, tmp_path) -> None:
    assert rows(spineline("lineage", "--data", DVC_HASH[:9], "--json")) == [(1, None), (2, None)]
    git(tmp_path, "init", "--quiet")
    lock = {"stages": {"prepare_dataset": {"outs": [{"path": "data/prepared", "md5": DVC_HASH}]}}}
    (tmp_path / "dvc.lock").write_text(json.dumps(lock))
    git(tmp_path, "add", "dvc.lock")
    git(tmp_path, "commit", "--quiet", "--message", "another commit of the same data")
    git(tmp_path, "tag", "v7")
    assert rows(spineline("lineage", "--data", "v7", "--json")) == [(1, None), (2, None)]
    assert DVC_HASH in spineline("lineage", "--data", "v7").out
    refused = spineline("lineage", "--data", "v8", "--json")
    assert (refused.code, refused.out) == (2, "")
    assert "expected one of" in refused.error


@pytest.mark.parametrize("arguments", [(), (1, "--data", "v1")])
def test_a_version_or_data_is_asked_for_and_not_both(registry: Registry, spineline, arguments) -> None:
    answer = spineline("lineage", *arguments)
    assert answer.code == 2
    assert "either a VERSION or --data" in answer.error


def test_the_pack_is_written_and_its_path_is_the_answer(registry: Registry, spineline, tmp_path) -> None:
    answer = spineline("evidence", 1, "--output", tmp_path / "pack.zip")
    assert (answer.code, answer.out.strip()) == (0, str(tmp_path / "pack.zip"))
    with zipfile.ZipFile(tmp_path / "pack.zip") as pack:
        assert "model_card.md" in pack.namelist()
    assert Path(spineline("evidence", 2).out.strip()).name == "evidence-2.zip"


def test_a_version_that_is_not_there_is_told_in_one_line(registry: Registry, spineline) -> None:
    for command in (("lineage", 9), ("evidence", 9)):
        answer = spineline(*command)
        assert answer.code == 2
        assert "unknown version '9'; expected one of: 1, 2" in answer.error
