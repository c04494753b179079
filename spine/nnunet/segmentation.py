"""A warm predictor: plans and fold weights in memory, a CT volume in, a label map on the same grid out."""

import contextlib
import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from numpy.typing import NDArray

from spine.nnunet import checkpoint_files, checkpoints
from spine.nnunet.label_export import LabelExport
from spine.nnunet.memory import MemoryEstimate
from spine.nnunet.preprocessing import Preprocessor
from spine.nnunet.probabilities import Place, Probabilities
from spine.nnunet.windows import OnProgress, Windows
from spine.postprocessing.choice import NOTHING, Postprocessing, apply
from spine.postprocessing.decoding import Decoded
from spine.postprocessing.instances import Instances, find_instances
from spine.postprocessing.label_scores import Evidence, sampled_evidence
from spine.recipe import PredictionRecipe
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, to_canonical, to_grid_of

_BATCH_ON_GPU = 2
"""Windows that a GPU runs at once: more take memory and no less time. A CPU is busy with one, and answers the same
whoever else asks."""


@dataclass(frozen=True)
class Prediction:
    """A label map on the scan's own grid, and the probabilities that it was made of."""

    labels: Volume
    probabilities: Probabilities

    @cached_property
    def instances(self) -> Instances:
        """The vertebrae of the mask."""
        return find_instances(self.labels)

    def evidence(self) -> Evidence:
        """Return what the network says of the name of each vertebra of the mask."""
        look_up = partial(self.probabilities.at, grid=self.labels.grid)
        return Evidence.of(self.labels, sampled_evidence(self.instances, look_up), instances=self.instances)


class Segmenter:
    """An ensemble of folds held in memory, callable from several threads; its logits are averaged as nnU-Net's are."""

    def __init__(
        self,
        *,
        plans: dict[str, Any],
        dataset_json: dict[str, Any],
        configuration: str,
        weights: Sequence[dict[str, Any]],
        mirror_axes: Sequence[int],
        recipe: PredictionRecipe,
        device: torch.device,
        threads: int,
        postprocessing: Postprocessing = NOTHING,
        turn: AbstractContextManager[None] | None = None,
        batch: int | None = None,
    ) -> None:
        """Build a network for the ``weights`` of each fold.

        ``turn`` is entered around each batch of ``batch`` windows, so that several segmenters can take turns.
        """
        self._plans, self._dataset_json = PlansManager(plans), dataset_json
        self._configuration = self._plans.get_configuration(configuration)
        self._postprocessing = postprocessing
        self._preprocessor = Preprocessor()
        torch.set_num_threads(threads)
        predictors = [self._predictor(fold, mirror_axes, recipe=recipe, device=device) for fold in weights]
        batch = batch or (_BATCH_ON_GPU if device.type == "cuda" else 1)
        self._windows = Windows(predictors, batch=batch, turn=turn)
        self._export = LabelExport(self._plans, self._configuration, predictors[0].label_manager, threads)
        self._memory = MemoryEstimate(
            plans=self._plans,
            configuration=self._configuration,
            classes=predictors[0].label_manager.num_segmentation_heads,
            batch=batch,
            holds_channels=not self._export.is_fast,
        )

    def _predictor(
        self, weights: dict[str, Any], mirror_axes: Sequence[int], *, recipe: PredictionRecipe, device: torch.device
    ) -> nnUNetPredictor:
        """Return one fold's network in nnU-Net's predictor, which keeps no other copy of the weights."""
        with contextlib.redirect_stdout(io.StringIO()):  # it remarks on every CPU that it is none of its GPUs
            predictor = nnUNetPredictor(
                tile_step_size=recipe.tile_step, use_mirroring=recipe.mirroring, device=device, allow_tqdm=False
            )
        network = nnUNetTrainer.build_network_architecture(
            self._plans,
            self._configuration,
            determine_num_input_channels(self._plans, self._configuration, self._dataset_json),
            self._plans.get_label_manager(self._dataset_json).num_segmentation_heads,
            enable_deep_supervision=False,
        )
        network.load_state_dict(weights)
        predictor.manual_initialization(
            network.to(device).eval(),
            self._plans,
            self._configuration,
            [],
            self._dataset_json,
            "nnUNetTrainer",
            tuple(mirror_axes),
        )
        return predictor

    @classmethod
    def from_model_folder(
        cls,
        folder: Path,
        *,
        digests: dict[int, str],
        configuration: str,
        recipe: PredictionRecipe,
        device: torch.device,
        threads: int,
        postprocessing: Postprocessing = NOTHING,
        turn: AbstractContextManager[None] | None = None,
        batch: int | None = None,
    ) -> "Segmenter":
        """Load the folds in ``digests`` from a trained model's folder, each verified before it is read."""
        weights, mirror_axes = [], []
        for fold, digest in sorted(digests.items()):
            checkpoint = checkpoints.load(folder / f"fold_{fold}" / checkpoint_files.FINAL, digest=digest)
            weights.append(checkpoint["network_weights"])
            mirror_axes.append(checkpoint["inference_allowed_mirroring_axes"])
        return cls(
            plans=load_json(str(folder / "plans.json")),
            dataset_json=load_json(str(folder / "dataset.json")),
            configuration=configuration,
            weights=weights,
            mirror_axes=mirror_axes[0],
            recipe=recipe,
            device=device,
            threads=threads,
            postprocessing=postprocessing,
            turn=turn,
            batch=batch,
        )

    def memory_bytes(self, grid: Grid) -> int:
        """Estimate the peak of memory that one scan of ``grid`` needs beyond what is held, the scan included."""
        return self._memory.of(grid)

    def segment(self, image: Volume) -> Volume:
        """Label a CT volume of shape (i, j, k) in HU, in any orientation; return uint8 ids on its own grid."""
        return self.decode(image).labels

    def decode(self, image: Volume, *, on_progress: OnProgress | None = None) -> Decoded:
        """Label a CT volume and post-process the mask; the vertebrae come with what to look at in each.

        ``on_progress`` is told the windows done, of how many, in this thread; what it raises ends the prediction.
        """
        made = self.predict(image, on_progress=on_progress)
        return apply(
            made.labels,
            evidence=made.evidence(),
            instances=made.instances,
            postprocessing=self._postprocessing,
        )

    def predict(self, image: Volume, *, on_progress: OnProgress | None = None) -> Prediction:
        """Label a CT volume, before any post-processing, and keep what the network said on its own grid."""
        data, properties, canonical = self._preprocessed(image)
        logits = self._windows.logits(torch.from_numpy(data), on_progress=on_progress).numpy()
        labels = to_grid_of(Volume(array=self._export(logits, properties).T, grid=canonical), image.grid)
        return Prediction(
            # What follows goes through the mask many times in this order: it is brought into it once.
            labels=Volume(array=np.ascontiguousarray(labels.array), grid=labels.grid),
            probabilities=Probabilities(logits, self._place(canonical, properties)),
        )

    def _preprocessed(self, image: Volume) -> tuple[NDArray[np.float32], dict[str, Any], Grid]:
        """Return what the network sees of a scan, what nnU-Net notes of it, and the scan's grid in RAS order."""
        canonical = to_canonical(image)
        # nnU-Net's readers give arrays as (channel, k, j, i), and the spacing likewise reversed.
        data, _, properties = self._preprocessor.run_case_npy(
            canonical.array.T[None],
            None,
            {"spacing": list(canonical.grid.spacing_mm[::-1])},
            self._plans,
            self._configuration,
            self._dataset_json,
        )
        return data, properties, canonical.grid

    def _place(self, canonical: Grid, properties: dict[str, Any]) -> Place:
        return Place(
            canonical=canonical.affine,
            transpose=tuple(self._plans.transpose_forward),
            first=tuple(int(low) for low, _ in properties["bbox_used_for_cropping"]),
            size=tuple(int(size) for size in properties["shape_after_cropping_and_before_resampling"]),
        )


def best_device() -> torch.device:
    """Return the first GPU where there is one, else the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
