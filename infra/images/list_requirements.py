"""Print what the project and the extras named on the command line require, one a line, out of pyproject.toml."""

import sys
import tomllib
from pathlib import Path


def requirements(project: Path, extras: list[str]) -> list[str]:
    """Return the requirements of the project and of ``extras``; raises KeyError for an extra that there is not."""
    described = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    return [
        *described["dependencies"],
        *(line for extra in extras for line in described["optional-dependencies"][extra]),
    ]


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in requirements(Path("pyproject.toml"), sys.argv[1:]))
