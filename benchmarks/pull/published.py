"""A git and DVC repository with one directory of random files, and local S3 endpoints that hold its objects."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import yaml

BUCKET, PREFIX = "spine", "sets"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
DVC = (sys.executable, "-m", "dvc")
_BYTES_PER_MB = 1_000_000
_MANIFEST = '{"seed": 0, "layout": "none", "label_map": "none", "cases": [], "quarantine": []}'
_MOTO = """
import time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%s" % server.get_host_and_port(), flush=True)
time.sleep(1e9)
"""


@dataclass(frozen=True)
class Published:
    """A repository, and its DVC cache as the objects that a remote has to hold."""

    repository: Path

    @property
    def objects(self) -> Path:
        """DVC's cache: the same layout as that of a remote."""
        return self.repository / ".dvc" / "cache"

    @property
    def keys(self) -> list[str]:
        """The objects' keys in the bucket."""
        paths = (path for path in self.objects.rglob("*") if path.is_file())
        return sorted(f"{PREFIX}/{path.relative_to(self.objects).as_posix()}" for path in paths)

    def point_to(self, endpoint: str) -> None:
        """Commit an endpoint as the remote's."""
        config = f"[core]\n    remote = s3\n['remote \"s3\"']\n    url = s3://{BUCKET}/{PREFIX}\n"
        (self.repository / ".dvc" / "config").write_text(f"{config}    endpointurl = {endpoint}\n")
        call(self.repository, "git", "add", "--all")
        call(self.repository, "git", "commit", "--quiet", "--message", endpoint)


def environment(folder: Path) -> dict[str, str]:
    """Return an environment with keys, an identity for git and DVC's state below ``folder``."""
    names = {f"GIT_{role}_{key}": "bench@localhost" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    return {
        **os.environ,
        **names,
        **KEYS,
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder / "dvc-site"),
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def call(folder: Path, *command: str) -> None:
    """Run a command in ``folder``; raises CalledProcessError with its output on stderr."""
    done = subprocess.run(command, cwd=folder, env=environment(folder.parent), capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        done.check_returncode()


def publish(home: Path, *, objects: int, size_mb: float) -> Published:
    """Make the repository: a stage whose one output is a directory of ``objects`` random files."""
    repository = home / "repository"
    source = home / "source"
    source.mkdir(parents=True)
    repository.mkdir()
    (source / "manifest.json").write_text(_MANIFEST)
    for number in range(objects):
        (source / f"scan_{number:05}.bin").write_bytes(os.urandom(int(size_mb * _BYTES_PER_MB)))
    stage = {"cmd": "mkdir -p data && cp -r ../source data/prepared", "outs": ["data/prepared"]}
    (repository / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"prepare_dataset": stage}}))
    call(repository, "git", "init", "--quiet", "--initial-branch", "main")
    call(repository, *DVC, "init", "--quiet")
    call(repository, *DVC, "repro", "--quiet")
    shutil.rmtree(repository / "data" / "prepared")
    shutil.rmtree(repository / ".dvc" / "cache" / "runs", ignore_errors=True)
    return Published(repository)


@contextmanager
def moto(published: Published) -> Iterator[str]:
    """Yield the URL of moto's server, in a process of its own, with the objects uploaded."""
    with _serving(sys.executable, "-c", _MOTO) as url:
        client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=BUCKET)

        def upload(key: str) -> None:
            path = published.objects / key.removeprefix(f"{PREFIX}/")
            client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(upload, published.keys))
        yield url


@contextmanager
def static(published: Published) -> Iterator[str]:
    """Yield the URL of the endpoint beside this file, with the objects linked below its root."""
    root = published.repository.parent / "static"
    shutil.copytree(published.objects, root / BUCKET / PREFIX, copy_function=os.link)
    with _serving(sys.executable, str(Path(__file__).with_name("endpoint.py")), str(root)) as url:
        yield url


@contextmanager
def _serving(*command: str) -> Iterator[str]:
    # moto's server writes a line a request.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()
