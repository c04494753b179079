"""What a git revision says of the data set: the hash in its dvc.lock and the remote in its DVC configuration."""

import configparser
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from spine.errors import MalformedFileError, MissingPathError, UnknownNameError
from spine.settings import child_environment
from spine.storage import digest_bytes, short

STAGE = "prepare_dataset"
_EXPECTED_LOCK = f"a dvc.lock with the stage {STAGE} (run `dvc repro` and commit dvc.lock)"


@dataclass(frozen=True)
class Pointer:
    """Where a revision's data are: commit, DVC hash of the directory, remote and what it is relative to."""

    git_revision: str
    dvc_hash: str
    remote: str
    relative_to: Path


def resolve(repository: str, revision: str, *, remote: str | None, clones: Path) -> Pointer:
    """Resolve a branch, tag or commit of ``repository`` (a path or URL; URLs are cloned below ``clones``)."""
    folder = _local_repository(repository, clones)
    commit = _git(folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if commit is None:
        known = (_git(folder, "for-each-ref", "--count=8", "--format=%(refname:short)") or "").split()
        raise UnknownNameError("revision", revision, accepted=["HEAD", *known, "or a commit"])
    commit = commit.strip()
    dvc_hash = _locked_hash(folder, commit)
    return Pointer(
        git_revision=commit,
        dvc_hash=dvc_hash,
        remote=remote or _default_remote(folder, commit),
        relative_to=Path.cwd() if remote else folder / ".dvc",
    )


def _local_repository(repository: str, clones: Path) -> Path:
    if "://" not in repository and not repository.startswith("git@"):
        folder = Path(repository).expanduser().absolute()
        if _git(folder, "rev-parse", "--git-dir") is None:
            raise MissingPathError(folder, expected="a git repository with a dvc.lock")
        return folder
    clone = clones / short(digest_bytes(repository.encode()))
    done = (
        _git(clone, "fetch", "--quiet", "origin", "+refs/*:refs/*")
        if clone.is_dir()
        else _git(None, "clone", "--quiet", "--mirror", repository, str(clone))
    )
    if done is None:
        raise MissingPathError(Path(repository), expected="a git repository that can be cloned")
    return clone


def _locked_hash(folder: Path, commit: str) -> str:
    where = f"{folder}@{commit[:12]}:dvc.lock"
    text = _git(folder, "show", f"{commit}:dvc.lock")
    if text is None:
        raise MissingPathError(Path(where), expected=_EXPECTED_LOCK)
    try:
        (output,) = yaml.safe_load(text)["stages"][STAGE]["outs"]
        found = str(output["md5"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise MalformedFileError(where, reason=f"no single output of {STAGE}", expected=_EXPECTED_LOCK) from error
    if not found.endswith(".dir"):
        raise MalformedFileError(where, reason=f"output {found} is no directory", expected=_EXPECTED_LOCK)
    return found


def _default_remote(folder: Path, commit: str) -> str:
    where = f"{folder}@{commit[:12]}:.dvc/config"
    expected = "a default remote (`dvc remote add -d NAME URL`), or --remote URL"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(_git(folder, "show", f"{commit}:.dvc/config") or "")
        name = parser["core"]["remote"]
        return parser[f"'remote \"{name}\"'"]["url"]
    except (configparser.Error, KeyError) as error:
        raise MalformedFileError(where, reason="names no default remote", expected=expected) from error


def _git(folder: Path | None, *arguments: str) -> str | None:
    """Run git and return its output, or None where it refused."""
    place = ["-C", str(folder)] if folder else []
    done = subprocess.run(
        ["git", *place, *arguments],
        capture_output=True,
        text=True,
        env=child_environment(GIT_TERMINAL_PROMPT="0"),
        check=False,
    )
    return done.stdout if done.returncode == 0 else None
