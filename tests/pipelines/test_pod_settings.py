"""Every setting of a cluster's profile, where it stands in the compiled file: field by field."""

import pytest
import yaml

from pipelines.compiling import compile_all
from pipelines.profile import Profile

DIGEST = "sha256:" + "a" * 64
TRAIN_IMAGE = f"registry.example.org/spineline/train@{DIGEST}"
RICH = f"""
name: rich
about: Every setting that a cluster has.
root: /data
fold_groups: each
images: {{train: "{TRAIN_IMAGE}"}}
kubernetes:
  volume_claim: root-claim
  cache_claim: cache-claim
  service_account: runner
  tracking_secret: mlflow-secret
  store_secret: store-secret
  image_pull_policy: Always
  image_pull_secrets: [pull-a, pull-b]
  metrics_port: 9100
  security: {{user: 20002, group: 20003}}
  environment:
    s3_endpoint: https://store.example.org
    checkpoint_store: s3://bucket/checkpoints
    checkpoint_minutes: 5
    ledger: s3://bucket/ledger
    model_store: s3://bucket/models
    variables: {{AWS_DEFAULT_REGION: eu-central-1}}
  defaults: {{cpu: 2, memory: 8Gi, scratch: 5Gi, retries: 4, timeout_hours: 3}}
  steps:
    train_folds:
      cpu: 12
      cpu_limit: 16
      memory: 64Gi
      shared_memory: 16Gi
      gpus: 2
      gpu_type: nvidia.com/mig-3g.40gb
      node_selector: {{nvidia.com/gpu.product: NVIDIA-A100-SXM4-80GB, zone: a}}
      tolerations:
        - {{key: nvidia.com/gpu, effect: NoSchedule}}
        - {{key: team, operator: Equal, value: spine, effect: NoExecute, seconds: 60}}
      queue: gpu-queue
      priority_class: high
      timeout_hours: 240
      retries: 50
      secrets:
        - {{name: files, folder: /etc/files}}
        - {{name: words, variables: {{ONE: key.one, TWO: key.one}}}}
"""


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    profile = Profile.parse(yaml.safe_load(RICH), where="rich")
    files = compile_all(profile=profile, folds=[0, 1, 2], output=tmp_path_factory.mktemp("rich"))
    return {file.stem: list(yaml.safe_load_all(file.read_text())) for file in files}


def container_of(documents, step):
    return documents[0]["deploymentSpec"]["executors"][f"exec-{step}"]["container"]


def platform_of(documents, step):
    return documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][f"exec-{step}"]


def task_of(documents, name):
    graphs = [documents[0]["root"], *documents[0]["components"].values()]
    (task,) = (tasks[name] for graph in graphs if name in (tasks := graph.get("dag", {}).get("tasks", {})))
    return task


def test_a_profile_replaces_images_by_target(rich):
    assert container_of(rich["train-candidate"], "train-folds")["image"] == TRAIN_IMAGE
    assert container_of(rich["train-candidate"], "pull-dataset")["image"].startswith("spineline/data:")


def test_resources_are_those_of_the_step(rich):
    assert container_of(rich["train-candidate"], "train-folds")["resources"] == {
        "accelerator": {
            "count": "2",
            "resourceCount": "2",
            "resourceType": "nvidia.com/mig-3g.40gb",
            "type": "nvidia.com/mig-3g.40gb",
        },
        "cpuLimit": 16.0,
        "cpuRequest": 12.0,
        "memoryLimit": 68.719476736,
        "memoryRequest": 68.719476736,
        "resourceCpuLimit": "16",
        "resourceCpuRequest": "12",
        "resourceMemoryLimit": "64Gi",
        "resourceMemoryRequest": "64Gi",
    }


def test_the_environment_tells_a_step_where_it_is(rich):
    told = {pair["name"]: pair["value"] for pair in container_of(rich["train-candidate"], "train-folds")["env"]}
    assert told == {
        "SPINELINE_ROOT": "/data",
        "SPINELINE_IMAGE": TRAIN_IMAGE,
        "SPINELINE_THREADS": "12",
        "SPINELINE_METRICS_PORT": "9100",
        "SPINELINE_S3_ENDPOINT": "https://store.example.org",
        "SPINELINE_CHECKPOINT_STORE": "s3://bucket/checkpoints",
        "SPINELINE_CHECKPOINT_MINUTES": "5",
        "SPINELINE_LEDGER": "s3://bucket/ledger",
        "SPINELINE_MODEL_STORE": "s3://bucket/models",
        "SPINELINE_LOG_FORMAT": "json",
        "MLFLOW_S3_ENDPOINT_URL": "https://store.example.org",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "HOME": "/home/spineline",
        "LOGNAME": "spineline",
        "PYTHONUNBUFFERED": "1",
    }


def name_of(entry):
    return entry["runtimeValue"]["constant"]


def test_identity_deadline_and_pull_policy_reach_the_platform(rich):
    platform = platform_of(rich["train-candidate"], "train-folds")
    assert platform["securityContext"] == {"runAsUser": "20002", "runAsGroup": "20003", "runAsNonRoot": True}
    assert platform["activeDeadlineSeconds"] == str(240 * 3600)
    assert platform["imagePullPolicy"] == "Always"
    assert [name_of(pull["secretNameParameter"]) for pull in platform["imagePullSecret"]] == ["pull-a", "pull-b"]


def test_volumes_are_the_root_scratch_home_and_shared_memory(rich):
    platform = platform_of(rich["train-candidate"], "train-folds")
    assert [(name_of(mount["pvcNameParameter"]), mount["mountPath"]) for mount in platform["pvcMount"]] == [
        ("root-claim", "/data")
    ]
    assert {mount["mountPath"]: mount for mount in platform["emptyDirMounts"]} == {
        "/tmp": {"volumeName": "spineline-scratch", "mountPath": "/tmp", "sizeLimit": "5Gi"},
        "/home/spineline": {"volumeName": "spineline-home", "mountPath": "/home/spineline", "sizeLimit": "1Gi"},
        "/dev/shm": {
            "volumeName": "spineline-shm",
            "mountPath": "/dev/shm",
            "medium": "Memory",
            "sizeLimit": "16Gi",
        },
    }


def test_the_cache_is_mounted_where_it_is_used_and_nowhere_else(rich):
    mounts = platform_of(rich["train-candidate"], "pull-dataset")["pvcMount"]
    found = {name_of(mount["pvcNameParameter"]): mount["mountPath"] for mount in mounts}
    assert found == {"root-claim": "/data", "cache-claim": "/data/objects"}


def test_placement_reaches_the_platform(rich):
    platform = platform_of(rich["train-candidate"], "train-folds")
    assert platform["nodeSelector"]["labels"] == {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB", "zone": "a"}
    assert platform["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "team", "operator": "Equal", "value": "spine", "effect": "NoExecute", "tolerationSeconds": "60"},
    ]


def test_labels_name_step_queue_and_priority(rich):
    metadata = platform_of(rich["train-candidate"], "train-folds")["podMetadata"]
    assert metadata["labels"] == {
        "app.kubernetes.io/name": "spineline",
        "app.kubernetes.io/part-of": "spineline",
        "spineline.io/step": "train_folds",
        "kueue.x-k8s.io/queue-name": "gpu-queue",
        "kueue.x-k8s.io/priority-class": "high",
    }
    other = platform_of(rich["train-candidate"], "gate-candidate")["podMetadata"]
    assert other["labels"]["spineline.io/step"] == "gate_candidate"
    assert "kueue.x-k8s.io/queue-name" not in other["labels"]


def test_secrets_are_named_and_nothing_of_them_is_in_the_file(rich):
    platform = platform_of(rich["train-candidate"], "train-folds")
    keys = [
        (name_of(use["secretNameParameter"]), pair["secretKey"], pair["envVar"])
        for use in platform["secretAsEnv"]
        for pair in use["keyToEnv"]
    ]
    assert keys == [
        ("mlflow-secret", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI"),
        ("store-secret", "AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
        ("store-secret", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
        ("words", "key.one", "ONE"),
        ("words", "key.one", "TWO"),
    ]
    (mounted,) = platform["secretAsVolume"]
    assert (name_of(mounted["secretNameParameter"]), mounted["mountPath"]) == ("files", "/etc/files")
    assert "secretAsVolume" not in platform_of(rich["train-candidate"], "gate-candidate")


STEPS_OF = {
    "train-candidate": (
        "pull-dataset", "plan-training", "train-folds", "evaluate-folds", "gate-candidate", "register-candidate",
    ),
    "promote-approved": ("promote-model",),
    "roll-back": ("promote-model",),
}  # fmt: skip
ONE_SECRET = {
    "pull-dataset": ["store-secret"],
    "plan-training": [],
    "train-folds": ["files", "mlflow-secret", "store-secret", "words"],
    "evaluate-folds": ["store-secret"],
    "gate-candidate": ["store-secret"],
    "register-candidate": ["mlflow-secret", "store-secret"],
    "promote-model": ["mlflow-secret", "store-secret"],
}
BY_PURPOSE = {
    "pull-dataset": ["data-keys"],
    "plan-training": [],
    "train-folds": ["checkpoint-keys", "files", "mlflow-secret", "words"],
    "evaluate-folds": ["model-reading-keys"],
    "gate-candidate": ["model-reading-keys"],
    "register-candidate": ["mlflow-secret", "model-keys"],
    "promote-model": ["mlflow-secret", "model-keys"],
}
SPLIT = (
    "store_secrets: {data: data-keys, checkpoints: checkpoint-keys, models: model-keys,"
    " models_read: model-reading-keys}"
)


@pytest.mark.parametrize(
    ("stores", "expected"), [("store_secret: store-secret", ONE_SECRET), (SPLIT, BY_PURPOSE)], ids=["one", "by purpose"]
)
def test_each_step_gets_the_secrets_that_it_uses_and_no_other(stores, expected, tmp_path):
    profile = Profile.parse(yaml.safe_load(RICH.replace("store_secret: store-secret", stores)), where="rich")
    for file in compile_all(profile=profile, folds=[0], output=tmp_path):
        documents = list(yaml.safe_load_all(file.read_text()))
        found = {step: secrets_of(documents, step) for step in STEPS_OF[file.stem]}
        assert found == {step: expected[step] for step in STEPS_OF[file.stem]}, file.stem


def secrets_of(documents, step):
    platform = platform_of(documents, step)
    uses = [*platform.get("secretAsEnv", []), *platform.get("secretAsVolume", [])]
    return sorted({name_of(use["secretNameParameter"]) for use in uses})


def test_the_run_s_id_is_the_pod_s_label(rich):
    fields = platform_of(rich["promote-approved"], "promote-model")["fieldPathAsEnv"]
    assert fields == [{"name": "SPINELINE_RUN", "fieldPath": "metadata.labels['pipeline/runid']"}]


def test_every_attempt_has_its_whole_time_and_none_waits_for_ever(rich):
    assert task_of(rich["train-candidate"], "train-folds")["retryPolicy"] == {
        "maxRetryCount": 50,
        "backoffDuration": "60s",
        "backoffFactor": 1.0,
        "backoffMaxDuration": "315360000s",
    }
    assert task_of(rich["train-candidate"], "evaluate-folds")["retryPolicy"]["maxRetryCount"] == 4
    assert platform_of(rich["train-candidate"], "evaluate-folds")["activeDeadlineSeconds"] == str(3 * 3600)


def test_every_step_of_every_pipeline_has_settings(rich):
    for documents in rich.values():
        platform = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        assert platform.keys() == documents[0]["deploymentSpec"]["executors"].keys()
