"""Pulling from a real DVC remote: what was committed arrives bit for bit, once; what is wrong is named."""

import http.server
import json
import shutil
import threading
import uuid

import pytest

from components.pull_dataset.program import main, pull_dataset
from spine.dataset import Manifest, image_path, labels_path
from spine.errors import DigestMismatchError, InvalidValueError, MalformedFileError, MissingPathError, UnknownNameError
from spine.objects import FolderStore, ObjectUnavailableError, open_store
from spine.records import RECORD_FILE, DatasetRevision
from spine.settings import settings
from spine.storage import digest_file


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def pull(published, root):
    """A function that pulls a revision of the published repository into the root."""

    def work(revision="HEAD", **changed):
        given = {"root": root, "repository": str(published.repository), "revision": revision, **changed}
        return pull_dataset(**given)

    return work


@pytest.fixture
def listing(published):
    """What DVC's directory object of the newest version lists: hash by path."""
    content = json.loads(published.object(published.hashes[published.second]).read_text())
    return {row["relpath"]: row["md5"] for row in content}


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def home_of(published, root, commit):
    return root / "datasets" / published.hashes[commit][:12]


def test_the_record_quotes_commit_and_hash_and_the_data_are_those_of_the_manifest(published, root, pull):
    record = pull("main")
    assert (record.git_revision, record.dvc_hash) == (published.second, published.hashes[published.second])
    manifest = Manifest.of(root / record.folder)
    assert (record.cases, record.test_cases) == (len(manifest.cases), len(manifest.members(split="test"))) == (7, 2)
    for case in manifest.cases:
        assert digest_file(image_path(root / record.folder, case)) == case.image_sha256
        assert digest_file(labels_path(root / record.folder, case)) == case.labels_sha256
    assert DatasetRevision.read(home_of(published, root, published.second) / RECORD_FILE) == record


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


def test_what_an_interrupted_pull_brought_is_not_moved_again(published, root, pull, listing):
    record = pull()
    home = home_of(published, root, published.second)
    whole = {path.relative_to(home / "data"): digest_file(path) for path in (home / "data").rglob("*.gz")}
    (home / RECORD_FILE).unlink()
    (home / "data").rename(home / "incoming")
    kept, lost = sorted(listing)[::2], sorted(listing)[1::2]
    for path in lost:
        (home / "incoming" / path).unlink()
    before = {path: (home / "incoming" / path).stat().st_mtime_ns for path in kept}
    # What is there already must not be asked for again.
    for path in kept:
        if listing[path] not in {listing[other] for other in lost}:
            published.object(listing[path]).unlink()
    assert pull() == record
    assert {path: (home / "data" / path).stat().st_mtime_ns for path in kept} == before
    assert {path.relative_to(home / "data"): digest_file(path) for path in (home / "data").rglob("*.gz")} == whole


def test_a_file_that_was_half_written_by_a_killed_pull_is_neither_kept_nor_trusted(published, root, pull, listing):
    incoming = home_of(published, root, published.second) / "incoming"
    victim = next(path for path in sorted(listing) if path.startswith("imagesTr/"))
    (incoming / victim).parent.mkdir(parents=True)
    (incoming / victim).write_bytes(b"half")
    (incoming / "imagesTr" / f".partial-x1-{victim.removeprefix('imagesTr/')}").write_bytes(b"half")
    folder = root / pull().folder
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(listing)
    assert (folder / victim).read_bytes() == published.object(listing[victim]).read_bytes()


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
    home = home_of(published, root, published.second)
    assert not (home / "data").exists() and not (home / RECORD_FILE).exists()
    assert not [path for path in home.rglob("*") if path.is_file() and path.read_bytes() == bytes(content)]
    assert not list(home.rglob(".partial-*"))


@pytest.mark.parametrize("which", ["the listing", "an image", "the manifest"])
def test_a_missing_object_is_named_and_the_pull_goes_on_once_it_is_there(published, root, pull, listing, which):
    md5 = spoiled_objects(published, listing)[which]
    lost = published.object(md5)
    lost.rename(lost.with_name("elsewhere"))
    with pytest.raises(ObjectUnavailableError, match=f"{lost.parent.name}/{lost.name}: no such file"):
        pull()
    assert not (home_of(published, root, published.second) / "data").exists()
    lost.with_name("elsewhere").rename(lost)
    assert pull().cases == 7


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        ([{"md5": "0" * 32, "relpath": "../../escaped"}], MalformedFileError, "leaves the data set"),
        ([{"md5": "0" * 32, "relpath": "/tmp/escaped"}], MalformedFileError, "leaves the data set"),
        ([{"relpath": "no-hash"}], MalformedFileError, "not a DVC directory listing"),
        ({"not": "a list"}, MalformedFileError, "not a DVC directory listing"),
    ],
)
def test_a_listing_that_is_none_or_leads_outside_is_refused(tmp_path, root, rows, error, words):
    from components.pull_dataset.program import _entries

    listing = tmp_path / "listing.json"
    listing.write_text(json.dumps(rows))
    with pytest.raises(error, match=words):
        _entries(listing)


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
    published.git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-am", "spoiled")
    with pytest.raises(MalformedFileError, match=r"dvc\.lock: no single output of prepare_dataset"):
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
    with pytest.raises(MissingPathError, match="that can be cloned"):
        pull(repository=url + "-gone", remote=str(published.remote))


def test_the_program_prints_the_record_last_and_an_error_as_one_line(published, root, capsys, monkeypatch):
    arguments = ["--root", str(root), "--repository", str(published.repository), "--remote", ""]
    assert main(arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    assert DatasetRevision.from_text(printed[-1], where="stdout").git_revision == published.second
    assert main([*arguments, "--revision", "v9"]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and "v9" in told[0]


# S3: moto's server speaks the protocol; a server of our own breaks off in mid-answer.


@pytest.fixture(scope="module")
def s3_server():
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def credentials(monkeypatch, tmp_path):
    """Keys for boto3's own chain, and nothing of the machine's configuration; retries without waiting."""
    # boto3's default session keeps the keys that it found first.
    monkeypatch.setattr(pytest.importorskip("boto3"), "DEFAULT_SESSION", None)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket(published, s3_server, credentials):
    """The remote's objects in a bucket of moto's server: (client, bucket's name)."""
    import boto3

    client = boto3.client("s3", endpoint_url=s3_server)
    name = f"spine-{uuid.uuid4().hex[:8]}"
    client.create_bucket(Bucket=name)
    for path in published.remote.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), name, f"sets/spine/{path.relative_to(published.remote).as_posix()}")
    return client, name


def test_a_data_set_is_pulled_from_s3_through_an_endpoint(pull, root, bucket, s3_server, listing):
    record = pull(remote=f"s3://{bucket[1]}/sets/spine/", endpoint=s3_server)
    folder = root / record.folder
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(listing)


def test_an_object_that_is_missing_on_s3_is_named(published, root, pull, bucket, s3_server, listing):
    client, name = bucket
    md5 = listing["manifest.json"]
    key = f"sets/spine/files/md5/{md5[:2]}/{md5[2:]}"
    client.delete_object(Bucket=name, Key=key)
    with pytest.raises(ObjectUnavailableError, match=f"s3://{name}/{key}: the store answered 404"):
        pull(remote=f"s3://{name}/sets/spine", endpoint=s3_server)
    assert not (home_of(published, root, published.second) / "data").exists()


def test_a_damaged_object_on_s3_is_named_by_its_hash(pull, bucket, s3_server, listing):
    client, name = bucket
    md5 = listing["manifest.json"]
    client.put_object(Bucket=name, Key=f"sets/spine/files/md5/{md5[:2]}/{md5[2:]}", Body=b"{}")
    with pytest.raises(DigestMismatchError, match=md5):
        pull(remote=f"s3://{name}/sets/spine", endpoint=s3_server)


def test_an_unknown_bucket_is_named(pull, s3_server, credentials):
    with pytest.raises(ObjectUnavailableError, match=r"s3://no-such-bucket/sets/files/md5/.*: the store answered 404"):
        pull(remote="s3://no-such-bucket/sets", endpoint=s3_server)


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers every request with 403, as S3 does where keys don't allow it."""

    def do_HEAD(self):
        self.send_response(403)
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *_):
        pass


class BreakingOff(Refusing):
    """Promises 1000 bytes and sends ten."""

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.send_header("ETag", '"x"')
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(b"0123456789")


@pytest.fixture
def answering():
    """A function that starts a server with a handler and returns its URL."""
    started = []

    def start(handler):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def test_a_forbidden_bucket_is_named(pull, credentials, answering):
    with pytest.raises(ObjectUnavailableError, match=r"s3://theirs/sets/files/md5/.*: the store answered 403"):
        pull(remote="s3://theirs/sets", endpoint=answering(Refusing))


def test_a_connection_that_breaks_off_is_told_and_leaves_nothing(tmp_path, credentials, answering):
    store = open_store("s3://bucket/sets", endpoint=answering(BreakingOff), relative_to=tmp_path)
    with pytest.raises(ObjectUnavailableError, match=r"s3://bucket/sets/files/md5/ab/cd"):
        store.fetch("files/md5/ab/cd", tmp_path / "target")
    assert not list(tmp_path.glob("target*"))


def test_an_endpoint_where_nobody_answers_is_told(pull, credentials):
    with pytest.raises(ObjectUnavailableError, match=r"Could not connect to the endpoint URL"):
        pull(remote="s3://bucket/sets", endpoint="http://127.0.0.1:9")


def test_missing_keys_are_told(pull, monkeypatch, credentials, s3_server):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ObjectUnavailableError, match="Unable to locate credentials"):
        pull(remote="s3://bucket/sets", endpoint=s3_server)


def test_the_folder_of_a_url_is_relative_to_the_repository_s_configuration(tmp_path):
    (tmp_path / "store" / "files").mkdir(parents=True)
    (tmp_path / "store" / "files" / "a").write_text("x")
    for url in ("../store", str(tmp_path / "store"), (tmp_path / "store").as_uri()):
        store = open_store(url, relative_to=tmp_path / ".dvc")
        assert isinstance(store, FolderStore)
        store.fetch("files/a", tmp_path / "copy")
        assert (tmp_path / "copy").read_text() == "x"


@pytest.fixture(autouse=True)
def _own_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINELINE_ROOT", str(tmp_path / "root"))
    monkeypatch.delenv("SPINELINE_PROGRESS_FILE", raising=False)
    monkeypatch.delenv("SPINELINE_S3_ENDPOINT", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()
