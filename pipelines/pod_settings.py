"""A profile's settings put on one task of a pipeline, by kfp and kfp-kubernetes's own functions."""

from kfp import dsl
from kfp import kubernetes as k8s

from pipelines.kubernetes_values import cores_of
from pipelines.mounts import CACHE, HOME, SCRATCH, SHARED_MEMORY
from pipelines.profile import Kubernetes, Profile
from pipelines.step_settings import Step, StepSettings

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
STEP_LABEL = "spineline.io/step"
_HOME_SIZE = "1Gi"
_RUN_FIELD = "metadata.labels['pipeline/runid']"  # kfp resolves its placeholders in arguments, not in the environment
_BETWEEN_ATTEMPTS = "60s"
_RETRY_WINDOW = "3650d"
_STORE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_LABELS = {"app.kubernetes.io/name": "spineline", "app.kubernetes.io/part-of": "spineline"}


def apply_settings(task: dsl.PipelineTask, profile: Profile, *, step: Step) -> None:
    """Give one task what the profile says; on this machine only its image."""
    # Our own records make steps skippable; kfp's cache would skip registration and promotion too.
    task.set_caching_options(enable_caching=False)
    image = profile.image(task.container_spec.image)
    task.set_container_image(image)
    cluster = profile.kubernetes
    if cluster is None:
        return
    asked = cluster.settings_of(step)
    _resources(task, asked)
    _attempts(task, asked)
    _placement(task, asked)
    _image(task, cluster)
    _volumes(task, cluster, asked, root=profile.shared_root, step=step)
    _environment(task, cluster, asked, root=profile.shared_root, image=image)
    _secrets(task, cluster, asked, step=step)
    _labels(task, asked, step=step)
    if step == "train_folds":
        # kfp declares no container ports: whoever scrapes finds the pod by its label, and the port by its number.
        task.set_env_variable("SPINELINE_METRICS_PORT", str(cluster.metrics_port))
    k8s.set_security_context(
        task, run_as_user=cluster.security.user, run_as_group=cluster.security.group, run_as_non_root=True
    )


def _resources(task: dsl.PipelineTask, asked: StepSettings) -> None:
    task.set_cpu_request(asked.cpu).set_memory_request(asked.memory).set_memory_limit(asked.memory)
    if asked.cpu_limit:
        task.set_cpu_limit(asked.cpu_limit)
    if asked.gpus:
        task.set_accelerator_type(asked.gpu_type).set_accelerator_limit(asked.gpus)


def _attempts(task: dsl.PipelineTask, asked: StepSettings) -> None:
    # Argo ends even a running attempt when the retry window, kfp's default an hour, is over: ours never is, for the
    # number of attempts and the time of each are bounded. A wait that doubles would be years at the fiftieth.
    task.set_retry(
        num_retries=asked.retries,
        backoff_duration=_BETWEEN_ATTEMPTS,
        backoff_factor=1,
        backoff_max_duration=_RETRY_WINDOW,
    )
    k8s.set_timeout(task, seconds=asked.timeout_hours * 3600)


def _placement(task: dsl.PipelineTask, asked: StepSettings) -> None:
    for key, value in asked.node_selector.items():
        k8s.add_node_selector(task, label_key=key, label_value=value)
    for taint in asked.tolerations:
        k8s.add_toleration(
            task,
            key=taint.key,
            operator=taint.operator,
            value=taint.value,
            effect=taint.effect,
            toleration_seconds=taint.seconds,
        )


def _image(task: dsl.PipelineTask, cluster: Kubernetes) -> None:
    k8s.set_image_pull_policy(task, cluster.image_pull_policy)
    if cluster.image_pull_secrets:
        k8s.set_image_pull_secrets(task, list(cluster.image_pull_secrets))


def _volumes(task: dsl.PipelineTask, cluster: Kubernetes, asked: StepSettings, *, root: str, step: Step) -> None:
    k8s.mount_pvc(task, pvc_name=cluster.volume_claim, mount_path=root)
    if cluster.cache_claim and step == "pull_dataset":
        k8s.mount_pvc(task, pvc_name=cluster.cache_claim, mount_path=f"{root}/{CACHE}")
    k8s.empty_dir_mount(task, volume_name="spineline-scratch", mount_path=SCRATCH, size_limit=asked.scratch)
    k8s.empty_dir_mount(task, volume_name="spineline-home", mount_path=HOME, size_limit=_HOME_SIZE)
    if asked.shared_memory:
        k8s.empty_dir_mount(
            task, volume_name="spineline-shm", mount_path=SHARED_MEMORY, medium="Memory", size_limit=asked.shared_memory
        )


def _environment(task: dsl.PipelineTask, cluster: Kubernetes, asked: StepSettings, *, root: str, image: str) -> None:
    message = {
        "SPINELINE_ROOT": root,
        "SPINELINE_IMAGE": image,
        # A pod sees every core of its node; as many threads would fight for the few that it was given.
        "SPINELINE_THREADS": str(max(1, int(cores_of(asked.cpu)))),
        "HOME": HOME,
        "LOGNAME": "spineline",  # a user id that the image doesn't know has no name otherwise
        "PYTHONUNBUFFERED": "1",
        **cluster.environment.as_variables(),
    }
    for name, value in message.items():
        task.set_env_variable(name, value)
    k8s.use_field_path_as_env(task, env_name="SPINELINE_RUN", field_path=_RUN_FIELD)


def _secrets(task: dsl.PipelineTask, cluster: Kubernetes, asked: StepSettings, *, step: Step) -> None:
    if tracking := cluster.tracking_secret_of(step):
        keys = {"MLFLOW_TRACKING_URI": "MLFLOW_TRACKING_URI"}
        k8s.use_secret_as_env(task, secret_name=tracking, secret_key_to_env=keys)
    if store := cluster.store_secret_of(step):
        k8s.use_secret_as_env(task, secret_name=store, secret_key_to_env={key: key for key in _STORE_KEYS})
    for secret in asked.secrets:
        if secret.folder:
            k8s.use_secret_as_volume(task, secret_name=secret.name, mount_path=secret.folder)
        for variable, key in secret.variables.items():
            k8s.use_secret_as_env(task, secret_name=secret.name, secret_key_to_env={key: variable})


def _labels(task: dsl.PipelineTask, asked: StepSettings, *, step: Step) -> None:
    kueue = {QUEUE_LABEL: asked.queue, PRIORITY_LABEL: asked.priority_class}
    for key, value in {**_LABELS, STEP_LABEL: step, **kueue}.items():
        if value:
            k8s.add_pod_label(task, label_key=key, label_value=value)
