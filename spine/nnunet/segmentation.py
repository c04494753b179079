"""A warm predictor: plans and fold weights in memory, a CT volume in, a label map on the same grid out."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from spine.nnunet import checkpoint_files, checkpoints
from spine.nnunet.probabilities import Place, Probabilities
from spine.postprocessing.choice import NOTHING, Postprocessing, apply
from spine.postprocessing.decoding import Decoded
from spine.postprocessing.evidence import Evidence, sampled_evidence
from spine.postprocessing.instances import find_instances
from spine.recipe import PredictionRecipe
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, to_canonical, to_grid_of


@dataclass(frozen=True)
class Prediction:
    """A label map on the scan's own grid, and the probabilities that it was made of."""

    labels: Volume
    probabilities: Probabilities

    def evidence(self) -> Evidence:
        """Return what the network says of the name of each vertebra of the mask."""
        look_up = partial(self.probabilities.at, grid=self.labels.grid)
        found = find_instances(self.labels)
        return Evidence.of(self.labels, sampled_evidence(found, look_up), instances=found)


class Segmenter:
    """An ensemble of folds held in memory; its logits are averaged as nnU-Net averages them."""

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
    ) -> None:
        self._plans = PlansManager(plans)
        self._dataset_json = dataset_json
        self._configuration = self._plans.get_configuration(configuration)
        self._labels = self._plans.get_label_manager(dataset_json)
        self._preprocessor = DefaultPreprocessor(verbose=False)
        self._threads, self._postprocessing = threads, postprocessing
        torch.set_num_threads(threads)
        with contextlib.redirect_stdout(io.StringIO()):  # it remarks on every CPU that it is none of its GPUs
            self._predictor = nnUNetPredictor(
                tile_step_size=recipe.tile_step,
                use_mirroring=recipe.mirroring,
                device=device,
                allow_tqdm=False,
            )
        network = nnUNetTrainer.build_network_architecture(
            self._plans,
            self._configuration,
            determine_num_input_channels(self._plans, self._configuration, dataset_json),
            self._labels.num_segmentation_heads,
            enable_deep_supervision=False,
        )
        self._predictor.manual_initialization(
            network.to(device),
            self._plans,
            self._configuration,
            list(weights),
            dataset_json,
            "nnUNetTrainer",
            tuple(mirror_axes),
        )

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
    ) -> "Segmenter":
        """Load the folds in ``digests`` from a trained model's folder, each verified before it is read."""
        loaded = [
            checkpoints.load(folder / f"fold_{fold}" / checkpoint_files.FINAL, digest=digest, device=device)
            for fold, digest in sorted(digests.items())
        ]
        return cls(
            plans=load_json(str(folder / "plans.json")),
            dataset_json=load_json(str(folder / "dataset.json")),
            configuration=configuration,
            weights=[checkpoint["network_weights"] for checkpoint in loaded],
            mirror_axes=loaded[0]["inference_allowed_mirroring_axes"],
            recipe=recipe,
            device=device,
            threads=threads,
            postprocessing=postprocessing,
        )

    def segment(self, image: Volume) -> Volume:
        """Label a CT volume of shape (i, j, k) in HU, in any orientation; return uint8 ids on its own grid."""
        return self.decode(image).labels

    def decode(self, image: Volume) -> Decoded:
        """Label a CT volume and post-process the mask; the vertebrae come with what to look at in each."""
        made = self.predict(image)
        evidence = made.evidence() if self._postprocessing.decoding else None
        return apply(made.labels, evidence=evidence, postprocessing=self._postprocessing)

    def predict(self, image: Volume) -> Prediction:
        """Label a CT volume, before any post-processing, and keep what the network said on its own grid."""
        canonical = to_canonical(image)
        # nnU-Net's readers give arrays as (channel, k, j, i), and the spacing likewise reversed.
        data = np.ascontiguousarray(canonical.array.T[None], dtype=np.float32)
        properties: dict[str, Any] = {"spacing": list(canonical.grid.spacing_mm[::-1])}
        data, _, properties = self._preprocessor.run_case_npy(
            data, None, properties, self._plans, self._configuration, self._dataset_json
        )
        with torch.inference_mode():
            logits = self._predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data))
        labels = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits,
            self._plans,
            self._configuration,
            self._labels,
            properties,
            num_threads_torch=self._threads,
        )
        array = np.ascontiguousarray(labels.T.astype(np.uint8))
        return Prediction(
            labels=to_grid_of(Volume(array=array, grid=canonical.grid), image.grid),
            probabilities=Probabilities(logits.cpu().numpy(), self._place(canonical.grid, properties)),
        )

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
