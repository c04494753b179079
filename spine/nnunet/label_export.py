"""Logits on the network's grid made a label map of the scan as by nnU-Net's export, without full-size channels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.preprocessing.resampling.default_resampling import (
    determine_do_sep_z_and_axis,
    resample_data_or_seg_to_shape,
)
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from numpy.typing import NDArray

from spine.volume.cropping import slices_of
from spine.volume.export import label_map

_KNOWN: dict[Any, tuple[dict[str, Any], dict[str, Any]]] = {
    resample_data_or_seg_to_shape: ({"order": 3, "force_separate_z": False}, {"order": 1, "order_z": 0}),
    resample_torch_fornnunet: ({"force_separate_z": None}, {"mode": "linear", "aniso_axis_mode": "nearest-exact"}),
}
"""Functions that can resample linearly: arguments that they have by default, and those that make them do so."""
_SEPARATION = {"force_separate_z", "separate_z_anisotropy_threshold"}
_WITHOUT_EFFECT = {"num_threads", "device", "memefficient_seg_resampling"}


@dataclass(frozen=True)
class LabelExport:
    """The last step of a prediction, for one model."""

    plans: PlansManager
    configuration: ConfigurationManager
    labels: LabelManager
    threads: int

    def __call__(self, logits: NDArray[Any], properties: dict[str, Any]) -> NDArray[np.uint8]:
        """Return the labels (k, j, i) of a scan from its logits (classes, a, b, c) and what preprocessing said of it.

        Plans that resample logits otherwise than linearly, or whose labels are regions, are left to nnU-Net.
        """
        separation = self._separation()
        if separation is None:
            return self._by_nnunet(logits, properties)
        shape = tuple(int(size) for size in properties["shape_after_cropping_and_before_resampling"])
        axis = self._separate_axis(properties["spacing"], separation)
        whole = np.zeros(properties["shape_before_cropping"], dtype=np.uint8)
        whole[slices_of(properties["bbox_used_for_cropping"])] = label_map(
            logits, shape, separate_axis=axis, threads=self.threads
        )
        return whole.transpose(self.plans.transpose_backward)

    @property
    def is_fast(self) -> bool:
        """Whether the plans resample logits as it is done here, so that no full-size channel is ever held."""
        return self._separation() is not None

    def _separation(self) -> dict[str, Any] | None:
        """Return when slices are kept apart; None where the plans' resampling is not linear, or not known."""
        resample = self.configuration.resampling_fn_probabilities
        if resample.func not in _KNOWN or self.labels.has_regions:
            return None
        defaults, linear = _KNOWN[resample.func]
        linear = {**linear, "is_seg": False}
        given = {**linear, **defaults, **resample.keywords}
        separation = {name: given.pop(name) for name in _SEPARATION & given.keys()}
        return separation if {name: given[name] for name in given.keys() - _WITHOUT_EFFECT} == linear else None

    def _separate_axis(self, spacing: list[float], separation: dict[str, Any]) -> int | None:
        scan = [spacing[axis] for axis in self.plans.transpose_forward]
        network = list(self.configuration.spacing)
        network = [scan[0], *network] if len(network) < len(scan) else network
        is_separate, axis = determine_do_sep_z_and_axis(current_spacing=network, new_spacing=scan, **separation)
        return int(axis) if is_separate else None

    def _by_nnunet(self, logits: NDArray[Any], properties: dict[str, Any]) -> NDArray[np.uint8]:
        labels: NDArray[Any] = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, self.plans, self.configuration, self.labels, properties, num_threads_torch=self.threads
        )
        return labels.astype(np.uint8)
