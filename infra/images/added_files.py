"""Keep the files that an installation adds to a tree apart from those that the tree had before, a layer already.

Usage: python3 added_files.py list TREE > LIST, then, after the installation,
python3 added_files.py move TREE TARGET < LIST.
"""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path


def contents(tree: Path) -> dict[str, str]:
    """Return the digest of each file and the target of each link below ``tree``, by their paths in it."""
    found = {}
    for folder, folders, names in os.walk(tree):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for path in (Path(folder) / name for name in (*names, *links)):
            found[str(path.relative_to(tree))] = str(path.readlink()) if path.is_symlink() else _digest(path)
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def move_added(tree: Path, target: Path, *, before: dict[str, str]) -> None:
    """Move the files of ``tree`` that are not in ``before`` to ``target``; raises ValueError where another one changed.

    What was written again with the same content has not changed: pip always installs the package argparse anew.
    """
    after = contents(tree)
    for path, content in sorted(before.items()):
        if after.get(path) != content:
            condition = "changed" if path in after else "removed"
            raise ValueError(
                f"{tree / path}: {condition} by the installation, although it lies in the layer below; "
                "expected one version of each package in all extras (constraints.txt)"
            )
    for path in sorted(after.keys() - before.keys()):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(tree / path, target / path)


def main(action: str, tree: str, *target: str) -> int:
    """List or move; one line on stderr and 2 where a file of the tree changed."""
    if action == "list":
        json.dump(contents(Path(tree)), sys.stdout)
        return 0
    try:
        move_added(Path(tree), Path(*target), before=json.load(sys.stdin))
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
