"""Rules on a step's pod: what it runs as and in, which disks it has, and what its environment tells."""

import re

from pipelines.kubernetes_values import is_pinned
from pipelines.linting.compiled import CompiledPipeline
from pipelines.linting.rule import Faults, Rule
from pipelines.mounts import HOME, SCRATCH, SHARED_MEMORY

_SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|SECRET|TOKEN(?!S$|S?_FILE$)|ACCESS_KEY|API_?KEY|CREDENTIAL|PRIVATE_KEY|COOKIE"
)
_SECRET_VALUE = re.compile(r"://[^/\s:@]+:[^/\s@]+@|-----BEGIN|AKIA[0-9A-Z]{16}")
_TRACKING = ("MLFLOW_TRACKING_URI", "SPINELINE_TRACKING_URI")
_SERVED = ("http://", "https://", "sqlite:", "postgresql")


def _unpinned_images(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        image = str(pod.container.get("image", ""))
        if not is_pinned(image):
            yield pod.name, f"runs in the image {image!r}"


def _rootless(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        context = pod.platform.get("securityContext", {})
        if not context.get("runAsNonRoot") or not int(context.get("runAsUser", 0)):
            yield pod.name, f"has the security context {context or 'of its image'}"


def _no_volume(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        if not pod.mounts("pvcMount"):
            yield pod.name, "mounts no PersistentVolumeClaim"


def _no_scratch(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        for path in (SCRATCH, HOME):
            if "sizeLimit" not in pod.mounts("emptyDirMounts").get(path, {}):
                yield pod.name, f"has no emptyDir with a size at {path}"


def _no_shared_memory(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        has_gpu = "accelerator" in pod.container.get("resources", {})
        if has_gpu and pod.mounts("emptyDirMounts").get(SHARED_MEMORY, {}).get("medium") != "Memory":
            yield pod.name, "has a GPU and no /dev/shm"


def _plain_secrets(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        for name, value in pod.environment.items():
            if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value):
                yield pod.name, f"has {name} in plain text"


def _folder_tracking(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        for name in _TRACKING:
            address = pod.environment.get(name)
            if address is not None and not address.startswith(_SERVED):
                yield pod.name, f"has {name}={address}"


def _buffered(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        value = pod.environment.get("PYTHONUNBUFFERED", "")
        if not value.strip("0"):  # which Python takes for off
            yield pod.name, f"has PYTHONUNBUFFERED={value}" if value else "has no PYTHONUNBUFFERED"


def _placeholders(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        if any("{{" in value for value in pod.environment.values()):
            yield pod.name, "has a placeholder in its environment"


POD_RULES = (
    Rule(
        "unpinned-image",
        "what latest or no tag is today is another image tomorrow",
        "name:tag or name@sha256:… in the profile's images",
        _unpinned_images,
    ),
    Rule(
        "missing-security-context",
        "a restricted namespace refuses the pod, and elsewhere it runs as whatever its image says",
        "runAsNonRoot and a user other than 0: kubernetes.security of the profile",
        _rootless,
    ),
    Rule(
        "missing-volume",
        "what the step writes is lost with its pod",
        "volume_claim in the profile",
        _no_volume,
    ),
    Rule(
        "missing-scratch",
        "with a read-only root file system nothing can be written there, and without a size a node's disk fills",
        "an emptyDir with a size: scratch in the profile",
        _no_scratch,
    ),
    Rule(
        "gpu-without-shared-memory",
        "data loaders hand batches over in it, and a container's own 64 MiB end training with a bus error",
        "shared_memory of this step in the profile",
        _no_shared_memory,
    ),
    Rule(
        "secret-in-environment",
        "whoever sees the pipeline or the pod reads it",
        "a Secret: tracking_secret, store_secret, store_secrets or secrets in the profile",
        _plain_secrets,
    ),
    Rule(
        "tracking-in-a-folder",
        "MLflow refuses a folder such as ./mlruns",
        "the address of a server, from tracking_secret",
        _folder_tracking,
    ),
    Rule(
        "buffered-logs",
        "the last lines before a kill are never seen",
        "PYTHONUNBUFFERED=1",
        _buffered,
    ),
    Rule(
        "placeholder-in-environment",
        "kfp resolves placeholders in arguments only: the step would read it as it is, or what Argo puts there",
        "use_field_path_as_env",
        _placeholders,
    ),
)
