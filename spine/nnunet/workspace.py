"""nnU-Net's three folders and its environment variables, set for one plan."""

import os
from dataclasses import dataclass
from pathlib import Path

DATASET_NAME = "Dataset001_Vertebrae"
PLANS_NAME = "nnUNetPlans"
CHANNEL_SUFFIX = "_0000"


@dataclass(frozen=True)
class Workspace:
    """Where nnU-Net reads raw cases, keeps preprocessed ones and writes results."""

    raw: Path
    preprocessed: Path
    results: Path

    @classmethod
    def below(cls, folder: Path, *, results: Path | None = None) -> "Workspace":
        """Lay out the folders of a plan; results may lie elsewhere, beside the candidate they belong to."""
        return cls(raw=folder / "raw", preprocessed=folder / "preprocessed", results=results or folder / "results")

    @property
    def dataset(self) -> Path:
        """Preprocessed data, plans and splits of the one data set."""
        return self.preprocessed / DATASET_NAME

    def activate(self, *, augmentation_workers: int = 1) -> None:
        """Point this process's nnU-Net at the folders; call it before anything imports nnunetv2.

        nnU-Net reads its folders and its number of augmentation workers from the environment on use, and the
        number of other workers once, on import.
        """
        os.environ["nnUNet_raw"] = str(self.raw)
        os.environ["nnUNet_preprocessed"] = str(self.preprocessed)
        os.environ["nnUNet_results"] = str(self.results)
        os.environ["nnUNet_n_proc_DA"] = str(augmentation_workers)
        os.environ.setdefault("nnUNet_def_n_proc", str(len(os.sched_getaffinity(0))))


def preprocessed_files(case: str) -> tuple[str, str, str]:
    """Return the files of a preprocessed case: image, labels, and properties, which are written last."""
    return (f"{case}.b2nd", f"{case}_seg.b2nd", f"{case}.pkl")
