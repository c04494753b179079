"""The images that steps run in: one Dockerfile, a target an image; a profile may name others."""

from typing import Final, Literal

Target = Literal["data", "train", "registry", "serve"]
VERSION: Final = "0.1.0"


def image(target: Target) -> str:
    """Return the reference of a target's image, as ``infra/images`` builds it."""
    return f"spineline/{target}:{VERSION}"
