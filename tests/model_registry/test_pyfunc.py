"""A bundle as a model of MLflow's: MLflow alone loads it and predicts, in a process that knows nothing of us."""

import base64
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model_registry.bundle import GOLDEN_IMAGE, GOLDEN_LABELS, MANIFEST_FILE, Bundle, list_files
from model_registry.pyfunc import ScanModel
from model_registry.pyfunc_model import MODEL_FILE, REQUIREMENTS_FILE, write_model
from spine.errors import DigestMismatchError, InvalidValueError, UnreadableVolumeError
from spine.settings import child_environment
from spine.storage import digest_bytes, read_json, write_json
from spine.volume.nifti import read_labels

WRITTEN = {"MLmodel", "code", "conda.yaml", "input_example.json", "python_env.yaml", "requirements.txt",
           "serving_input_example.json"}  # fmt: skip
ENVIRONMENT = ("torch==2.13.0+cpu", "numpy==2.4.6", "spineline==0.1.0", "somebody-else==1")


def make_model(folder: Path) -> Bundle:
    """Make the bundle in ``folder`` a model of MLflow's, as the step that registers does."""
    write_model(
        folder,
        example=(folder / GOLDEN_IMAGE).read_bytes(),
        identity=digest_bytes(b"the weights"),
        trained_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        environment=ENVIRONMENT,
    )
    manifest = read_json(folder / MANIFEST_FILE, expected="a manifest")
    write_json(folder / MANIFEST_FILE, {**manifest, "files": list_files(folder)})
    return Bundle(folder)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, bundles: dict[int, Path]) -> Bundle:
    """A model that no test changes."""
    return make_model(Path(shutil.copytree(bundles[1], tmp_path_factory.mktemp("model") / "bundle")))


@pytest.fixture(scope="module")
def model(kept: Bundle) -> ScanModel:
    return ScanModel(kept)


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def test_the_model_of_one_candidate_has_the_same_bytes_whenever_it_is_made(
    tmp_path: Path, make_bundle: Callable[..., Bundle], kept: Bundle
) -> None:
    again = make_model(make_bundle(tmp_path / "again").folder)
    assert again.digest == kept.digest
    assert {path.name for path in again.folder.iterdir()} >= WRITTEN
    assert {name.split("/")[0] for name in again.manifest.files} >= WRITTEN, "one digest covers all of it"


def test_the_code_comes_along_without_caches_and_without_a_pickle(kept: Bundle) -> None:
    names = set(kept.manifest.files)
    assert {"code/spine/__init__.py", "code/spine/recipes/demo.yaml", "code/model_registry/pyfunc.py"} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".pkl"))]
    assert not {name.split("/")[1] for name in names if name.startswith("code/")} - {"spine", "model_registry"}
    text = (kept.folder / MODEL_FILE).read_text()
    assert "loader_module: model_registry.pyfunc" in text
    assert "cloudpickle" not in text
    assert "2026-01-02 03:04:05" in text


def test_requirements_are_pinned_as_in_the_environment_and_can_be_had_from_an_index(kept: Bundle) -> None:
    lines = (kept.folder / REQUIREMENTS_FILE).read_text().splitlines()
    assert {"torch==2.13.0", "numpy==2.4.6"} <= set(lines)
    assert "nnunetv2" in lines, "of what the environment does not name, the newest"
    assert not [line for line in lines if line.startswith(("spineline", "somebody-else")) or "+" in line]


@pytest.mark.slow
def test_a_frame_of_scans_gives_a_frame_of_masks_and_reports(kept: Bundle, model: ScanModel, tmp_path: Path) -> None:
    image = kept.folder / GOLDEN_IMAGE
    frame = pd.DataFrame({"scan": [encoded(image), None], "path": [None, str(image)]}, index=[7, 9])
    answer = model.predict(frame)
    assert (list(answer.columns), list(answer.index)) == (["mask", "report"], [7, 9])
    assert answer["mask"][7] == answer["mask"][9]
    (tmp_path / "mask.nii.gz").write_bytes(base64.b64decode(answer["mask"][7]))
    found, expected = read_labels(tmp_path / "mask.nii.gz"), read_labels(kept.folder / GOLDEN_LABELS)
    assert (found.array == expected.array).mean() > 0.999
    report = json.loads(answer["report"][7])
    assert report["model_digest"] == kept.digest
    assert "not for clinical use" in report["disclaimer"]
    assert {each["label"] for each in report["vertebrae"]} <= set(np.unique(found.array))
    assert all(0 <= each["confidence"] <= 1 and each["voxels"] > 0 for each in report["vertebrae"])


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"scan": "not base64!"}, "a NIfTI file in base64"),
        ({"scan": None, "path": None}, "either 'scan' or 'path'"),
        ({"scan": "aGk=", "path": "/x.nii"}, "either 'scan' or 'path'"),
    ],
)
def test_a_row_that_is_no_scan_is_refused_in_one_line(model: ScanModel, row: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidValueError, match=told) as refused:
        model.predict(pd.DataFrame([row]))
    assert "\n" not in str(refused.value)


def test_text_that_decodes_to_no_volume_is_refused(model: ScanModel) -> None:
    with pytest.raises(UnreadableVolumeError):
        model.predict(pd.DataFrame({"scan": [base64.b64encode(b"no volume at all").decode()]}))


@pytest.mark.parametrize("name", ["model/fold_1/checkpoint_final.pth", "code/spine/labels.py", "golden/image.nii.gz"])
def test_no_checkpoint_is_read_where_any_file_was_changed(
    tmp_path: Path, kept: Bundle, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(kept.folder, tmp_path / "bundle"))
    with (folder / name).open("ab") as stream:
        stream.write(b"x")
    monkeypatch.setattr("model_registry.pyfunc.load_segmenter", lambda *_, **__: pytest.fail("a checkpoint was read"))
    with pytest.raises(DigestMismatchError, match=name):
        ScanModel(Bundle(folder))


SEE_OTHERS = "import sys; sys.path.append(sys.argv[1])\n"
ALONE = """
import json
import mlflow.pyfunc
assert "spine" not in sys.modules
model = mlflow.pyfunc.load_model(sys.argv[2])
answer = model.predict(model.input_example)
import model_registry, spine
print(json.dumps([spine.__file__, model_registry.__file__, list(answer.columns), answer["report"][0]]))
"""


@pytest.mark.slow
def test_mlflow_alone_predicts_in_a_process_that_cannot_import_us(tmp_path: Path, kept: Bundle) -> None:
    """Without ``site`` an editable installation is not seen: only what the bundle brings along is."""
    packages = sysconfig.get_paths()["purelib"]
    environment = child_environment(PYTHONDONTWRITEBYTECODE="1")

    def run(code: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", "-c", SEE_OTHERS + code, packages, str(kept.folder)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert "No module named 'spine'" in run("import numpy, spine").stderr, "this test would show nothing"
    done = run(ALONE)
    assert done.returncode == 0, done.stderr
    ours, registry, columns, report = json.loads(done.stdout.splitlines()[-1])
    assert (ours, registry) == tuple(
        os.fspath(kept.folder / "code" / name / "__init__.py") for name in ("spine", "model_registry")
    )
    assert columns == ["mask", "report"]
    assert json.loads(report)["model_digest"] == kept.digest
