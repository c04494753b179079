"""Words that were replaced by the field's own terms don't come back; ``docs/glossary.md`` has the terms."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
REPLACED = {
    "depot": "blob store",
    "shelf": "bundle cache",
    "witness": "ledger observer",
    "rehearsal": "dry run",
    "glance": "revision",
    "strays": "unrecognized files, or unassigned voxels",
    "this room": "this module",
    "ground floor": "lowest layer",
    "face of the step": "KFP component definition",
    "asked to come again": "the server answers 503 with Retry-After",
    "known and in its time": "missing, unknown or expired",
}
FOLDERS = ("spine", "model_registry", "components", "pipelines", "infra", "docs")
FILES = sorted(
    path
    for folder in FOLDERS
    for path in (PROJECT / folder).rglob("*")
    if path.suffix in (".py", ".md", ".yaml") and "__pycache__" not in path.parts
)


@pytest.mark.parametrize("word", REPLACED)
def test_no_text_has_a_word_that_was_replaced(word):
    pattern = re.compile(rf"\b{word}", re.IGNORECASE)
    found = [
        f"{path.relative_to(PROJECT)}:{number}"
        for path in (*FILES, PROJECT / "README.md")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == [], f"write {REPLACED[word]}"
