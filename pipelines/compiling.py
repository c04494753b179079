"""Pipelines as KFP IR YAML, for a profile: compiled, read back, linted, and only then written."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler, dsl

from pipelines import promote_approved, roll_back, train_candidate
from pipelines.linting.lint import FoundInPipelineError, lint
from pipelines.linting.rules import GRAPH_RULES, RULES
from pipelines.profile import Profile
from spine.git_urls import is_path, require_no_password
from spine.settings import settings
from spine.storage import digest_value, strict_json, write_text


def compile_all(*, profile: Profile, folds: list[int], output: Path) -> list[Path]:
    """Compile every pipeline for ``profile`` into ``output``; return the files, one a pipeline.

    The same profile, folds, versions and ``SPINELINE_REPOSITORY``, which is the default of a run's repository where it
    is a URL, give the same bytes. Raises FoundInPipelineError, before a file is written,
    for a pipeline that walks into a known trap; which profile setting would do so is in its message.
    """
    pipelines = {
        train_candidate.NAME: train_candidate.build(
            fold_groups=profile.groups(folds), profile=profile, repository=_default_repository()
        ),
        promote_approved.NAME: promote_approved.build(profile),
        roll_back.NAME: roll_back.build(profile),
    }
    compiled = {name: compiled_documents(pipeline) for name, pipeline in pipelines.items()}
    rules = RULES if profile.kubernetes else GRAPH_RULES
    for name, documents in compiled.items():
        if findings := lint(documents, rules):
            raise FoundInPipelineError(name, findings, profile=profile.name)
    return [_write(documents, output / f"{name}.yaml") for name, documents in compiled.items()]


def _default_repository() -> str:
    repository = settings().repository
    require_no_password("SPINELINE_REPOSITORY", repository)
    return "" if is_path(repository) else repository


def compiled_documents(pipeline: dsl.graph_component.GraphComponent) -> list[dict[str, Any]]:
    """Compile a pipeline and read back the YAML documents: the IR and, where there is one, the platform's part."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def meaning(documents: Sequence[dict[str, Any]]) -> list[Any]:
    """Return what compiled documents mean, as plain values that are equal where their pipelines do the same.

    The compiler's version is left out, embedded source is its digest, and only the order of a command's words counts.
    """
    return [_meaning(document) for document in documents]


def _meaning(value: Any, *, is_ordered: bool = False) -> Any:
    if isinstance(value, dict):
        kept = sorted(key for key in value if key != "sdkVersion")
        return {key: _meaning(value[key], is_ordered=key in ("command", "args")) for key in kept}
    if isinstance(value, list):
        inner = [_meaning(item) for item in value]
        return inner if is_ordered else sorted(inner, key=strict_json)
    if isinstance(value, str) and "\n" in value:
        return f"text of {digest_value(value)}"
    return value


def _write(documents: Sequence[dict[str, Any]], path: Path) -> Path:
    write_text(path, yaml.safe_dump_all(documents, sort_keys=True))
    return path
