"""What makes a bundle a model of MLflow's: flavor, code, signature, input example and requirements."""

import base64
import re
import tempfile
from collections.abc import Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema

import model_registry
import spine
from model_registry.pyfunc_columns import MASK, PATH, REPORT, SCAN
from spine.storage import write_text

MODEL_FILE, REQUIREMENTS_FILE = "MLmodel", "requirements.txt"
_LOADER = "model_registry.pyfunc"
"""Named, not imported: only whoever loads the model has what it imports."""
_PACKAGES = (spine, model_registry)
_NETWORK = ("torch", "nnunetv2", "numba")
"""What the network needs beside what every part of us does."""


def write_model(
    folder: Path, *, example: bytes, identity: str, trained_at: datetime, environment: Sequence[str]
) -> None:
    """Make the files in ``folder`` a model that ``mlflow.pyfunc.load_model`` alone loads, without any pickle.

    ``example`` is a NIfTI file. MLflow would give the model a random id and the time of now: it gets the first digits
    of ``identity``, a digest, and when it was trained, so that the same candidate gives the same bytes. ``environment``
    are the pins of what it was made with.
    """
    signature = ModelSignature(
        inputs=Schema([ColSpec("string", SCAN, required=False), ColSpec("string", PATH, required=False)]),
        outputs=Schema([ColSpec("string", MASK), ColSpec("string", REPORT)]),
    )
    model = Model(model_uuid=identity.removeprefix("sha256:")[:32], utc_time_created=trained_at.replace(tzinfo=None))
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        saved = Path(made) / "model"
        mlflow.pyfunc.save_model(
            str(saved),
            loader_module=_LOADER,
            code_paths=[str(Path(str(package.__file__)).parent) for package in _PACKAGES],
            mlflow_model=model,
            signature=signature,
            input_example=pd.DataFrame({SCAN: [base64.b64encode(example).decode()]}),
            pip_requirements=[f"mlflow=={mlflow.__version__}", *requirements(environment)],
        )
        for item in saved.iterdir():
            item.rename(folder / item.name)
    model.model_size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    write_text(folder / MODEL_FILE, model.to_yaml())


def requirements(environment: Sequence[str]) -> list[str]:
    """Return what a version needs to predict, pinned as in its environment where that names it."""
    pins = dict(map(_pin, environment))
    ours = (re.split(r"[^\w.-]", line)[0] for line in metadata.requires("spineline") or () if "extra ==" not in line)
    return sorted(pins.get(_normal(name), name) for name in (*ours, *_NETWORK))


def _pin(line: str) -> tuple[str, str]:
    """Return a package's normal name, and its pin as an index knows it: without the local part, as of torch's +cpu."""
    name, _, version = line.partition("==")
    return _normal(name), f"{name}=={version.partition('+')[0]}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
