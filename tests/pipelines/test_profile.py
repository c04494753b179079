"""What a profile accepts, and the one line that every wrong value is answered with."""

import functools
import operator
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from components.images import image
from pipelines.cluster.launching import cluster_profile
from pipelines.profile import Profile, load_profile
from pipelines.step_settings import STEPS, StepSettings
from spine.errors import SpinelineError

PROJECT = Path(__file__).resolve().parents[2]
DIGEST = "sha256:" + "0" * 64
NAMES = ["kubernetes", "kubernetes-one-node", "kueue", "local"]


def profile_of(text, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return Profile.from_yaml(path)


def with_kubernetes(part):
    return yaml.safe_dump(
        {"name": "mine", "about": "x", "kubernetes": {"volume_claim": "root", **yaml.safe_load(part)}}
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_profiles_that_come_along_are_sound(name):
    assert load_profile(name).name == name


def test_an_unknown_profile_is_answered_with_those_that_exist():
    with pytest.raises(SpinelineError, match=r"unknown profile 'nope'; expected one of: " + ", ".join(NAMES)):
        load_profile("nope")


@pytest.mark.parametrize(
    ("dealt", "tasks"),
    [
        ("each", [[0], [1], [2], [3], [4]]),
        ("together", [[0, 1, 2, 3, 4]]),
        (2, [[0, 1], [2, 3], [4]]),
        (5, [[0, 1, 2, 3, 4]]),
    ],
)
def test_folds_are_dealt_to_tasks(dealt, tasks):
    assert Profile(name="mine", about="x", fold_groups=dealt).groups([0, 1, 2, 3, 4]) == tasks


@pytest.mark.parametrize(
    ("environment", "with_keys"),
    [
        ("{}", ["pull_dataset", "register_candidate", "promote_model"]),
        ("{model_store: s3://bucket/m}", ["pull_dataset", "register_candidate", "promote_model"]),
        ("{checkpoint_store: s3://bucket/c}", ["pull_dataset", "train_folds", "register_candidate", "promote_model"]),
        ("{ledger: s3://bucket/l}", [step for step in STEPS if step != "plan_training"]),
    ],
)
def test_one_secret_of_the_store_reaches_the_steps_that_use_a_store(environment, with_keys, tmp_path):
    cluster = profile_of(with_kubernetes(f"{{store_secret: s, environment: {environment}}}"), tmp_path).kubernetes
    assert [step for step in STEPS if cluster.store_secret_of(step)] == with_keys


def test_a_step_s_own_settings_replace_those_of_all_steps_field_by_field(tmp_path):
    text = "{defaults: {cpu: 3, retries: 7, node_selector: {disk: fast}}, steps: {train_folds: {cpu: 12}}}"
    cluster = profile_of(with_kubernetes(text), tmp_path).kubernetes
    training, other = cluster.settings_of("train_folds"), cluster.settings_of("gate_candidate")
    assert (training.cpu, training.retries, training.node_selector) == ("12", 7, {"disk": "fast"})
    assert other == StepSettings(cpu="3", retries=7, node_selector={"disk": "fast"})


def test_a_step_can_set_back_what_all_steps_have(tmp_path):
    text = "{defaults: {queue: busy, cpu_limit: 4}, steps: {gate_candidate: {queue: null, cpu_limit: null}}}"
    settings = profile_of(with_kubernetes(text), tmp_path).kubernetes.settings_of("gate_candidate")
    assert (settings.queue, settings.cpu_limit) == (None, None)


def test_images_are_replaced_by_target():
    own = f"registry.example.org:5000/spineline/train@{DIGEST}"
    profile = Profile(name="mine", about="x", images={"train": own})
    assert profile.image(image("train")) == own
    assert profile.image(image("data")) == image("data")


IMAGES = [
    "train:0.1.0",
    "spineline/train:0.1.0",
    "registry.example.org:5000/spineline/train:v1",
    f"spineline/train@{DIGEST}",
    f"spineline/train:0.1.0@{DIGEST}",
]


@pytest.mark.parametrize("reference", IMAGES)
def test_an_image_has_a_tag_or_a_digest(reference):
    assert Profile(name="mine", about="x", images={"train": reference}).images["train"] == reference


GENERAL = {
    # lines of a profile: words that the one line must hold
    "gpus: 4": ["gpus: Extra inputs are not permitted (found 4)"],
    "root: spineline": ["root: should be an absolute path such as /spineline (found 'spineline')"],
    "fold_groups: alone": [
        "fold_groups: should be each, together, or the number of folds a task: 1 to 5 (found 'alone')"
    ],
    "fold_groups: 0": ["fold_groups: should be each, together", "(found 0)"],
    "fold_groups: true": ["fold_groups: should be each, together", "(found True)"],
    "images: {training: a:1}": ["images.training", "'data', 'train', 'registry' or 'serve'", "(found 'training')"],
    "images: {train: spineline/train}": [
        "images.train: should be name:tag or name@sha256:<64",
        "found 'spineline/train'",
    ],
    "images: {train: 'spineline/train:latest'}": ["images.train: should be name:tag", "not the tag latest"],
    "images: {train: 'host:5000/train'}": ["images.train: should be name:tag"],
    "images: {train: 'train@sha256:12'}": ["images.train: should be name:tag or name@sha256:<64"],
    "images: {train: 'Train:1'}": ["images.train: should be name:tag"],
    "kubeflow: {host: kubeflow.example.org}": ["kubeflow.host"],
    "kubernetes: {}": ["kubernetes.volume_claim: Field required"],
    "kubeflow: {host: 'https://a.b', port_forward: kubeflow/ml-pipeline-ui}": [
        "kubeflow.port_forward is 'kubeflow/ml-pipeline-ui' beside a host",
        "one of the two",
    ],
    "root: /spineline/..": ["root: should be an absolute path"],
    "about: y": ["not YAML at line 3, column 1 (the key 'about' twice)"],
}
CLUSTER = {
    "{volume_claim: My_Claim}": [
        "volume_claim: should be a name of lower case letters, digits and '-' (found 'My_Claim')"
    ],
    "{cache_claim: root}": ["kubernetes.cache_claim is 'root'", "expected another claim"],
    "{service_account: a b}": ["service_account: should be a Kubernetes name", "'a b'"],
    "{tracking_secret: ''}": ["tracking_secret: should be a name of lower case letters", "''"],
    "{image_pull_policy: Sometimes}": ["image_pull_policy: Input should be 'Always', 'IfNotPresent' or 'Never'"],
    "{image_pull_secrets: one}": ["image_pull_secrets", "(found 'one')"],
    "{metrics_port: 80}": ["metrics_port", "greater than or equal to 1024", "(found 80)"],
    "{security: {user: 0}}": ["security.user", "greater than or equal to 1", "(found 0)"],
    "{security: {privileged: true}}": ["security.privileged: Extra inputs"],
    "{environment: {s3_endpoint: minio:9000}}": ["environment.s3_endpoint: should be an address such as https://"],
    "{environment: {s3_endpoint: 'https://me:pw@store'}}": ["environment.s3_endpoint: should be an address"],
    "{environment: {checkpoint_store: /data}}": ["environment.checkpoint_store: should be an address such as s3://"],
    "{environment: {ledger: ledger}}": ["environment.ledger: should be s3://bucket/prefix or an absolute path"],
    "{environment: {log_format: xml}}": ["environment.log_format: Input should be 'text' or 'json'"],
    "{environment: {variables: {region: eu}}}": ["environment.variables.region", "upper case letters"],
    "{environment: {variables: {SPINELINE_ROOT: /x}}}": ["variables.SPINELINE_ROOT is set by the profile itself"],
    "{environment: {variables: {PYTHONUNBUFFERED: '0'}}}": ["variables.PYTHONUNBUFFERED is set by the profile itself"],
    "{environment: {variables: {HOME: /x}}}": ["variables.HOME is set by the profile itself"],
    "{environment: {ledger: /ledger}}": ["environment.ledger is '/ledger'", "below the root /spineline"],
    "{environment: {model_store: /spineline}}": ["environment.model_store is '/spineline'", "below the root"],
    "{environment: {ledger: /spineline-too/ledger}}": ["environment.ledger is '/spineline-too/ledger'"],
    "{environment: {ledger: /spineline/../ledger}}": ["environment.ledger: should be s3://bucket"],
    "{defaults: {cpu: lots}}": ["defaults.cpu: should be a number of cores such as 4, 0.5 or 500m (found 'lots')"],
    "{defaults: {cpu: 0}}": ["defaults.cpu: should be a number of cores", "(found 0)"],
    "{defaults: {cpu: 8, cpu_limit: 4}}": [
        "kubernetes.defaults.cpu_limit (of pull_dataset) is '4'",
        "at least the 8 cores",
    ],
    "{defaults: {memory: 64 GB}}": [
        "defaults.memory: should be a whole number of bytes such as 64Gi",
        "(found '64 GB')",
    ],
    "{defaults: {memory: 1.5Gi}}": ["defaults.memory: should be a whole number of bytes"],
    "{defaults: {memory: 8K}}": ["defaults.memory: should be a whole number of bytes"],
    "{store_secret: one, store_secrets: {data: two}}": ["store_secret is 'one' beside store_secrets", "one of the two"],
    "{store_secrets: {write: one}}": ["store_secrets.write"],
    "{store_secrets: {data: d}, environment: {model_store: 's3://bucket/m'}}": [
        "store_secrets has no models",
        "needed by register_candidate, promote_model",
    ],
    "{store_secrets: {models: m}, environment: {checkpoint_store: 's3://bucket/c'}}": [
        "store_secrets has no checkpoints",
        "needed by train_folds",
    ],
    "{store_secrets: {models: m, checkpoints: c}, environment: {ledger: 's3://bucket/l'}}": [
        "store_secrets has no models_read",
        "needed by evaluate_folds, gate_candidate",
    ],
    "{defaults: {shared_memory: 8Gi, memory: 8Gi}}": [
        "shared_memory (of pull_dataset) is '8Gi'",
        "less than the memory of 8Gi",
    ],
    "{defaults: {scratch: '0'}}": ["defaults.scratch: should be a whole number"],
    "{defaults: {gpus: 17}}": ["defaults.gpus", "less than or equal to 16", "(found 17)"],
    "{defaults: {gpus: one}}": ["defaults.gpus", "(found 'one')"],
    "{defaults: {gpu_type: a100}}": [
        "defaults.gpu_type: should be the name of a device resource such as nvidia.com/gpu"
    ],
    "{defaults: {node_selector: {gpu: true}}}": ["defaults.node_selector.gpu", "string", "(found True)"],
    "{defaults: {node_selector: {'a b': c}}}": ["defaults.node_selector.a b", "label's key"],
    "{defaults: {node_selector: {a: 'b c'}}}": ["defaults.node_selector.a: should be a label's value"],
    "{defaults: {tolerations: [{key: a, operator: Equal}]}}": [
        "defaults.tolerations.0: should have a value with Equal"
    ],
    "{defaults: {tolerations: [{key: a, value: b}]}}": [
        "tolerations.0: should have a value with Equal, and none with Exists"
    ],
    "{defaults: {tolerations: [{operator: Equal, value: b}]}}": ["tolerations.0: should have a key with Equal"],
    "{defaults: {tolerations: [{key: a, effect: Never}]}}": ["tolerations.0.effect: Input should be 'NoSchedule'"],
    "{defaults: {tolerations: [{key: a, seconds: 5}]}}": [
        "tolerations.0: should have the effect NoExecute with seconds"
    ],
    "{defaults: {queue: My Queue}}": ["defaults.queue: should be a Kubernetes name"],
    "{defaults: {priority_class: high}}": ["priority_class (of pull_dataset) is 'high'", "a queue beside it"],
    "{defaults: {timeout_hours: 0}}": ["defaults.timeout_hours", "greater than or equal to 1", "(found 0)"],
    "{defaults: {retries: 0}}": ["defaults.retries", "greater than or equal to 1", "(found 0)"],
    "{defaults: {retries: 101}}": ["defaults.retries", "less than or equal to 100"],
    "{defaults: {secrets: [{name: one}]}}": ["defaults.secrets.0: should have variables or a folder"],
    "{defaults: {secrets: [{name: one, folder: here}]}}": ["secrets.0.folder: should be an absolute path"],
    "{defaults: {secrets: [{name: one, variables: {X: 'a b'}}]}}": [
        "secrets.0.variables.X: should be a key of a Secret"
    ],
    "{defaults: {secrets: [{name: s, folder: /a}, {name: s, folder: /b}]}}": [
        "secrets (of pull_dataset) is 's, s'",
        "once",
    ],
    "{defaults: {secrets: [{name: root, folder: /a}]}}": [
        "secret of pull_dataset",
        "named 'root'",
        "another name than that of a claim",
    ],
    **{
        f"{{defaults: {{secrets: [{{name: s, folder: {folder}}}]}}}}": [
            f"the folder of a secret of pull_dataset is '{folder}'",
            f"it would hide {hidden}",
        ]
        for folder, hidden in {
            "/spineline": "/spineline",
            "/spineline/objects": "/spineline/objects",
            "/tmp": "/tmp",
            "/dev/shm": "/dev/shm",
            "/dev": "/dev/shm",
            "/home": "/home/spineline",
            "/opt": "/opt/spineline",
            "/etc": "/etc",
            "/gcs": "/gcs",
        }.items()
    },
    "{defaults: {secrets: [{name: s, folder: /a}, {name: t, folder: /a}]}}": [
        "the folder of a secret of pull_dataset is '/a'",
        "it would hide /a",
    ],
    "{steps: {train_folds: {secrets: [{name: s, folder: /a}, {name: t, folder: /a/b}]}}}": [
        "the folder of a secret of train_folds is '/a'",
        "it would hide /a/b",
    ],
    "{environment: {variables: {SPINELINE_LEDGER: /x}}}": ["variables.SPINELINE_LEDGER is set by the profile itself"],
    "{steps: {train_fold: {gpus: 1}}}": ["steps.train_fold", "'train_folds'", "(found 'train_fold')"],
    "{steps: {train_folds: {gpu: 1}}}": ["steps.train_folds.gpu: Extra inputs"],
    "{steps: {train_folds: {shared_memory: 9Gi}}}": [
        "kubernetes.steps.train_folds.shared_memory is '9Gi'",
        "memory of 8Gi",
    ],
}


@pytest.mark.parametrize("lines", GENERAL)
def test_a_wrong_value_is_one_line_with_value_place_and_expectation(tmp_path, lines):
    expect_one_line(f"name: mine\nabout: x\n{lines}\n", GENERAL[lines], tmp_path)


@pytest.mark.parametrize("part", CLUSTER)
def test_a_wrong_value_of_a_cluster_is_one_line_with_value_place_and_expectation(tmp_path, part):
    expect_one_line(with_kubernetes(part), CLUSTER[part], tmp_path)


TAKEN = ["/tmp", "/tmp/x", "/dev/shm", "/etc", "/usr/x", "/opt", "/opt/x", "/home", "/home/spineline", "/proc", "/sys"]


@pytest.mark.parametrize("root", [*TAKEN, "/var", "/var/run/x", "/run", "/lib64", "/kfp-launcher"])
def test_a_root_in_or_around_what_a_pod_has_of_its_own_is_refused_on_a_cluster_only(tmp_path, root):
    profile_of(f"name: mine\nabout: x\nroot: {root}\n", tmp_path)
    expect_one_line(f"root: {root}\n{with_kubernetes('{}')}", [f"root is '{root}'", "a folder of its own"], tmp_path)


@pytest.mark.parametrize("root", ["/data", "/home/ann", "/srv/spineline", "/var/lib/spineline", "/optional", "/tmpfs"])
def test_any_other_root_is_accepted_with_places_below_it_and_secrets_beside_it(tmp_path, root):
    part = f"""{{
        cache_claim: cache, environment: {{ledger: {root}/ledger, model_store: {root}/models}},
        defaults: {{secrets: [{{name: s, folder: /etc/s}}, {{name: t, folder: /etc/t}}, {{name: u, folder: {root}/u}}]}}
    }}"""
    assert profile_of(f"root: {root}\n{with_kubernetes(part)}", tmp_path).shared_root == root


def expect_one_line(text, words, tmp_path):
    with pytest.raises(SpinelineError) as raised:
        profile_of(text, tmp_path)
    told = str(raised.value)
    for word in [str(tmp_path / "mine.yaml"), *words, "expected"]:
        assert word in told
    assert "\n" not in told and "Value error" not in told


@pytest.mark.parametrize("name", ["kubernetes", "kubernetes-one-node", "kueue"])
def test_what_a_profile_names_is_made_by_the_manifests(name):
    made = {"PersistentVolumeClaim": set(), "ServiceAccount": set()}
    for path in (PROJECT / "infra" / "kubernetes" / "base").glob("*.yaml"):
        for manifest in yaml.safe_load_all(path.read_text()):
            made.get(manifest["kind"], set()).add(manifest.get("metadata", {}).get("name"))
    cluster = load_profile(name).kubernetes
    assert {cluster.volume_claim, cluster.cache_claim} <= made["PersistentVolumeClaim"]
    assert cluster.service_account in made["ServiceAccount"]


JUNK = [None, "", "a b", -1, 0, 3.5, 10**15, [], {}, True, "é", "a\nb", "x" * 600, ["a"], {"a": 1}, "0", "{{$.x}}", "'"]


def places_in(value, place=()):
    if place:
        yield place
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places_in(value[key], (*place, key))


def whole_profile():
    path = PROJECT / "pipelines" / "profiles" / "kueue.yaml"
    return {**yaml.safe_load(path.read_text()), "images": {"train": IMAGES[0]}, "kubeflow": {"host": "https://a.b"}}


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_whatever_stands_in_a_profile_it_is_a_profile_or_one_line(junk):
    accepted = 0
    for *way, last in places_in(whole_profile()):
        content = whole_profile()
        functools.reduce(operator.getitem, way, content)[last] = junk
        try:
            Profile.parse(content, where="mine.yaml")
            accepted += 1
        except SpinelineError as error:
            told = str(error)
            assert told.startswith("mine.yaml: ") and "; expected " in told and "\n" not in told
    assert accepted < 40


def test_a_host_on_the_command_line_replaces_a_profile_s_port_forward(tmp_path):
    text = f"kubeflow: {{port_forward: kubeflow/ml-pipeline-ui}}\n{with_kubernetes('{}')}"
    profile_of(text, tmp_path)
    assert cluster_profile(str(tmp_path / "mine.yaml"), host="https://a.b").kubeflow.host == "https://a.b"


def test_settings_are_known_for_every_step_of_the_pipelines():
    assert set(STEPS) == {path.parent.name for path in (PROJECT / "components").glob("*/component.py")}


def test_reading_a_profile_imports_no_kfp():
    code = "import sys, pipelines.profile as p; p.load_profile('kueue'); print('kfp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_parts_that_do_not_go_together_are_refused_however_a_profile_is_made():
    kubernetes = load_profile("kubernetes").kubernetes
    clash = kubernetes.model_copy(update={"cache_claim": kubernetes.volume_claim})
    with pytest.raises(ValidationError, match="kubernetes.cache_claim is .*, the root's own; expected another claim"):
        Profile(name="mine", about="x", kubernetes=clash)
