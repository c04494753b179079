"""Where libraries keep what they make for themselves, on a file system of which little can be written."""

import os
import tempfile
from pathlib import Path

import spine


def keep_caches(folder: Path) -> None:
    """Point numba, matplotlib and temporary files below ``folder`` where their own places can't be written.

    Called before numba and matplotlib, which nnU-Net brings, are imported. What the environment says already stays.
    """
    if not os.access(Path(spine.__file__).parent / "volume", os.W_OK):
        # Compiling anew at each start takes seconds.
        os.environ.setdefault("NUMBA_CACHE_DIR", str(folder / "numba"))
    if not _has_home():
        os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = str(folder)


def _has_home() -> bool:
    try:
        return os.access(Path.home(), os.W_OK)
    except RuntimeError:
        return False
