"""Two trees with the same sources are the same to the byte and the second, whenever they were made."""

import marshal
import os
import subprocess
import sys
from pathlib import Path

SOURCE = 'NAMES = {"a", "b", "c"}\n\n\ndef where() -> str:\n    return where.__code__.co_filename\n'


def settled(project: Path, root: Path, *, made_at_s: int) -> Path:
    package = root / "opt/venv/lib"
    package.mkdir(parents=True)
    (package / "mod.py").write_text(SOURCE)
    (package / "template.py").write_text("{{ no python }}\n")
    (package / "link").symlink_to("mod.py")
    os.utime(package / "mod.py", (made_at_s, made_at_s))
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    subprocess.run([sys.executable, project / "infra/images/settle.py", root], check=True, env=environment)
    return root


def contents(root: Path) -> dict:
    return {
        str(path.relative_to(root)): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in root.rglob("*")
    }


def test_is_the_same_whenever_it_was_made(project, tmp_path):
    first = contents(settled(project, tmp_path / "a", made_at_s=1_000_000_000))
    assert first == contents(settled(project, tmp_path / "b", made_at_s=1_700_000_000))
    assert {time for time, _ in first.values()} == {315532800 * 10**9}


def test_bytecode_is_taken_whatever_its_source_and_says_where_it_will_lie(project, tmp_path):
    folder = settled(project, tmp_path / "a", made_at_s=1_000_000_000) / "opt/venv/lib"
    (folder / "mod.py").write_text("raise SystemExit('compiled anew')\n")
    subprocess.run([sys.executable, "-c", "import mod"], cwd=folder, check=True)
    (compiled,) = folder.glob("__pycache__/mod.*.pyc")
    assert marshal.loads(compiled.read_bytes()[16:]).co_filename == "/opt/venv/lib/mod.py"
