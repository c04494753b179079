"""The suite's data set: phantom scans, prepared and pushed with DVC, and served with their git repository.

It runs in a pod of the image ``data``, without the rest of the suite, as ``data_set_program.py make REMOTE ENDPOINT
SOURCES`` or ``data_set_program.py remove REMOTE ENDPOINT``; an ENDPOINT of ``-`` is AWS's own.
"""

import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

SCANS = 16
SEED = 15
PORT = 8080
NAME = "spine-data.git"
WORK = Path("cluster-suite-data")
_CONFIG = """[core]
    remote = store
    analytics = false
    check_update = false
['remote "store"']
    url = {remote}
"""


def make(remote: str, endpoint: str, sources: Path) -> Path:
    """Make, prepare, commit and push the data set; return the folder that is served."""
    repository = WORK / "spine-data"
    shutil.rmtree(WORK, ignore_errors=True)
    (repository / ".dvc").mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml", "set_aside.yaml"):
        shutil.copy(sources / name, repository / name)
    config = _CONFIG.format(remote=remote) + (f"    endpointurl = {endpoint}\n" if endpoint != "-" else "")
    (repository / ".dvc" / "config").write_text(config)
    (repository / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (repository / ".gitignore").write_text("/data/\n")
    _write_scans(repository / "data" / "raw")
    _call(repository, "git", "init", "--quiet", "--initial-branch", "main")
    _call(repository, sys.executable, "-m", "dvc", "repro", "--quiet")
    _call(repository, "git", "add", "--all")
    identity = ("-c", "user.name=Cluster suite", "-c", "user.email=suite@localhost")
    _call(repository, "git", *identity, "commit", "--quiet", "--message", "Prepare the suite's data set")
    _call(repository, sys.executable, "-m", "dvc", "push", "--quiet")
    served = WORK / "served"
    _call(WORK, "git", "clone", "--quiet", "--bare", "spine-data", f"served/{NAME}")
    # What a client needs of a server that only hands out files.
    _call(served / NAME, "git", "update-server-info")
    return served


def server(folder: Path, *, port: int) -> ThreadingHTTPServer:
    """Return a server that answers HTTP with the files of a folder."""
    return ThreadingHTTPServer(("", port), partial(SimpleHTTPRequestHandler, directory=str(folder)))


def remove(remote: str, endpoint: str) -> int:
    """Delete the objects that were pushed; return how many."""
    import boto3

    parts = urlsplit(remote)
    prefix = parts.path.strip("/")
    if not prefix:
        raise ValueError(f"remote is {remote}; expected one with a prefix: a whole bucket is never deleted")
    store = boto3.client("s3", **({} if endpoint == "-" else {"endpoint_url": endpoint}))
    count = 0
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=parts.netloc, Prefix=f"{prefix}/"):
        for entry in page.get("Contents", []):
            store.delete_object(Bucket=parts.netloc, Key=entry["Key"])
            count += 1
    return count


def _write_scans(folder: Path) -> None:
    from spine.phantom.raw_set import write_raw_set

    write_raw_set(folder, scans=SCANS, seed=SEED)


def _call(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[:4])}: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        server(make(sys.argv[2], sys.argv[3], Path(sys.argv[4])), port=PORT).serve_forever()
    else:
        print(remove(sys.argv[2], sys.argv[3]))
