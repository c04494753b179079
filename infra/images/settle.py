"""Make a tree the same whenever it is built: bytecode that quotes no times, and one date for all files.

Usage: python3 settle.py ROOT, where ROOT is what will be / in the image.
"""

import compileall
import os
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

DATE_S = 315532800
"""1980-01-01 in Unix seconds, the first day that a wheel can hold."""


def settle(root: Path) -> None:
    """Compile all modules below ``root`` and date all that lies there.

    Bytecode is taken as it is, its source not looked at: an image's files don't change, and none can be written when
    it runs. One process compiles, in the order of names, so that it shares the same objects in every build. Files that
    are no Python of this version, such as templates, are left as they are.
    """
    compileall.compile_dir(
        root,
        quiet=2,
        stripdir=str(root),
        prependdir="/",
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
    for path in (root, *root.rglob("*")):
        os.utime(path, (DATE_S, DATE_S), follow_symlinks=False)


if __name__ == "__main__":
    settle(Path(sys.argv[1]))
