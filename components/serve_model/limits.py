"""What the server accepts of one upload, and how many it lets wait."""

from dataclasses import dataclass

from spine.volume.fitting import MAX_VOXELS

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Limits of one upload; beyond them a request is refused before it costs memory or disk."""

    upload_bytes: int = 512 * MIB
    voxels: int = MAX_VOXELS
    """Voxels of the scan, and of the scan brought to the model's spacing: 26 logits a voxel are held in memory."""
    waiting: int = 16
    """Requests that may be under way at once; they are predicted one after the other."""
