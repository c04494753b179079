"""The images that steps run in: one Dockerfile, a target an image; a profile may name others."""

from typing import Final, Literal

Target = Literal["data", "train", "registry", "serve"]
VERSION: Final = "0.1.0"
PROGRAMS: Final[dict[str, Target]] = {"prepare_dataset": "data", "serve_model": "serve", "monitor_root": "registry"}
"""Targets of the folders that are no steps of a pipeline; a step's ``component.py`` names its own."""


def image(target: Target) -> str:
    """Return the reference of a target's image, as ``infra/images`` builds it."""
    return f"spineline/{target}:{VERSION}"
