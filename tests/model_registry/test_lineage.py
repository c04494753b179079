"""From a version to all that it was made from, and from a data set to the versions that it had part in."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from model_registry.bundle import MANIFEST_FILE, Bundle, list_files
from model_registry.lifecycle import Registry
from model_registry.lineage import lineage_of, versions_on
from model_registry.provenance import PROVENANCE_FILE, Provenance
from spine.errors import DigestMismatchError, UnknownNameError
from spine.records import FoldCheckpoint
from spine.storage import read_json, write_json

OLD, NEW = "1111111" + "a" * 33, "2222222" + "b" * 33


def add_lineage(bundle: Bundle, *, revision: str, dvc_hash: str, started_from: str | None) -> Bundle:
    """Give a bundle what the step that registers writes."""
    folder = bundle.folder
    provenance = Provenance(
        code_revision="c" * 40, images={"train_folds": "train:1"}, git_revision=revision, dvc_hash=dvc_hash, run="r",
        fold_runs={0: "f"},
    )  # fmt: skip
    write_json(folder / PROVENANCE_FILE, provenance.model_dump(mode="json"))
    FoldCheckpoint(
        plan="p", training="t", fold=0, weights_sha256=bundle.manifest.folds[0], started_from=started_from, epochs=3,
        seconds=1.0, folder="f",
    ).write(folder / "records" / "fold_0.json")  # fmt: skip
    content = read_json(folder / MANIFEST_FILE, expected="a manifest")
    changes = {"git_revision": revision, "dvc_hash": dvc_hash, "files": list_files(folder)}
    write_json(folder / MANIFEST_FILE, {**content, **changes})
    return Bundle(folder)


@pytest.fixture
def family(registry: Registry, write_evidence: Callable[..., Bundle]) -> Registry:
    """Version 1 on old data, 2 on new data begun from 1, 3 on new data begun from 2, 4 on new data from nothing."""
    started: str | None = None
    for version in (1, 2, 3, 4):
        bundle = write_evidence(registry.root / "models" / str(version) / "bundle", weights=f"weights of {version}")
        revision = OLD if version == 1 else NEW
        begun = None if version == 4 else started
        bundle = add_lineage(bundle, revision=revision, dvc_hash=f"{revision[:7]}f.dir", started_from=begun)
        started = bundle.manifest.folds[0]
        registry.register(version=version, bundle=bundle, actor="ann", reason="its verdict passes")
    return registry


def through(registry: Registry, *names: str) -> dict[int, int | None]:
    return {each.version: each.through for each in versions_on(registry, names)}


def test_a_version_leads_to_code_data_plans_runs_and_to_where_it_began(family: Registry) -> None:
    found = lineage_of(family, 2)
    assert (found.provenance.code_revision, found.provenance.git_revision) == ("c" * 40, NEW)
    assert found.started_from == 1
    (fold,) = found.folds
    assert (fold.weights, fold.epochs, fold.run) == (family.bundle(2).manifest.folds[0], 3, "f")
    assert fold.started_from == family.bundle(1).manifest.folds[0]
    assert found.outcome == "pass"
    assert found.model_digest == family.state().version(2).model_digest
    assert lineage_of(family, 4).started_from is None


def test_its_events_are_those_that_name_it_and_the_one_that_replaced_it(family: Registry) -> None:
    for version in (1, 2):
        family.approve(version, actor="ben", reason="r")
        family.promote(version, actor="ann", reason="r", expected_serving=family.state().serving)
    told = [(event.kind, event.version) for event in lineage_of(family, 1).events]
    assert told == [("register", 1), ("approve", 1), ("promote", 1), ("promote", 2)]


@pytest.mark.parametrize("name", [OLD, OLD[:7], f"{OLD[:7]}f.dir", f"{OLD[:7]}f"])
def test_a_data_set_leads_to_versions_trained_on_it_and_to_all_that_began_from_them(
    family: Registry, name: str
) -> None:
    assert through(family, name) == {1: None, 2: 1, 3: 2}


def test_of_several_names_of_a_data_set_one_is_enough(family: Registry) -> None:
    assert through(family, "v2.0", NEW) == {2: None, 3: None, 4: None}


@pytest.mark.parametrize("name", ["0" * 40, OLD[:6], ""])
def test_a_data_set_that_no_version_knows_is_refused_with_those_that_are_known(family: Registry, name: str) -> None:
    with pytest.raises(UnknownNameError, match=f"expected one of: {OLD[:12]}.*{NEW[:12]}"):
        versions_on(family, [name])


def test_a_bundle_of_an_older_release_is_read_as_far_as_it_goes(
    register: Callable[..., Bundle], registry: Registry
) -> None:
    register(1)
    found = lineage_of(registry, 1)
    assert (found.provenance.code_revision, found.provenance.run) == ("unknown", None)
    assert found.provenance.git_revision == "0" * 40
    assert found.plans_digest is None
    assert through(registry, "0" * 40) == {1: None}


def test_a_revoked_version_is_still_answered_for_where_its_bundle_lies_here(family: Registry, tmp_path: Path) -> None:
    family.revoke(4, actor="ben", reason="wrong labels")
    assert lineage_of(family, 4).stage == "revoked"
    assert through(family, NEW) == {2: None, 3: None, 4: None}


@pytest.mark.parametrize("name", ["lineage.json", "records/fold_0.json", "verdict.json", "bundle.json"])
def test_a_lineage_that_was_changed_is_not_believed(family: Registry, name: str) -> None:
    file = family.root / family.state().version(1).bundle / name
    file.write_text(file.read_text().replace("1111111", "2222222").replace("pass", "fail").replace("3", "4"))
    for ask in (lambda: lineage_of(family, 1), lambda: versions_on(family, [NEW])):
        with pytest.raises(DigestMismatchError, match=name):
            ask()


def test_a_revoked_version_whose_bundle_is_gone_is_named(family: Registry, caplog: pytest.LogCaptureFixture) -> None:
    family.revoke(4, actor="ben", reason="wrong labels")
    shutil.rmtree(family.root / family.state().version(4).bundle)
    assert through(family, NEW) == {2: None, 3: None}
    assert "version 4 is revoked and its bundle is not here" in caplog.text
