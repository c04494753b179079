"""The evidence pack of an approved version: what is in it, that it adds up, is the same twice and is kept up."""

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

from model_registry.bundle import MANIFEST_FILE, Bundle, evidence_pack_path, list_files
from model_registry.errors import NotPromotableError
from model_registry.evidence_pack import make_evidence_pack
from model_registry.evidence_refresh import refresh_evidence_packs
from model_registry.ledger import Event
from model_registry.lifecycle import Registry
from model_registry.lineage import lineage_of
from model_registry.model_card import model_card
from model_registry.provenance import Provenance
from spine.errors import DigestMismatchError, UnknownNameError
from spine.metrics.scores import Evaluation, FoundVertebra
from spine.storage import digest_bytes, read_json, write_json, write_text

PROVENANCE = Provenance(code_revision="c" * 40, git_revision="1" * 40, dvc_hash="2" * 32)


@pytest.fixture
def version(registry: Registry, write_evidence: Callable[..., Bundle]) -> Bundle:
    """Version 1, registered, with an environment of three packages."""
    folder = registry.root / "models" / "abc" / "bundle"
    write_evidence(folder)
    write_text(folder / "environment.txt", "# python 3.11\ntorch==2.13.0+cpu\nPyYAML==6.0.3\nspineline==0.1.0\n")
    write_text(folder / "report.html", "<html>")
    write_text(folder / "python_env.yaml", "python: 3.11.2\n")
    write_json(folder / "lineage.json", PROVENANCE.model_dump(mode="json"))
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
        "model_card.md", "lineage-and-life.json", "lineage.json", "sbom.cdx.json", "approval.json", "ledger.jsonl",
        "verdict.json", "report.html", "policy.json", "evaluation.json", "bundle.json", "environment.txt",
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
    assert json.loads(content(pack, "lineage-and-life.json"))["stage"] == "revoked"


def test_what_bears_a_name_of_the_bundle_is_the_bundles_file(pack: Path, version: Bundle) -> None:
    with zipfile.ZipFile(pack) as archive:
        shared = set(archive.namelist()) & set(version.manifest.files)
        assert {"lineage.json", "verdict.json", "environment.txt"} <= shared
        for name in shared:
            assert digest_bytes(archive.read(name)) == version.manifest.files[name]


def test_an_event_makes_the_packs_it_concerns_again_and_leaves_the_others(
    pack: Path, registry: Registry, register: Callable[..., Bundle]
) -> None:
    for number in (2, 3):
        register(number)
        registry.approve(number, actor="ben", reason="looked at the report")
    other = make_evidence_pack(registry, 3)
    untouched = other.read_bytes()
    refresh_evidence_packs(registry, registry.promote(1, actor="ann", reason="the first", expected_serving=None))
    assert "As of event 7 of the ledger" in content(pack, "model_card.md")
    refresh_evidence_packs(registry, registry.promote(2, actor="ann", reason="next", expected_serving=1))
    lineage = json.loads(content(pack, "lineage-and-life.json"))
    assert (lineage["stage"], lineage["as_of_event"]) == ("replaced", 8)
    assert other.read_bytes() == untouched
    assert not evidence_pack_path(registry.root / "models" / "2" / "bundle", 2).exists(), "nobody made one of version 2"


def test_a_pack_that_cant_be_made_again_is_a_warning_and_stays_as_it_was(
    pack: Path, registry: Registry, version: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    before = pack.read_bytes()
    write_text(version.folder / "report.html", "<html>better")
    refresh_evidence_packs(registry, registry.promote(1, actor="ann", reason="the first", expected_serving=None))
    assert pack.read_bytes() == before
    assert "pack of version 1 is not up to date with event 3" in caplog.text
    assert "report.html" in caplog.text


def test_the_card_says_who_approved_alone_and_what_it_was_held_against(
    registry: Registry, register: Callable[..., Bundle], write_evidence: Callable[..., Bundle],
    evaluate: Callable[..., Evaluation],
) -> None:  # fmt: skip
    register(1)
    registry.approve(1, actor="ben", reason="looked at the report")
    registry.promote(1, actor="ann", reason="the first", expected_serving=None)
    bundle = write_evidence(registry.root / "models" / "2" / "bundle", champion=evaluate([0.9] * 6), weights="other")
    registry.register(version=2, bundle=bundle, actor="ann", reason="its verdict passes")
    registry.approve(2, actor="ann", reason="looked at it myself")
    cards = [content(make_evidence_pack(registry, number), "model_card.md") for number in (1, 2)]
    assert "held against no model, as none was in use" in cards[0]
    assert "(version 1, in use when this one was registered; evaluation " in cards[1]
    assert ["one and the same, ann" in card for card in cards] == [False, True]


def test_flags_are_counted_in_words(pack: Path, version: Bundle, registry: Registry) -> None:
    evaluation = Evaluation.parse(version.json("evaluation.json"), where="evaluation.json")
    found = FoundVertebra(label=20, was=20, covers=20, voxels=9, margin=0.5, flags=("low margin",))
    first, second, *others = evaluation.scans
    scans = (
        first.model_copy(update={"vertebrae": (found,)}),
        second.model_copy(update={"vertebrae": (found.model_copy(update={"flags": ("renamed",)}),) * 2}),
        *others,
    )
    write_json(
        version.folder / "evaluation.json", evaluation.model_copy(update={"scans": scans}).model_dump(mode="json")
    )
    card = model_card(version, name="m", lineage=lineage_of(registry, 1))
    assert "'low margin': raised on 1 vertebra of" in card
    assert "'renamed': raised on 2 vertebrae of" in card


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
        "python": "pkg:generic/python@3.11.2",
        "torch": "pkg:pypi/torch@2.13.0%2Bcpu",
        "PyYAML": "pkg:pypi/pyyaml@6.0.3",
        "spineline": "pkg:generic/spineline@0.1.0",
    }
    (needs,) = (each["dependsOn"] for each in bill["dependencies"] if each["ref"] == "model")
    assert len(needs) == 5
    assert [commit["uid"] for commit in model["pedigree"]["commits"]] == ["c" * 40]
    told = {each["name"]: each["value"] for each in bill["metadata"]["properties"]}
    assert "not recorded" in told["spineline:licences"]
    assert "the whole environment" in told["spineline:packages"]


def test_a_broken_bill_would_be_found(pack: Path) -> None:
    broken = json.loads(content(pack, "sbom.cdx.json"))
    broken["components"][0]["type"] = "no such type"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(broken)) is not None
