"""The evidence pack of an approved version: what is in it, that it adds up, and that it is the same twice."""

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from model_registry.bundle import MANIFEST_FILE, Bundle, list_files
from model_registry.errors import NotPromotableError
from model_registry.evidence_pack import make_evidence_pack
from model_registry.ledger import Event
from model_registry.lifecycle import Registry
from spine.errors import DigestMismatchError, UnknownNameError
from spine.storage import read_json, write_json, write_text


@pytest.fixture
def version(registry: Registry, write_evidence: Callable[..., Bundle]) -> Bundle:
    """Version 1, registered, with an environment of three packages."""
    folder = registry.root / "models" / "abc" / "bundle"
    write_evidence(folder)
    write_text(folder / "environment.txt", "# python 3.11\ntorch==2.13.0+cpu\nPyYAML==6.0.3\nspineline==0.1.0\n")
    write_text(folder / "report.html", "<html>")
    content = read_json(folder / MANIFEST_FILE, expected="a manifest")
    write_json(folder / MANIFEST_FILE, {**content, "files": list_files(folder)})
    bundle = Bundle(folder)
    registry.register(version=1, bundle=bundle, actor="ann", reason="its verdict | passes")
    return bundle


@pytest.fixture
def pack(registry: Registry, version: Bundle) -> Path:
    registry.approve(1, actor="ben", reason="looked at <b>every</b> picture")
    return make_evidence_pack(registry, 1)


def content(pack: Path, name: str) -> str:
    with zipfile.ZipFile(pack) as archive:
        return archive.read(name).decode()


def test_the_pack_lies_beside_the_bundle_and_its_sums_hold(pack: Path, version: Bundle) -> None:
    assert pack == version.folder.parent / "evidence-1.zip"
    with zipfile.ZipFile(pack) as archive:
        names = set(archive.namelist())
        sums = dict(reversed(line.split("  ")) for line in archive.read("SHA256SUMS").decode().splitlines())
        assert set(sums) == names - {"SHA256SUMS"}
        for name, expected in sums.items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == expected
    assert names >= {
        "model_card.md", "lineage.json", "sbom.cdx.json", "approval.json", "ledger.jsonl", "verdict.json",
        "report.html", "policy.json", "evaluation.json", "bundle.json", "environment.txt",
    }  # fmt: skip


def test_the_same_ledger_gives_the_same_bytes_and_a_later_event_another_pack(pack: Path, registry: Registry) -> None:
    before = pack.read_bytes()
    os.utime(registry.root / "models" / "abc" / "bundle" / "verdict.json", (time.time() + 99,) * 2)
    assert make_evidence_pack(registry, 1).read_bytes() == before
    registry.promote(1, actor="ann", reason="the first", expected_serving=None)
    assert make_evidence_pack(registry, 1).read_bytes() != before
    kinds = [json.loads(line)["kind"] for line in content(pack, "ledger.jsonl").splitlines()]
    assert kinds == ["register", "approve", "promote"]


def test_the_approval_and_the_ledger_are_sealed_as_they_are_in_the_ledger(pack: Path, registry: Registry) -> None:
    events = registry.history()
    assert Event.from_text(content(pack, "approval.json"), where="approval") == events[1]
    lines = content(pack, "ledger.jsonl").splitlines()
    assert [Event.from_text(line, where="ledger") for line in lines] == events


def test_it_is_written_elsewhere_where_that_is_asked_for(pack: Path, registry: Registry, tmp_path: Path) -> None:
    target = tmp_path / "for the file" / "pack.zip"
    assert make_evidence_pack(registry, 1, target=target) == target
    assert target.read_bytes() == pack.read_bytes()


def test_a_version_that_nobody_approved_gets_none(registry: Registry, version: Bundle) -> None:
    with pytest.raises(NotPromotableError, match="version 1 is registered and can't be signed off"):
        make_evidence_pack(registry, 1)
    registry.revoke(1, actor="ben", reason="wrong labels")
    with pytest.raises(NotPromotableError, match="version 1 is revoked and can't be signed off"):
        make_evidence_pack(registry, 1)
    assert not list(version.folder.parent.glob("*.zip"))
    with pytest.raises(UnknownNameError):
        make_evidence_pack(registry, 2)


def test_a_revoked_version_is_still_answered_for(pack: Path, registry: Registry) -> None:
    registry.revoke(1, actor="ben", reason="wrong labels")
    make_evidence_pack(registry, 1)
    assert "wrong labels" in content(pack, "model_card.md")
    assert json.loads(content(pack, "lineage.json"))["life"] == "revoked"


@pytest.mark.parametrize("revoked", [False, True])
def test_evidence_that_was_changed_is_not_packed(
    pack: Path, registry: Registry, version: Bundle, revoked: bool
) -> None:
    if revoked:
        registry.revoke(1, actor="ben", reason="wrong labels")
    write_text(version.folder / "report.html", "<html>better")
    with pytest.raises(DigestMismatchError, match=r"report\.html"):
        make_evidence_pack(registry, 1)


def test_the_card_says_what_it_is_for_how_good_it_is_and_what_is_not_known(pack: Path) -> None:
    card = content(pack, "model_card.md")
    assert card.startswith("# vertebra-segmentation, version 1\n")
    assert "not for clinical use" in card.splitlines()[2]
    assert "**Not for clinical use.**" in card
    rows = {line.split(" | ")[0].strip("| "): line for line in card.splitlines() if line.startswith("| ")}
    assert "0.900 [0.900, 0.900]" in rows["L1-L5"]
    assert rows["C1-C4"].split(" | ")[4] == "-", "of a region without cases no number is given"
    assert "Never tested on C1-C4, C5-C7, T1-T4, T5-T9, T10-T12, S1" in card
    assert "Verdict **pass** under policy strict 1" in card
    assert "its verdict \\| passes" in rows["1"], "what people write ends no cell"
    assert "&lt;b>every&lt;/b>" in card


def test_the_bill_of_materials_is_valid_cyclonedx_and_names_model_data_and_packages(
    pack: Path, version: Bundle
) -> None:
    text = content(pack, "sbom.cdx.json")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    model = bill["metadata"]["component"]
    assert (model["type"], model["version"]) == ("machine-learning-model", "1")
    assert model["hashes"][0]["content"] == version.digest.removeprefix("sha256:")
    (weights,) = model["components"]
    assert weights["hashes"][0]["content"] == version.manifest.folds[0].removeprefix("sha256:")
    purls = {component["name"]: component.get("purl") for component in bill["components"]}
    assert purls == {
        "training and test data": None,
        "torch": "pkg:pypi/torch@2.13.0%2Bcpu",
        "PyYAML": "pkg:pypi/pyyaml@6.0.3",
        "spineline": "pkg:generic/spineline@0.1.0",
    }
    (needs,) = (each["dependsOn"] for each in bill["dependencies"] if each["ref"] == "model")
    assert len(needs) == 4


def test_a_broken_bill_would_be_found(pack: Path) -> None:
    broken = json.loads(content(pack, "sbom.cdx.json"))
    broken["components"][0]["type"] = "no such type"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(broken)) is not None
