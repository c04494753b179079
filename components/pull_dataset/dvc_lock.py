"""What a git revision says of the data set: hash and size in its dvc.lock, the remote in its DVC configuration."""

import configparser
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spine.errors import MalformedFileError, MissingPathError, SpinelineError, UnknownNameError
from spine.git_urls import is_path
from spine.settings import child_environment
from spine.storage import digest_bytes, short

STAGE = "prepare_dataset"
OUTPUT = "data/prepared"
_DIRECTORY = re.compile(r"[0-9a-f]{32}\.dir")
_EXPECTED_LOCK = f"a dvc.lock with the stage {STAGE} (run `dvc repro` and commit dvc.lock)"

_UNREACHABLE = re.compile(
    r"could not resolve host|connection (refused|reset|timed out)|failed to connect|operation timed out"
    r"|network is unreachable|the remote end hung up|returned error: 5\d\d|gnutls recv error|early eof",
    re.IGNORECASE,
)


class RepositoryError(SpinelineError):
    """A git repository can't be cloned or updated."""

    def __init__(self, repository: str, *, reported: str) -> None:
        lines = [line.strip() for line in reported.splitlines() if line.strip()]
        reason = next((line for line in lines if line.startswith("fatal:")), lines[-1] if lines else "no reason given")
        self.is_transient = bool(_UNREACHABLE.search(reported))
        super().__init__(f"{repository}: git can't read it ({reason}); check the address and the credentials")


@dataclass(frozen=True)
class Pointer:
    """Where a revision's data are: commit, DVC hash and size of the directory, remote and what it is relative to."""

    git_revision: str
    dvc_hash: str
    size_bytes: int | None
    """Of all files together; None where dvc.lock doesn't say."""
    remote: str
    endpoint: str | None
    """Of an S3 store other than AWS."""
    relative_to: Path


def resolve(repository: str, revision: str, *, remote: str | None, endpoint: str | None, clones: Path) -> Pointer:
    """Resolve a branch, tag or commit of ``repository`` (a path or URL; URLs are cloned below ``clones``).

    ``remote`` replaces the repository's own, and ``endpoint`` what its configuration names.
    """
    folder = _local_repository(repository, clones)
    commit = _git(folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if commit is None:
        known = (_git(folder, "for-each-ref", "--count=8", "--format=%(refname:short)") or "").split()
        raise UnknownNameError("revision", revision, accepted=["HEAD", *known, "or a commit"])
    commit = commit.strip()
    dvc_hash, size_bytes = _locked(folder, commit)
    url, configured = (remote, None) if remote else _default_remote(folder, commit)
    return Pointer(
        git_revision=commit,
        dvc_hash=dvc_hash,
        size_bytes=size_bytes,
        remote=url,
        endpoint=endpoint or configured,
        relative_to=Path.cwd() if remote else folder / ".dvc",
    )


def _local_repository(repository: str, clones: Path) -> Path:
    if is_path(repository):
        folder = Path(repository).expanduser().absolute()
        if _git(folder, "rev-parse", "--git-dir") is None:
            raise MissingPathError(folder, expected="a git repository with a dvc.lock")
        return folder
    clone = clones / short(digest_bytes(repository.encode()))
    done = (
        _run_git(clone, "fetch", "--quiet", "origin", "+refs/*:refs/*")
        if clone.is_dir()
        else _run_git(None, "clone", "--quiet", "--mirror", repository, str(clone))
    )
    if done.returncode:
        raise RepositoryError(repository, reported=done.stderr)
    return clone


def _locked(folder: Path, commit: str) -> tuple[str, int | None]:
    """Return hash and bytes of the data set's directory."""
    where = f"{folder}@{commit[:12]}:dvc.lock"
    text = _git(folder, "show", f"{commit}:dvc.lock")
    if text is None:
        raise MissingPathError(Path(where), expected=_EXPECTED_LOCK)
    try:
        output = _data_of(yaml.safe_load(text)["stages"][STAGE]["outs"])
        found, size = str(output["md5"]), output.get("size")
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise MalformedFileError(where, reason=f"no single output of {STAGE}", expected=_EXPECTED_LOCK) from error
    if not _DIRECTORY.fullmatch(found):
        raise MalformedFileError(where, reason=f"output {found} is no directory", expected=_EXPECTED_LOCK)
    return found, size if isinstance(size, int) else None


def _data_of(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Pick the data set among a stage's outputs: by its path, or the one directory where it goes by another."""
    named = [output for output in outputs if output["path"] == OUTPUT]
    (output,) = named or [output for output in outputs if str(output["md5"]).endswith(".dir")] or outputs
    return output


def _default_remote(folder: Path, commit: str) -> tuple[str, str | None]:
    """Return the default remote's URL and endpoint."""
    where = f"{folder}@{commit[:12]}:.dvc/config"
    expected = "a default remote (`dvc remote add -d NAME URL`), or --remote URL"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(_git(folder, "show", f"{commit}:.dvc/config") or "")
        section = parser[f"'remote \"{parser['core']['remote']}\"'"]
        # DVC quotes what holds a comma or a '#'.
        return section["url"].strip('"'), section.get("endpointurl")
    except (configparser.Error, KeyError) as error:
        raise MalformedFileError(where, reason="names no default remote", expected=expected) from error


def _git(folder: Path | None, *arguments: str) -> str | None:
    """Run git and return its output, or None where it refused."""
    done = _run_git(folder, *arguments)
    return done.stdout if done.returncode == 0 else None


def _run_git(folder: Path | None, *arguments: str) -> "subprocess.CompletedProcess[str]":
    place = ["-C", str(folder)] if folder else []
    return subprocess.run(
        ["git", *place, *arguments],
        capture_output=True,
        text=True,
        env=child_environment(GIT_TERMINAL_PROMPT="0"),
        check=False,
    )
