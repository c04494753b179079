"""What the server accepts of one upload, how many scans it works on and lets wait, and what it keeps of them."""

from dataclasses import dataclass

from spine.volume.input_limits import MAX_VOXELS

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Limits of one server; beyond them a request is refused before it costs memory or disk."""

    upload_bytes: int = 512 * MIB
    voxels: int = MAX_VOXELS
    """Voxels of the scan, and of the scan brought to the model's spacing: 26 logits a voxel are held in memory."""
    waiting: int = 16
    """Scans that wait or are worked on at once; as many more uploads may be on their way from each caller."""
    workers: int = 4
    """Scans that are worked on at once, as far as memory allows: their windows share the network's batches."""
    memory_bytes: int | None = None
    """Memory for all scans that are worked on at once; what is free, less a tenth, where None."""
    disk_bytes: int = 4096 * MIB
    """Disk for all uploads that wait or are worked on; a worked-on one is unpacked beside it as well."""
    invocation_bytes: int = 64 * MIB
    """Body of one ``POST /invocations``: its JSON is held in memory."""
    invocation_scans: int = 16
    """Scans in one ``POST /invocations``."""
    results: int = 256
    """Jobs that are remembered after they ended."""
    result_bytes: int = 1024 * MIB
    """Disk for the masks and reports of jobs; the oldest go first."""
    result_s: float = 3600.0
    """How long a job is remembered after it ended."""
