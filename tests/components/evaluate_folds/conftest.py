"""A few prepared cases of the phantom, small enough to predict with random weights in a second."""

import pytest

from spine.dataset import Case, image_path, labels_path
from spine.phantom import make_scan
from spine.volume.nifti import write_volume


@pytest.fixture(scope="session")
def make_cases(tmp_path_factory):
    """A function of names that gives a prepared data set's folder and its cases."""

    def make(*names, spacing=6.0, split="train"):
        root = tmp_path_factory.mktemp("cases")
        cases = []
        for patient, name in enumerate(names):
            scan = make_scan(seed=3, patient=patient, first=20, last=24, spacing_mm=(spacing,) * 3)
            case = Case(
                case=name, patient=f"p{patient}", split=split, fold=0 if split == "train" else None, image_sha256="",
                labels_sha256="", voxels_sha256="", spacing_mm=scan.labels.grid.spacing_mm,
                shape=scan.labels.grid.shape, source=(), source_orientation="RAS", label_voxels={}, border=(),
                fragments=(), findings=(),
            )  # fmt: skip
            write_volume(image_path(root, case), scan.image)
            write_volume(labels_path(root, case), scan.labels)
            cases.append(case)
        return root, cases

    return make
