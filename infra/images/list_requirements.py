"""Print what the project and the extras named on the command line require, one a line, out of pyproject.toml.

With --shared first, of the extras only what all of them list.
"""

import sys
import tomllib
from pathlib import Path


def requirements(project: Path, extras: list[str], *, shared: bool = False) -> list[str]:
    """Return the requirements of the project and of ``extras``; raises KeyError for an extra that does not exist."""
    described = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    listed = [described["optional-dependencies"][extra] for extra in extras]
    if shared:
        listed = [[line for line in listed[0] if all(line in others for others in listed)]]
    return [*described["dependencies"], *(line for lines in listed for line in lines)]


if __name__ == "__main__":
    extras = [argument for argument in sys.argv[1:] if argument != "--shared"]
    found = requirements(Path("pyproject.toml"), extras, shared="--shared" in sys.argv)
    sys.stdout.writelines(f"{line}\n" for line in found)
