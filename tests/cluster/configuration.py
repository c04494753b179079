"""Which cluster the suite uses, and with what: the only place of the suite that reads the environment.

``python -m tests.cluster.configuration`` prints in one line what is missing, and exits with 2 then.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PREFIX = "SPINELINE_CLUSTER_"
ACTOR = "cluster-suite"
"""Who starts the suite's runs: versions that this actor registered are the suite's own."""
APPROVER = "cluster-suite-approver"


class MissingConfigurationError(Exception):
    """The environment names no cluster, or names something that does not exist."""


@dataclass(frozen=True)
class Configuration:
    """What the environment sets; README.md describes each variable."""

    kubeconfig: str
    namespace: str
    profile: Path
    overlay: Path | None
    repository: str | None
    revision: str
    remote: str | None
    token: str | None
    queue: str | None
    gpu_type: str
    memory: str
    replaces_served: bool
    keeps: bool
    environment: Mapping[str, str]
    """Environment of the commands that the suite calls."""


def read_configuration(environ: Mapping[str, str]) -> Configuration:
    """Return the configuration; raises MissingConfigurationError with all that is missing in one line."""
    given = {name.removeprefix(PREFIX): value for name, value in environ.items() if name.startswith(PREFIX) and value}
    if missing := _missing(environ, given):
        raise MissingConfigurationError(f"no cluster to test: {'; '.join(missing)} (tests/cluster/README.md)")
    return Configuration(
        kubeconfig=environ["KUBECONFIG"],
        namespace=given["NAMESPACE"],
        profile=Path(given["PROFILE"]).absolute(),
        overlay=Path(given["OVERLAY"]).absolute() if "OVERLAY" in given else None,
        repository=given.get("REPOSITORY"),
        revision=given.get("REVISION", "main"),
        remote=given.get("REMOTE"),
        token=given.get("TOKEN"),
        queue=given.get("QUEUE"),
        gpu_type=given.get("GPU_TYPE", "nvidia.com/gpu"),
        memory=given.get("MEMORY", "3Gi"),
        replaces_served=given.get("REPLACE_SERVED") == "1",
        keeps=given.get("KEEP") == "1",
        environment=_child_environment(environ),
    )


def current() -> Configuration:
    """Return the configuration of this process; raises MissingConfigurationError."""
    return read_configuration(os.environ)


def _missing(environ: Mapping[str, str], given: Mapping[str, str]) -> list[str]:
    files = (environ.get("KUBECONFIG") or "").split(os.pathsep)
    found = [] if any(file and Path(file).is_file() for file in files) else ["KUBECONFIG names no file"]
    found += [f"{PREFIX}{name} is not set" for name in ("NAMESPACE", "PROFILE") if name not in given]
    for name, is_kind in (("PROFILE", Path.is_file), ("OVERLAY", Path.is_dir)):
        if name in given and not is_kind(Path(given[name])):
            found.append(f"{PREFIX}{name} is '{given[name]}', which does not exist")
    return found


def _child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return this environment without settings of Spineline, and with the suite's actor.

    The rest stays: credential plugins that a kubeconfig names read variables of their own.
    """
    left_out = ("SPINELINE_", "MLFLOW_", "PYTHON")
    kept = {name: value for name, value in environ.items() if not name.startswith(left_out)}
    return {**kept, "SPINELINE_ACTOR": ACTOR, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", "DO_NOT_TRACK": "true"}


def main() -> int:
    """Print what is missing; return the exit code."""
    try:
        current()
    except MissingConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
