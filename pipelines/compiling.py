"""Pipelines as KFP IR YAML, for a profile."""

import tempfile
from pathlib import Path

import yaml
from kfp import compiler, dsl

from components.images import image
from pipelines import promote_approved, roll_back, train_candidate
from pipelines.profile import Profile
from spine.storage import write_text


def compile_all(*, profile: Profile, folds: list[int], output: Path) -> list[Path]:
    """Compile every pipeline for ``profile`` into ``output``; return the files, one a pipeline."""
    pipelines = {
        train_candidate.NAME: train_candidate.build(fold_groups=profile.groups(folds), profile=profile),
        promote_approved.NAME: promote_approved.build(profile),
        roll_back.NAME: roll_back.build(profile),
    }
    return [_compile(pipeline, output / f"{name}.yaml", profile) for name, pipeline in pipelines.items()]


def _compile(pipeline: dsl.graph_component.GraphComponent, path: Path, profile: Profile) -> Path:
    with tempfile.TemporaryDirectory() as scratch:
        compiled = Path(scratch) / path.name
        compiler.Compiler().compile(pipeline, str(compiled))
        documents = list(yaml.safe_load_all(compiled.read_text(encoding="utf-8")))
    replaced = {image(target): reference for target, reference in profile.images.items()}
    for executor in documents[0]["deploymentSpec"]["executors"].values():
        container = executor["container"]
        container["image"] = replaced.get(container["image"], container["image"])
    write_text(path, yaml.safe_dump_all(documents, sort_keys=True))
    return path
