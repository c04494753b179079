"""Model bundles that are tiny and real: random weights, a golden case, and evidence that passes a lenient policy."""

import contextlib
import http.client
import json
import shutil
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from xdist.scheduler import LoadScopeScheduling

from model_registry.bundle import GOLDEN_IMAGE, GOLDEN_LABELS, MANIFEST_FILE, MODEL_FOLDER, Bundle, BundleManifest
from model_registry.bundle import list_files as listed
from model_registry.gate import judge
from model_registry.lifecycle import Registry
from model_registry.policy import Floors, Policy
from spine import log_lines
from spine.labels import VERTEBRAE
from spine.metrics.scans import score_scan
from spine.metrics.scores import Evaluation
from spine.metrics.summary import summarize
from spine.nnunet.workspace import DATASET_NAME, PLANS_NAME, Workspace
from spine.phantom import make_scan
from spine.recipe import Network, PlanRecipe, Recipe, TrainingRecipe
from spine.storage import digest_bytes, digest_value, write_json
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, write_volume

_SHARED = {"tests/journeys/test_readme.py": "tests/journeys/test_demo.py"}
"""Files that go to the worker of another, whose fixtures they use."""
CONFIGURATION = "3d_fullres"
SPACING_MM = 6.0
FEATURES = (4, 8, 8)
PATCH = 16

RECIPE = Recipe(
    name="tiny",
    about="Random weights, for tests.",
    plan=PlanRecipe(
        planner="ExperimentPlanner",
        spacing_mm=(SPACING_MM, SPACING_MM, SPACING_MM),
        patch=(PATCH, PATCH, PATCH),
        network=Network(features_per_stage=FEATURES),
    ),
    training=TrainingRecipe(folds=(0, 1), epochs=1),
)
POLICY = Policy(
    name="lenient",
    about="Anything passes, for tests.",
    minimum_scans=2,
    floors=Floors(dice_scan_mean=0.5),
    separate_approver=False,
)
DATASET_JSON = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, **{vertebra.name: vertebra.id for vertebra in VERTEBRAE}},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def plans() -> dict[str, Any]:
    """nnU-Net's plans of a two-stage network on a 6 mm grid."""
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    name = "resample_data_or_seg_to_shape"
    return {
        "dataset_name": DATASET_NAME,
        "plans_name": PLANS_NAME,
        "original_median_spacing_after_transp": [SPACING_MM] * 3,
        "original_median_shape_after_transp": [32, 32, 32],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": 300.0, "std": 200.0, "percentile_00_5": -100.0, "percentile_99_5": 1200.0}
        },
        "configurations": {
            CONFIGURATION: {
                "data_identifier": "tiny",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": [PATCH] * 3,
                "spacing": [SPACING_MM] * 3,
                "normalization_schemes": ["CTNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data": name,
                "resampling_fn_seg": name,
                "resampling_fn_probabilities": name,
                "resampling_fn_data_kwargs": resampling,
                "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
                "resampling_fn_probabilities_kwargs": resampling,
                "architecture": {
                    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                    "arch_kwargs": {
                        "n_stages": len(FEATURES),
                        "features_per_stage": list(FEATURES),
                        "conv_op": "torch.nn.modules.conv.Conv3d",
                        "kernel_sizes": [[3, 3, 3]] * len(FEATURES),
                        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
                        "n_conv_per_stage": [1] * len(FEATURES),
                        "n_conv_per_stage_decoder": [1] * (len(FEATURES) - 1),
                        "conv_bias": True,
                        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
                "batch_dice": False,
            }
        },
    }


def write_bundle(folder: Path, *, seed: int) -> Bundle:
    """Write a bundle whose two folds have random weights by ``seed``; its evidence passes ``POLICY``."""
    model = folder / MODEL_FOLDER
    write_json(model / "plans.json", plans())
    write_json(model / "dataset.json", DATASET_JSON)
    folds = {fold: _write_weights(model / f"fold_{fold}", seed=10 * seed + fold) for fold in RECIPE.training.folds}
    _write_golden_case(folder, folds)
    evaluation = _evaluation(f"tiny {seed}")
    verdict = judge(candidate=evaluation, champion=None, policy=POLICY)
    write_json(folder / "recipe.json", RECIPE.stored())
    write_json(folder / "evaluation.json", evaluation.content)
    write_json(folder / "policy.json", POLICY.stored())
    verdict.write(folder / "verdict.json")
    manifest = BundleManifest(
        files=listed(folder),
        folds=folds,
        configuration=CONFIGURATION,
        recipe_name=RECIPE.name,
        plan=digest_value(plans()),
        evaluation=evaluation.digest,
        verdict=verdict.digest,
        git_revision="0" * 40,
        dvc_hash=digest_bytes(b"no data set")[-32:],
    )
    write_json(folder / MANIFEST_FILE, manifest.content)
    return Bundle(folder)


def _write_weights(folder: Path, *, seed: int) -> str:
    Workspace.below(folder).activate()
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from spine.nnunet import checkpoint_files, checkpoints

    manager = PlansManager(plans())
    torch.manual_seed(seed)
    network = nnUNetTrainer.build_network_architecture(
        manager,
        manager.get_configuration(CONFIGURATION),
        1,
        manager.get_label_manager(DATASET_JSON).num_segmentation_heads,
        enable_deep_supervision=False,
    )
    checkpoint = {
        "network_weights": network.state_dict(),
        "inference_allowed_mirroring_axes": (2,),
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": CONFIGURATION, "fold": 0},
    }
    return checkpoints.save(checkpoint, folder / checkpoint_files.FINAL)


def _write_golden_case(folder: Path, folds: dict[int, str]) -> None:
    import torch

    from spine.nnunet.segmentation import Segmenter

    segmenter = Segmenter.from_model_folder(
        folder / MODEL_FOLDER,
        digests=folds,
        configuration=CONFIGURATION,
        recipe=RECIPE.prediction,
        device=torch.device("cpu"),
        threads=1,
    )
    image = make_scan(seed=1, patient=0, spacing_mm=(SPACING_MM,) * 3).image
    write_volume(folder / GOLDEN_IMAGE, image)
    write_volume(folder / GOLDEN_LABELS, segmenter.segment(image))


def _evaluation(name: str) -> Evaluation:
    array = np.zeros((16, 16, 40), dtype=np.uint8)
    array[3:13, 3:13, 5:15], array[3:13, 3:13, 20:30] = 21, 20
    volume = Volume(array=array, grid=Grid.of(array.shape, np.diag([1.5, 1.5, 1.5, 1.0])))
    scans = tuple(
        score_scan(case=f"case_{number}", patient=None, reference=volume, prediction=volume) for number in range(2)
    )
    return Evaluation(name=name, scans=scans, summary=summarize(scans))


class FileScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Gives one worker all tests of a file, and of files that share what takes minutes to make."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return _SHARED.get(file, file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    config.option.loadscopereorder = False
    return FileScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that are slow: no worker is to meet one at the end, when the other has nothing left."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def _signals_as_at_a_terminal() -> None:
    """A shell lets programs in the background ignore these: tests that send them would wait for ever."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _without_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log lines of one test don't carry the ids that another gave to this process."""
    monkeypatch.setattr(log_lines, "_of_process", {})


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Two bundles that answer differently, written once; copy them, never change them."""
    folder = tmp_path_factory.mktemp("bundles")
    return {seed: write_bundle(folder / str(seed), seed=seed).folder for seed in (1, 2)}


@pytest.fixture
def make_bundle(bundles: dict[int, Path]) -> Callable[..., Bundle]:
    """A function of a target folder and a seed (1 or 2) that puts a bundle there."""

    def make(folder: Path, *, seed: int = 1) -> Bundle:
        return Bundle(Path(shutil.copytree(bundles[seed], folder)))

    return make


@pytest.fixture
def registry_with_two_versions(tmp_path: Path, make_bundle: Callable[..., Bundle]) -> Registry:
    """A registry below ``tmp_path / "root"`` with versions 1 and 2 approved, neither promoted."""
    registry = Registry(tmp_path / "root")
    for version in (1, 2):
        bundle = make_bundle(registry.root / "versions" / str(version), seed=version)
        registry.register(version=version, bundle=bundle, actor="ann", reason="for tests")
        registry.approve(version, actor="ben", reason="for tests")
    return registry


@pytest.fixture(scope="session")
def s3_server():
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Relay(BaseHTTPRequestHandler):
    """Passes requests on to a store one at a time, as a real one decides on a name; tests subclass it to do harm."""

    protocol_version = "HTTP/1.1"
    target = ""
    turn = threading.Lock()
    seen: list[str]

    def passed_on(self) -> tuple[int, dict[str, str], bytes]:
        """Ask the store what was asked here, and return its answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection(self.target)
        with self.turn, contextlib.closing(connection):
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()

    def answer(self) -> None:
        """Give the store's answer."""
        self.seen.append(f"{self.command} {urlsplit(self.path).path}")
        self.give(*self.passed_on())

    def give(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        length = headers.pop("Content-Length", "0") if self.command == "HEAD" else str(len(body))
        for name, value in {**headers, "Content-Length": length, "Connection": "close"}.items():
            if name.lower() != "transfer-encoding":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = lambda self: self.answer()


@pytest.fixture
def relay(s3_server: str) -> Iterator[Callable[..., tuple[str, list[str]]]]:
    """A function of a kind of Relay that starts it before ``s3_server``; returns its URL and what was asked of it."""
    servers = []

    def start(kind: type[Relay] = Relay) -> tuple[str, list[str]]:
        seen: list[str] = []
        handler = type("Handler", (kind,), {"target": s3_server.removeprefix("http://"), "seen": seen})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}", seen

    start.Relay = Relay  # type: ignore[attr-defined]
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def bucket(s3_server: str, credentials: None) -> str:
    """A new, empty bucket on ``s3_server``."""
    import boto3

    name = f"spine-{uuid.uuid4().hex[:8]}"
    boto3.client("s3", endpoint_url=s3_server).create_bucket(Bucket=name)
    return name


@pytest.fixture
def credentials(monkeypatch, tmp_path):
    """Keys for boto3's own chain, and nothing of the machine's configuration; retries without waiting."""
    # boto3's default session keeps the keys that it found first.
    monkeypatch.setattr(pytest.importorskip("boto3"), "DEFAULT_SESSION", None)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def plan_recipe() -> PlanRecipe:
    """A plan that trains in a second: a coarse grid, a two-stage network."""
    return PlanRecipe(
        planner="ExperimentPlanner",
        spacing_mm=(8.0, 8.0, 8.0),
        patch=(16, 16, 32),
        batch_size=2,
        batch_dice=True,
        network=Network(features_per_stage=(4, 8, 8)),
    )


@pytest.fixture
def resampled_by_torch(tmp_path):
    """A function that copies a folder of nnU-Net's results, with plans that resample logits by its torch path.

    nnU-Net's default path rounds otherwise, so that few voxels differ, where two classes are all but as likely.
    """

    def copy(results):
        copied = tmp_path / "by torch"
        shutil.copytree(results, copied)
        for file in copied.rglob("plans.json"):
            plans = json.loads(file.read_text())
            for configuration in plans["configurations"].values():
                configuration["resampling_fn_probabilities"] = "resample_torch_fornnunet"
                configuration["resampling_fn_probabilities_kwargs"] = {"is_seg": False, "force_separate_z": None}
            file.write_text(json.dumps(plans))
        return copied

    return copy
