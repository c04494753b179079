"""A real git and DVC repository with a prepared data set and a pushed remote, made once, copied for each test."""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from components.pull_dataset.main import pull_dataset
from spine.phantom import make_scan
from spine.settings import settings
from spine.volume.nifti import write_volume

PROJECT = Path(__file__).resolve().parents[3]
_PATIENTS = range(6)


@dataclass(frozen=True)
class Published:
    """A repository whose remote is the folder beside it, its commits, and the DVC hash of each."""

    repository: Path
    remote: Path
    first: str
    second: str
    hashes: dict[str, str]

    def git(self, *arguments: str) -> str:
        return _call(self.repository, "git", *arguments).strip()

    def commit(self, message: str) -> None:
        self.git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-am", message)

    def listed(self, commit: str) -> list[dict[str, str]]:
        return json.loads(self.object(self.hashes[commit]).read_text())

    def home_below(self, root: Path, commit: str) -> Path:
        return root / "datasets" / self.hashes[commit][:12]

    def object(self, md5: str) -> Path:
        return self.remote / "files" / "md5" / md5[:2] / md5[2:]


def _call(folder: Path, *command: str) -> str:
    identity = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", "Test"), ("EMAIL", "test@localhost"))
    }
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
    return done.stdout


def _write_scan(raw: Path, patient: int) -> None:
    scan = make_scan(seed=1, patient=patient, first=20, last=23, spacing_mm=(10.0, 10.0, 10.0))
    write_volume(raw / "volumes" / f"case_{patient}.nii.gz", scan.image)
    write_volume(raw / "segmentations" / f"case_{patient}.nii.gz", scan.labels)


def _version(repository: Path, tag: str) -> tuple[str, str]:
    """Prepare, commit and push what is in data/raw; return the commit and the hash in dvc.lock."""
    dvc = (sys.executable, "-m", "dvc")
    _call(repository, *dvc, "repro", "--quiet")
    _call(repository, "git", "add", "--all")
    _call(repository, "git", "commit", "--quiet", "--message", tag)
    _call(repository, "git", "tag", tag)
    _call(repository, *dvc, "push", "--quiet")
    outputs = yaml.safe_load((repository / "dvc.lock").read_text())["stages"]["prepare_dataset"]["outs"]
    (md5,) = (output["md5"] for output in outputs if output["path"] == "data/prepared")
    return _call(repository, "git", "rev-parse", "HEAD").strip(), md5


@pytest.fixture(scope="session")
def _published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("published")
    repository = home / "repository"
    for patient in _PATIENTS:
        _write_scan(repository / "data" / "raw", patient)
    for name in ("dvc.yaml", "set_aside.yaml"):
        shutil.copy(PROJECT / name, repository / name)
    parameters = {"raw": "data/raw", "split": {"seed": 1, "test_share": 0.3}, "rejects_allowed": 0.5}
    (repository / "params.yaml").write_text(yaml.safe_dump(parameters))
    (repository / ".gitignore").write_text("/data/\n")
    _call(repository, "git", "init", "--quiet", "--initial-branch", "main")
    _call(repository, sys.executable, "-m", "dvc", "init", "--quiet")
    _call(repository, sys.executable, "-m", "dvc", "remote", "add", "--quiet", "-d", "folder", "../remote")
    first, first_hash = _version(repository, "v1")
    _write_scan(repository / "data" / "raw", len(_PATIENTS))
    second, second_hash = _version(repository, "v2")
    return Published(repository, home / "remote", first, second, {first: first_hash, second: second_hash})


@pytest.fixture
def published(_published: Published, tmp_path: Path) -> Published:
    """A copy of the repository and its remote, to spoil: tags v1 (six scans) and v2 (seven) on branch main."""
    home = tmp_path / "published"
    shutil.copytree(_published.repository, home / "repository", ignore=shutil.ignore_patterns("data", "cache", "tmp"))
    shutil.copytree(_published.remote, home / "remote")
    return Published(home / "repository", home / "remote", _published.first, _published.second, _published.hashes)


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


@pytest.fixture(autouse=True)
def _own_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINELINE_ROOT", str(tmp_path / "root"))
    monkeypatch.delenv("SPINELINE_PROGRESS_FILE", raising=False)
    monkeypatch.delenv("SPINELINE_S3_ENDPOINT", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


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


class Counting(http.server.ThreadingHTTPServer):
    """The published remote as a bucket: it notes what is asked for, and can send less than that."""

    daemon_threads = True
    remote = "s3://spine/sets"

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), CountingHandler)
        self.folder = folder
        self.asked: list[tuple[str, int]] = []
        self.knows_ranges = True
        self.content = lambda key, content: content
        """What to send in place of an object's content; None to refuse."""

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    @staticmethod
    def key(md5):
        return f"files/md5/{md5[:2]}/{md5[2:]}"


class CountingHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        key = self.path.partition("?")[0].removeprefix("/spine/sets/")
        asked = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.server.asked.append((key, asked))
        start = asked if self.server.knows_ranges else 0
        path = self.server.folder / key
        if not path.is_file():
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        content = path.read_bytes()[start:]
        sent = self.server.content(key, content)
        if sent is None:
            self.answer(403, b"<Error><Code>InvalidAccessKeyId</Code></Error>")
            return
        self.answer(206 if start else 200, sent, length=len(content))

    def answer(self, status, sent, *, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent) if length is None else length))
        self.end_headers()
        self.wfile.write(sent)
        self.close_connection = length not in (None, len(sent))

    def log_message(self, *_):
        pass


@pytest.fixture
def counting(published, credentials):
    server = Counting(published.remote)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
