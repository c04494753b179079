"""Pulling from a real DVC remote: what was committed arrives bit for bit, once; what is wrong is named."""

import json
import shutil

import pytest
import yaml

from components.pull_dataset.dvc_lock import RepositoryError
from components.pull_dataset.listing import read_listing
from components.pull_dataset.main import main
from spine.dataset import Manifest, image_path, labels_path
from spine.errors import DigestMismatchError, InvalidValueError, MalformedFileError, MissingPathError, UnknownNameError
from spine.objects import FolderStore, ObjectUnavailableError, open_store
from spine.records import RECORD_FILE, DatasetRevision
from spine.storage import digest_file


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_the_record_quotes_commit_and_hash_and_the_data_are_those_of_the_manifest(published, root, pull):
    record = pull("main")
    assert (record.git_revision, record.dvc_hash) == (published.second, published.hashes[published.second])
    manifest = Manifest.of(root / record.folder)
    assert (record.cases, record.test_cases) == (len(manifest.cases), len(manifest.members(split="test"))) == (7, 2)
    for case in manifest.cases:
        assert digest_file(image_path(root / record.folder, case)) == case.image_sha256
        assert digest_file(labels_path(root / record.folder, case)) == case.labels_sha256
    assert DatasetRevision.read(published.home_below(root, published.second) / RECORD_FILE) == record


def test_exactly_the_listed_files_arrive(root, pull, listing):
    folder = root / pull().folder
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(listing)


@pytest.mark.parametrize("name", ["v1", "the commit", "its first digits", "HEAD~1"])
def test_an_earlier_revision_is_reached_by_tag_or_commit(published, pull, name):
    written = {"the commit": published.first, "its first digits": published.first[:8]}
    record = pull(written.get(name, name))
    assert (record.git_revision, record.cases) == (published.first, 6)
    assert record.dvc_hash != published.hashes[published.second]


def test_two_revisions_lie_side_by_side(root, pull):
    first, second = pull("v1"), pull("v2")
    assert first.folder != second.folder
    assert (len(Manifest.of(root / first.folder).cases), len(Manifest.of(root / second.folder).cases)) == (6, 7)


def test_a_second_pull_returns_the_same_record_and_moves_nothing(published, root, pull):
    record, before = pull(), times(root)
    shutil.rmtree(published.remote)
    assert pull() == record
    assert times(root) == before


def test_data_that_were_deleted_beside_their_record_are_pulled_again(root, pull, listing):
    record = pull()
    shutil.rmtree(root / record.folder)
    assert pull() == record
    assert len([path for path in (root / record.folder).rglob("*") if path.is_file()]) == len(listing)


def spoiled_objects(published, listing):
    return {
        "the listing": published.hashes[published.second],
        "an image": next(md5 for path, md5 in listing.items() if path.startswith("imagesTs/")),
        "the manifest": listing["manifest.json"],
    }


@pytest.mark.parametrize("which", ["the listing", "an image", "the manifest"])
def test_a_damaged_object_is_named_by_its_hash_and_nothing_takes_the_final_name(published, root, pull, listing, which):
    md5 = spoiled_objects(published, listing)[which]
    damaged = published.object(md5)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.chmod(0o644)
    damaged.write_bytes(content)
    with pytest.raises(DigestMismatchError, match=md5):
        pull()
    home = published.home_below(root, published.second)
    assert not (home / "data").exists() and not (home / RECORD_FILE).exists()
    assert not [path for path in root.rglob("*") if path.is_file() and path.read_bytes() == bytes(content)]
    assert not list(root.rglob(".partial-*"))


@pytest.mark.parametrize("which", ["the listing", "an image", "the manifest"])
def test_a_missing_object_is_named_and_the_pull_goes_on_once_it_is_there(published, root, pull, listing, which):
    md5 = spoiled_objects(published, listing)[which]
    lost = published.object(md5)
    lost.rename(lost.with_name("elsewhere"))
    with pytest.raises(ObjectUnavailableError, match=f"{lost.parent.name}/{lost.name}: no such file"):
        pull()
    assert not (published.home_below(root, published.second) / "data").exists()
    lost.with_name("elsewhere").rename(lost)
    assert pull().cases == 7


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"md5": "0" * 32, "relpath": "../../escaped"}], "leaves the data set"),
        ([{"md5": "0" * 32, "relpath": "/tmp/escaped"}], "leaves the data set"),
        ([{"md5": "0" * 32, "relpath": "."}], "leaves the data set"),
        ([{"md5": "../../escaped", "relpath": "a"}], "hash '../../escaped' of a"),
        ([{"md5": "0" * 32, "relpath": "a"}, {"md5": "1" * 32, "relpath": "./a"}], "path a is listed twice"),
        ([{"relpath": "no-hash"}], "not a DVC directory listing"),
        ({"not": "a list"}, "not a DVC directory listing"),
    ],
)
def test_a_listing_that_is_none_or_leads_outside_is_refused(tmp_path, rows, words):
    listing = tmp_path / "listing.json"
    listing.write_text(json.dumps(rows))
    with pytest.raises(MalformedFileError, match=words):
        read_listing(listing)


def test_an_unknown_revision_lists_those_that_exist(pull):
    with pytest.raises(UnknownNameError, match=r"unknown revision 'v9'; expected one of: HEAD, main, v1, v2"):
        pull("v9")


def test_a_revision_that_looks_like_an_option_is_only_unknown(pull):
    with pytest.raises(UnknownNameError, match="--output=x"):
        pull("--output=x")


def test_a_revision_without_dvc_lock_is_told_with_what_to_run(published, pull):
    published.git("rm", "--quiet", "dvc.lock")
    published.git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "without")
    with pytest.raises(MissingPathError, match=r"dvc\.lock: not found; expected .*dvc repro"):
        pull()


@pytest.mark.parametrize(
    "content", ["stages: [", "stages: {other: {}}", "- a list", "", "stages: {prepare_dataset: {outs: []}}"]
)
def test_a_malformed_dvc_lock_is_told(published, pull, content):
    (published.repository / "dvc.lock").write_text(content)
    published.commit("spoiled")
    with pytest.raises(MalformedFileError, match=r"dvc\.lock: no single output of prepare_dataset"):
        pull()


def locked(published, change):
    """Commit dvc.lock with the stage's outputs changed."""
    lock = published.repository / "dvc.lock"
    content = yaml.safe_load(lock.read_text())
    outputs = content["stages"]["prepare_dataset"]["outs"]
    outputs[:] = change([output for output in outputs if output["md5"].endswith(".dir")])
    lock.write_text(yaml.safe_dump(content))
    published.commit("changed")


REPORT = {"path": "reports/data", "md5": "1" * 32 + ".dir", "size": 9, "nfiles": 1}
SPLITS = {"path": "splits.json", "md5": "2" * 32, "size": 9}


@pytest.mark.parametrize(
    "change",
    [
        lambda outputs: [SPLITS, *outputs],
        lambda outputs: [REPORT, *outputs, SPLITS],
        lambda outputs: [{**outputs[0], "path": "elsewhere/prepared"}, SPLITS],
    ],
)
def test_the_data_set_is_found_among_a_stage_s_outputs(published, pull, change):
    locked(published, change)
    assert pull().cases == 7


def test_two_directories_of_which_none_is_the_data_set_are_refused(published, pull):
    locked(published, lambda outputs: [{**outputs[0], "path": "elsewhere/prepared"}, REPORT])
    with pytest.raises(MalformedFileError, match=r"dvc\.lock: no single output of prepare_dataset"):
        pull()


def test_an_output_that_is_a_file_is_refused(published, pull):
    locked(published, lambda _: [SPLITS])
    with pytest.raises(MalformedFileError, match="output 2{32} is no directory"):
        pull()


def test_a_folder_that_is_no_git_repository_is_told(published, root, pull, tmp_path):
    shutil.rmtree(published.repository / ".git")
    with pytest.raises(MissingPathError, match="expected a git repository"):
        pull()
    with pytest.raises(MissingPathError, match=r"nowhere: not found"):
        pull(repository=str(tmp_path / "nowhere"))
    assert not root.exists()


def test_a_missing_folder_of_the_remote_is_named(published, pull):
    shutil.rmtree(published.remote)
    with pytest.raises(MissingPathError, match=rf"{published.remote}: not found; expected the folder of a DVC remote"):
        pull()


def test_a_configuration_without_a_default_remote_is_told(published, pull):
    (published.repository / ".dvc" / "config").write_text("")
    published.git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-am", "no remote")
    with pytest.raises(MalformedFileError, match="names no default remote"):
        pull()


def test_a_remote_that_is_given_replaces_the_repository_s(published, pull, tmp_path):
    moved = published.remote.rename(tmp_path / "moved #1 50%")
    with pytest.raises(MissingPathError):
        pull()
    assert pull(remote=str(moved)).cases == 7


def test_a_url_of_a_remote_with_a_percent_sign_is_read_from_the_configuration(published, pull, tmp_path):
    published.remote.rename(published.remote.with_name("remote%20b"))
    config = published.repository / ".dvc" / "config"
    config.write_text(config.read_text().replace("/remote\n", "/remote%20b\n"))
    published.git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-am", "moved")
    assert pull().cases == 7


@pytest.mark.parametrize("url", ["gs://bucket/data", "ssh://host/data", "https://host/data"])
def test_a_kind_of_remote_that_is_not_supported_is_told(pull, url):
    with pytest.raises(InvalidValueError, match=rf"remote is '{url}'; expected a folder or s3://"):
        pull(remote=url)


def test_a_repository_by_url_is_cloned_and_sees_later_commits(published, root, pull):
    url = published.repository.as_uri()
    assert pull("v1", repository=url, remote=str(published.remote)).cases == 6
    published.git("tag", "later", "v2")
    assert pull("later", repository=url, remote=str(published.remote)).cases == 7
    with pytest.raises(RepositoryError, match="git can't read it \\(fatal:"):
        pull(repository=url + "-gone", remote=str(published.remote))


def test_the_program_prints_the_record_last_and_an_error_as_one_line(published, root, capsys, monkeypatch):
    arguments = ["--root", str(root), "--repository", str(published.repository), "--remote", ""]
    assert main(arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    assert DatasetRevision.from_text(printed[-1], where="stdout").git_revision == published.second
    assert main([*arguments, "--revision", "v9"]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and "v9" in told[0]


def test_the_folder_of_a_url_is_relative_to_the_repository_s_configuration(tmp_path):
    (tmp_path / "store" / "files").mkdir(parents=True)
    (tmp_path / "store" / "files" / "a").write_text("x")
    for url in ("../store", str(tmp_path / "store"), (tmp_path / "store").as_uri()):
        store = open_store(url, relative_to=tmp_path / ".dvc")
        assert isinstance(store, FolderStore)
        assert b"".join(store.blocks("files/a")) == b"x"
