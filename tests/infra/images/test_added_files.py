"""Only what an installation adds goes into a layer of its own; nothing of the layer below may differ."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def program(project) -> Callable[..., subprocess.CompletedProcess]:
    """A function that runs the program with arguments and standard input."""

    def run(*arguments: str | Path, given: str = "") -> subprocess.CompletedProcess:
        command = [sys.executable, project / "infra/images/added_files.py", *arguments]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def tree(tmp_path) -> Path:
    """An environment with one package."""
    folder = tmp_path / "venv"
    (folder / "lib/torch").mkdir(parents=True)
    (folder / "lib/torch/__init__.py").write_text("version = 1\n")
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to("/usr/bin/python3")
    (folder / "lib64").symlink_to("lib")
    return folder


def test_moves_what_was_added_and_nothing_else(program, tree, tmp_path):
    before = program("list", tree).stdout
    (tree / "lib/torch/added.py").write_text("")
    (tree / "lib/scripts (dev)").mkdir()
    (tree / "lib/scripts (dev)/a b.py").write_text("")
    (tree / "lib/torch/__init__.py").unlink()
    (tree / "lib/torch/__init__.py").write_text("version = 1\n")  # installed again
    (tree / "bin/python3").symlink_to("python")
    (tree / "lib/linked").symlink_to("torch")
    done = program("move", tree, tmp_path / "target", given=before)
    assert (done.returncode, done.stderr) == (0, "")
    target = tmp_path / "target"
    moved = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_symlink() or path.is_file()}
    assert moved == {"lib/torch/added.py", "lib/scripts (dev)/a b.py", "bin/python3", "lib/linked"}
    assert program("list", tree).stdout == before


def test_into_an_empty_tree_all_is_added(program, tree, tmp_path):
    before = program("list", tmp_path / "nothing").stdout
    assert program("move", tree, tmp_path / "target", given=before).returncode == 0
    assert (tmp_path / "target/lib64").is_symlink()
    assert (tmp_path / "target/lib/torch/__init__.py").is_file()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda tree: (tree / "lib/torch/__init__.py").unlink(), "lib/torch/__init__.py: removed"),
        (lambda tree: (tree / "lib/torch/__init__.py").write_text("version = 2\n"), "lib/torch/__init__.py: changed"),
        (lambda tree: [(tree / "lib64").unlink(), (tree / "lib64").symlink_to("bin")], "lib64: changed"),
    ],
)
def test_an_installation_that_touches_the_layer_below_is_refused(program, tree, tmp_path, change, named):
    before = program("list", tree).stdout
    change(tree)
    (tree / "lib/added.py").write_text("")
    done = program("move", tree, tmp_path / "target", given=before)
    assert done.returncode == 2
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "target").exists()
