"""Scans predicted by our segmenter and by nnU-Net's own predictor, each with the same model in memory."""

import argparse
import contextlib
import statistics
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from model import THREADS, described, device, forget, medians, peak_gb, plans, seconds, timed_calls, workspace

from spine.phantom import make_scan
from spine.recipe import load_recipe
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

AIR_HU = -1024
AT_ONCE = 4


class Inference:
    """One model in memory, run by both."""

    def __init__(self, given: argparse.Namespace) -> None:
        """Read the weights that ``train`` left."""
        workspace(given).activate()
        import torch

        self._given, self._device = given, device()
        self._weights = torch.load(given.folder / f"{given.recipe}.pth", map_location="cpu", weights_only=True)

    def ours(self, image: Volume, *, batch: int) -> dict[str, float]:
        """Return the first time, then medians: in all, in the network, besides."""
        forget()
        segmenter = self._segmenter(batch)
        network = timed_calls(segmenter._windows, "logits")
        taken = [seconds(lambda: segmenter.decode(image)) for _ in range(1 + self._given.repeats)]
        seen = {
            "first_s": taken[0],
            **medians(taken[1:], network[1:]),
            "labelled_percent": 100 * float(np.mean(segmenter.segment(image).array > 0)),
        }
        return {**seen, "peak_gb": peak_gb()}

    def at_once(self, image: Volume) -> dict[str, float]:
        """Return seconds of several scans one after the other, and of the same sent at once."""
        forget()
        segmenter = self._segmenter(4)
        segmenter.segment(image)
        taken = {}
        for name, callers in (("one after the other_s", 1), ("at once_s", AT_ONCE)):
            with ThreadPoolExecutor(callers) as pool:
                taken[name] = seconds(lambda pool=pool: list(pool.map(segmenter.segment, [image] * AT_ONCE)))
        return {**taken, "peak_gb": peak_gb()}

    def stock_network(self, image: Volume) -> dict[str, float]:
        """Return what nnU-Net's predictor takes for the logits of a scan that is preprocessed already."""
        import torch

        data = torch.from_numpy(self._segmenter(4)._preprocessed(image)[0])
        forget()
        stock = self._stock()
        taken = [seconds(lambda: stock.predict_logits_from_preprocessed_data(data)) for _ in range(1 + self._repeats)]
        return {"first_s": taken[0], "network_s": statistics.median(taken[1:]), "peak_gb": peak_gb()}

    def agreement(self, image: Volume) -> dict[str, float]:
        """Compare the logits of both."""
        import torch

        segmenter, stock = self._segmenter(4), self._stock()
        data = torch.from_numpy(segmenter._preprocessed(image)[0])
        ours, theirs = segmenter._windows.logits(data), stock.predict_logits_from_preprocessed_data(data)
        same = float((ours.argmax(0) == theirs.argmax(0)).float().mean())
        largest = max(float((one.float() - other.float()).abs().max()) for one, other in zip(ours, theirs, strict=True))
        return {"shape": str(tuple(ours.shape)), "same_class_percent": 100 * same, "largest_difference": largest}

    def stock_whole(self, image: Volume) -> dict[str, float]:
        """Return what nnU-Net's predictor takes in all, in one process, its worker processes left out."""
        forget()
        stock = self._stock()
        network = timed_calls(stock, "predict_logits_from_preprocessed_data")
        array, spacing = image.array.T[None].astype(np.float32), {"spacing": list(image.grid.spacing_mm[::-1])}
        count = 1 + self._repeats
        taken = [seconds(lambda: stock.predict_single_npy_array(array, spacing)) for _ in range(count)]
        return {"first_s": taken[0], **medians(taken[1:], network[1:]), "peak_gb": peak_gb()}

    @property
    def _repeats(self) -> int:
        return int(self._given.repeats)

    def _segmenter(self, batch: int) -> Any:
        from spine.nnunet.segmentation import Segmenter

        return Segmenter(
            plans=plans(self._given),
            dataset_json=described(self._given),
            configuration="3d_fullres",
            weights=[self._weights],
            mirror_axes=(2,),
            recipe=load_recipe(self._given.recipe).prediction,
            device=self._device,
            threads=THREADS,
            batch=batch,
        )

    def _stock(self) -> Any:
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        planned = PlansManager(plans(self._given))
        configuration = planned.get_configuration("3d_fullres")
        network = nnUNetTrainer.build_network_architecture(planned, configuration, 1, 26, enable_deep_supervision=False)
        with contextlib.redirect_stdout(None):
            stock = nnUNetPredictor(use_mirroring=False, device=self._device, allow_tqdm=False)
        network.load_state_dict(self._weights)
        known = described(self._given)
        stock.manual_initialization(network, planned, configuration, [self._weights], known, "nnUNetTrainer", (2,))
        return stock


def phantom(shape: str, spacing_mm: float) -> Volume:
    """Return a phantom's trunk in a field of view of ``shape`` voxels, drawn at twice the spacing; air around it."""
    size = [int(edge) for edge in shape.split("x")]
    drawn = make_scan(seed=5, patient=1, first=9, last=25, spacing_mm=(2 * spacing_mm,) * 3).image
    array = drawn.array.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    for axis, edge in enumerate(size):
        low = max(0, (array.shape[axis] - edge) // 2)
        array = np.take(array, range(low, min(low + edge, array.shape[axis])), axis=axis)
        missing = edge - array.shape[axis]
        around = [(missing // 2, missing - missing // 2) if other == axis else (0, 0) for other in range(3)]
        array = np.pad(array, around, constant_values=AIR_HU)
    return Volume(array=array, grid=Grid.of(array.shape, np.diag([spacing_mm] * 3 + [1.0])))
