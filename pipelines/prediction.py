"""Label one scan with a registered version, in this process."""

from pathlib import Path
from typing import Any

from model_registry.lifecycle import Registry
from model_registry.training_distribution import training_distribution_of
from spine.errors import InvalidValueError, UsageError
from spine.settings import settings
from spine.volume.input_limits import read_scan, require_fitting
from spine.volume.nifti import SUFFIXES, write_volume


def predict_file(root: Path, *, image: Path, mask: Path, version: int | None, threads: int) -> dict[str, Any]:
    """Write the mask of ``image`` and return the server's report of it; bad input is refused before a model is loaded.

    The result is a SegmentationReport as strict JSON has it, with the path of the ``mask``.
    """
    if not mask.name.endswith(SUFFIXES):
        raise InvalidValueError("OUT", mask.name, expected="a name that ends in .nii.gz or .nii")
    if mask.exists() and image.exists() and mask.samefile(image):
        raise InvalidValueError("OUT", str(mask), expected="another file than IN, which it would replace")
    scan = read_scan(image)
    registry = Registry.at(root, settings())
    chosen = registry.state().serving if version is None else version
    if chosen is None:
        raise UsageError(f"No version is promoted in {root}. Promote one with `spineline promote`, or pass --version")
    bundle = registry.verified_bundle(chosen)
    from model_registry.models import load_segmenter, spacing_mm
    from model_registry.segmentation_report import report
    from spine.nnunet.segmentation import best_device

    require_fitting(scan.grid, spacing_mm=spacing_mm(bundle), path=image)
    decoded = load_segmenter(bundle, device=best_device(), threads=threads).decode(scan)
    write_volume(mask, decoded.labels)
    described = report(
        decoded,
        scan,
        version=chosen,
        model_digest=bundle.digest,
        training_distribution=training_distribution_of(bundle),
    )
    return {"mask": str(mask), **described.model_dump(mode="json")}
