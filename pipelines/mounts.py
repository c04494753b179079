"""Which folders of a step's pod are spoken for, and whether the root and the secrets' folders fit beside them."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the mount point itself, not a file in it
SCRATCH = "/tmp"  # noqa: S108 - the mount point itself, not a file in it
HOME = "/home/spineline"
CACHE = "objects"
"""Below the root."""
_OF_THE_IMAGE = (
    "/bin", "/dev", "/etc", "/lib", "/lib64", "/opt/spineline", "/opt/venv", "/proc", "/run", "/sbin", "/sys", "/usr",
    "/var/run",
)  # fmt: skip
# kfp's compiler on the cluster mounts these in every pod, and a mount point that is there twice is refused.
_OF_KUBEFLOW = ("/.cache", "/.config", "/.local", "/gcs", "/kfp-launcher", "/minio", "/s3")
_TAKEN = (SCRATCH, SHARED_MEMORY, HOME, *_OF_THE_IMAGE, *_OF_KUBEFLOW)


def root_faults(root: str) -> Iterator[str]:
    """Yield what a root lies in, or would hide."""
    places = (*_TAKEN, "/opt")
    yield from (place for place in places if is_below(root, place) or is_below(place, root))


def secret_faults(folders: Sequence[str], *, root: str) -> Iterator[tuple[str, str]]:
    """Yield each folder of a secret that would hide something, and what: a mounted secret has nothing but its keys."""
    for number, folder in enumerate(folders):
        others = (root, f"{root}/{CACHE}", *folders[:number], *folders[number + 1 :], *_TAKEN)
        hidden = next((place for place in others if is_below(place, folder)), None)
        if hidden:
            yield folder, hidden


def is_below(place: str, folder: str) -> bool:
    """Tell whether an absolute path is that of ``folder``, or of something in it."""
    return PurePosixPath(place).is_relative_to(folder)
