"""Times `pull_dataset` beside `dvc pull` and boto3 alone, in turn, on the same objects and endpoint."""

import argparse
import filecmp
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from boto3_alone import PARALLEL
from published import BUCKET, DVC, Published, call, environment, moto, publish, static

OURS, S3TRANSFER, GET = "pull_dataset", "boto3 download_file", "boto3 get_object"
DVC_PULL, DVC_VERIFY = "dvc pull", "dvc pull, verify"
_VERIFY = "['remote \"s3\"']\n    verify = true\n"
_ENDPOINTS = {"moto": moto, "static": static}
_NOBODY = "http://127.0.0.1:9"


def _command(name: str, published: Published, url: str, place: Path) -> Sequence[str]:
    if name == OURS:
        given = ("--root", str(place / "root"), "--repository", str(published.repository), "--remote", "")
        return (sys.executable, "-m", "components.pull_dataset", *given)
    if name in (DVC_PULL, DVC_VERIFY):
        return (*DVC, "pull", "--quiet", "--jobs", str(PARALLEL))
    way = name.removeprefix("boto3 ")
    keys = published.repository.parent / "keys.txt"
    script = str(Path(__file__).with_name("boto3_alone.py"))
    return (sys.executable, script, way, url, BUCKET, str(keys), str(place / "target"))


def _timed(name: str, published: Published, url: str, place: Path) -> tuple[float, float]:
    """Return the seconds of one pull by a process of its own, into an empty place: on the clock, and of CPU."""
    place.mkdir()
    folder = place
    if name in (DVC_PULL, DVC_VERIFY):
        call(place, "git", "clone", "--quiet", str(published.repository), "clone")
        folder = place / "clone"
    if name == DVC_VERIFY:
        (folder / ".dvc" / "config.local").write_text(_VERIFY)
    # What an earlier pull has still to write must not slow this one.
    os.sync()
    begun, cpu = time.perf_counter(), _cpu_of_children()
    done = subprocess.run(
        _command(name, published, url, place), cwd=folder, env=environment(place), capture_output=True, text=True
    )
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(f"{name}: {done.stdout}{done.stderr}")
    return seconds, _cpu_of_children() - cpu


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _check(name: str, published: Published, place: Path) -> None:
    """Raise where what arrived is not what was published."""
    source = published.repository.parent / "source"
    folders = {OURS: "root/datasets/*/data", DVC_PULL: "clone/data/prepared", DVC_VERIFY: "clone/data/prepared"}
    if name not in folders:
        assert len(list((place / "target").iterdir())) == len(published.keys)
        return
    (folder,) = place.glob(folders[name])
    names = [path.name for path in source.iterdir()]
    same, _, _ = filecmp.cmpfiles(source, folder, names, shallow=False)
    assert len(same) == len(names)


def _second_pull(published: Published, place: Path) -> float:
    """Pull the unchanged revision again where no store answers: it can move nothing. Return its seconds."""
    begun = time.perf_counter()
    subprocess.run(
        _command(OURS, published, "", place),
        env={**environment(place), "SPINELINE_S3_ENDPOINT": _NOBODY},
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - begun


def measure(published: Published, url: str, *, repeats: int, home: Path, names: Sequence[str]) -> None:
    """Print the median seconds of each on one endpoint, and what a second pull moves."""
    published.point_to(url)
    (published.repository.parent / "keys.txt").write_text("\n".join(published.keys))
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    again = 0.0
    for repeat in range(repeats):
        # Each goes first, and last, as often as the others.
        for name in (*names[repeat % len(names) :], *names[: repeat % len(names)]):
            place = home / "place"
            seconds[name].append(_timed(name, published, url, place))
            _check(name, published, place)
            if name == OURS:
                again = _second_pull(published, place)
            shutil.rmtree(place)
    medians = {
        name: [statistics.median(column) for column in zip(*each, strict=True)] for name, each in seconds.items()
    }
    print(f"{'':22}{'median s':>9}{'of ours':>9}{'CPU s':>8}  each")
    for name, (middle, cpu) in medians.items():
        each = " ".join(f"{clock:.2f}" for clock, _ in seconds[name])
        print(f"{name:22}{middle:9.2f}{middle / medians[OURS][0]:9.2f}{cpu:8.2f}  {each}")
    print(f"second pull of the unchanged revision, with no store to reach: {again:.2f} s, 0 bytes moved")


def main(argv: list[str] | None = None) -> int:
    """Publish once, then measure on each endpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--size-mb", type=float, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--endpoints", nargs="+", choices=list(_ENDPOINTS), default=list(_ENDPOINTS))
    parser.add_argument("--only", nargs="+", default=[OURS, S3TRANSFER, GET, DVC_PULL, DVC_VERIFY])
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: a temporary folder)")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        home = Path(name)
        published = publish(home, objects=given.objects, size_mb=given.size_mb)
        for endpoint in given.endpoints:
            with _ENDPOINTS[endpoint](published) as url:
                print(f"\n{endpoint}: {given.objects} objects of {given.size_mb:g} MB, {PARALLEL} at once")
                measure(published, url, repeats=given.repeats, home=home, names=given.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
