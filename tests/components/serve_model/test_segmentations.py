"""Scans in, masks or reports out; everything else in, one line and a 4xx out."""

import gzip
import struct
import threading
import time
from collections.abc import Callable
from unittest.mock import Mock

import httpx
import nibabel
import numpy as np
import pytest

from components.serve_model.engine import LiveModel
from components.serve_model.errors import FullError, TooManyUploadsError
from components.serve_model.limits import Limits
from components.serve_model.token_changes import make_token
from components.serve_model.upload_quota import Senders
from model_registry.models import load_segmenter
from spine.labels import NAMES
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

WHO = {"actor": "ann", "reason": "for tests"}
LIMITS = Limits(upload_bytes=400_000, voxels=1_000_000)


@pytest.fixture
def server(serve, registry_with_two_versions):
    registry_with_two_versions.promote(1, **WHO, expected_serving=None)
    started = serve(registry_with_two_versions.root, limits=LIMITS)
    started.wait_for(1)
    return started


@pytest.fixture
def expected(registry_with_two_versions, scan) -> Volume:
    """The mask by the segmenter itself."""
    import torch

    segmenter = load_segmenter(registry_with_two_versions.bundle(1), device=torch.device("cpu"), threads=1)
    return segmenter.segment(Volume(array=scan.array.astype(np.float32), grid=scan.grid))


def nifti(array: np.ndarray, *, affine: np.ndarray | None = None) -> bytes:
    matrix = np.diag([6.0, 6.0, 6.0, 1.0]) if affine is None else affine
    return nibabel.Nifti1Image(array, matrix).to_bytes()


def cube(edge: int = 16, dtype: type = np.int16) -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1500, (edge,) * 3).astype(dtype)


def test_the_mask_is_the_segmenters_on_the_scans_own_grid(server, scan, scan_bytes, expected) -> None:
    for content in (scan_bytes, gzip.decompress(scan_bytes)):
        answer = server.segment(content)
        assert answer.status_code == 200, answer.text
        image = nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.content))
        mask = np.asanyarray(image.dataobj)
        assert mask.dtype == np.uint8
        assert Grid.of(mask.shape, image.affine).difference(scan.grid) is None
        assert np.array_equal(mask, expected.array)
    assert server.files() == []


def test_a_form_is_accepted_as_well_as_a_raw_body(server, scan_bytes) -> None:
    raw = server.segment(scan_bytes)
    fields = {"note": (None, "ignored"), "file": ("scan.nii.gz", scan_bytes, "application/octet-stream")}
    form = server.client.post("/v1/segmentations", files=fields)
    assert form.status_code == 200
    assert form.content == raw.content


def test_json_tells_of_every_voxel_of_the_mask(server, scan, scan_bytes, expected) -> None:
    report = server.segment(scan_bytes, Accept="application/json").json()
    assert report["version"] == 1
    assert report["model_digest"].startswith("sha256:")
    assert "not for clinical use" in report["disclaimer"]
    assert report["grid"]["orientation"] == "PIR"
    assert report["grid"]["shape"] == list(scan.grid.shape)
    told = sum(report["stray_voxels"].values())
    for found in report["vertebrae"]:
        assert found["name"] == NAMES[found["label"]]
        assert found["volume_mm3"] == pytest.approx(found["voxels"] * 216)
        assert 0 <= found["confidence"] <= 1
        told += found["voxels"]
    assert told == np.count_nonzero(expected.array)


def not_a_number() -> bytes:
    array = cube(dtype=np.float32)
    array[3, 3, 3] = np.nan
    return nifti(array)


def sheared() -> bytes:
    affine = np.diag([6.0, 6.0, 6.0, 1.0])
    affine[0, 1] = 2.0
    return nifti(cube(), affine=affine)


def placed(*, sform: int, qform: int, width_mm: float = 6.0, offset: float = 0.0) -> bytes:
    content = bytearray(nifti(cube()))
    struct.pack_into("<hh", content, 252, qform, sform)
    struct.pack_into("<f", content, 80, width_mm)
    struct.pack_into("<ff", content, 112, 1.0, offset)
    return bytes(content)


def test_what_is_wrong_with_a_scan_is_said_in_a_sentence(server) -> None:
    for content, told in (
        (not_a_number(), "the scan has 1 voxels that are NaN or infinite; expected finite HU"),
        (placed(sform=0, qform=0), "the scan has no orientation in its header (qform_code and sform_code are 0)"),
        (placed(sform=1, qform=1, width_mm=3.0), "6 × 6 × 6 mm by its sform and of 3 × 6 × 6 mm by its qform"),
        (placed(sform=1, qform=0, offset=3e38), "the scan has voxels of 3e+38 HU"),
    ):
        assert told in server.segment(content).json()["error"]
    assert server.segment(placed(sform=1, qform=1, width_mm=6.01)).status_code == 200
    assert server.segment(placed(sform=0, qform=1)).status_code == 200


def wild_header() -> bytes:
    return nifti(cube())[:40] + b"\xff" * 100 + nifti(cube())[140:]


BAD: list[tuple[str, Callable[[], bytes], int]] = [
    ("empty", lambda: b"", 400),
    ("not NIfTI", lambda: b"%PDF-1.7 " + b"x" * 5000, 400),
    ("a few bytes", lambda: b"abc", 400),
    ("gzip of something else", lambda: gzip.compress(b"hello" * 1000), 400),
    ("truncated gzip", lambda: gzip.compress(nifti(cube()))[:-2000], 400),
    ("gzip without its end", lambda: gzip.compress(nifti(cube()))[:-4], 400),
    ("damaged gzip", lambda: gzip.compress(nifti(cube()))[:500] + b"\0" * 4000, 400),
    ("truncated", lambda: nifti(cube())[:-100], 400),
    ("header only", lambda: nifti(cube())[:352], 400),
    ("wild header", wild_header, 400),
    ("4-D", lambda: nifti(np.zeros((4, 4, 4, 3), np.int16)), 422),
    ("2-D", lambda: nifti(np.zeros((8, 8), np.int16)), 422),
    ("NaN", not_a_number, 422),
    ("colours", lambda: nifti(np.zeros((8, 8, 8), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))), 422),
    ("complex", lambda: nifti(np.zeros((8, 8, 8), np.complex64)), 422),
    ("sheared", sheared, 422),
    ("without orientation", lambda: placed(sform=0, qform=0), 422),
    ("of two voxel sizes", lambda: placed(sform=1, qform=1, width_mm=3.0), 422),
    ("no HU", lambda: nifti(np.full((16, 16, 16), 3e38, np.float32)), 422),
    ("no HU once scaled", lambda: placed(sform=1, qform=0, offset=3e38), 422),
    ("thinner than a voxel of the model", lambda: nifti(cube(8), affine=np.diag([0.1, 0.1, 0.1, 1])), 422),
    ("longer than a body", lambda: nifti(cube(8), affine=np.diag([900.0, 900.0, 900.0, 1])), 422),
    ("huge at the model's spacing", lambda: nifti(cube(8), affine=np.diag([90.0, 99.0, 400.0, 1])), 413),
    ("too many voxels", lambda: gzip.compress(nifti(np.zeros((101, 100, 100), np.uint8))), 413),
    ("too many bytes", lambda: nifti(cube(60)), 413),
]


@pytest.mark.parametrize("in_form", [False, True], ids=["raw", "form"])
def test_what_is_no_ct_volume_is_refused_in_one_line_and_the_next_is_served(server, scan_bytes, in_form: bool) -> None:
    for name, build, status in BAD:
        content = build()
        if in_form:
            answer = server.client.post("/v1/segmentations", files={"file": ("scan.nii", content)})
        else:
            answer = server.segment(content)
        assert answer.status_code == status, (name, answer.status_code, answer.text)
        error = answer.json()["error"]
        assert "\n" not in error
        assert str(server.root) not in error
        assert "/tmp" not in error, (name, error)
    assert server.segment(scan_bytes).status_code == 200
    assert server.files() == []


def test_thin_and_tiny_scans_are_answered(server) -> None:
    for shape in ((1, 20, 20), (20, 20, 1), (2, 2, 2), (20, 20, 20, 1)):
        answer = server.segment(nifti(np.zeros(shape, np.int16)))
        assert answer.status_code == 200, (shape, answer.text)


def test_a_gzip_bomb_is_refused_quickly(server) -> None:
    bomb = gzip.compress(nifti(cube(8)) + bytes(200_000_000), compresslevel=9)
    assert len(bomb) < LIMITS.upload_bytes
    started = time.monotonic()
    answer = server.segment(bomb)
    assert answer.status_code == 400
    assert "more than its header says" in answer.json()["error"]
    assert time.monotonic() - started < 1


def test_an_upload_without_a_length_is_cut_off_at_the_limit(server) -> None:
    sent = 0

    def endless():
        nonlocal sent
        while sent < 200 * LIMITS.upload_bytes:
            sent += 65536
            yield bytes(65536)

    try:
        status = server.client.post("/v1/segmentations", content=endless()).status_code
    except httpx.WriteError:
        status = 413
    assert status == 413


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"no form at all"),
        ("multipart/form-data; boundary=" + "x" * 30_000, b"--" + b"x" * 30_000 + b"--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n" * 100_000 + b"--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\nhi\r\n--x--\r\n',
        ),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nbreaks off'),
    ],
)
def test_a_malformed_form_is_refused(server, content_type: str, body: bytes) -> None:
    answer = server.segment(body, **{"Content-Type": content_type})
    assert answer.status_code == 400, answer.text
    assert "error" in answer.json()


def test_unknown_paths_and_methods_answer_in_json(server) -> None:
    assert server.client.get("/v1/nothing").json()["error"].endswith("not found")
    assert server.client.get("/v1/segmentations").status_code == 405


def test_a_stalled_upload_gives_up_its_place(server, scan_bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.serve_model.uploads._STALLED_S", 0.1)

    def stalling():
        yield scan_bytes[:100]
        time.sleep(0.5)
        yield scan_bytes[100:]

    assert server.client.post("/v1/segmentations", content=stalling()).status_code == 408
    assert server.segment(scan_bytes).status_code == 200


def test_an_upload_that_trickles_gives_up_its_place(server, scan_bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.serve_model.uploads._STALLED_S", 0.3)

    def trickling():
        for byte in scan_bytes[:100]:
            yield bytes([byte])
            time.sleep(0.02)

    answer = server.client.post("/v1/segmentations", content=trickling())
    assert answer.status_code == 408
    assert "bytes of the upload came" in answer.json()["error"]


def test_more_requests_than_may_wait_are_sent_away(
    serve, registry_with_two_versions, scan_bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry_with_two_versions.promote(1, **WHO, expected_serving=None)
    server = serve(registry_with_two_versions.root, limits=Limits(waiting=1))
    server.wait_for(1)
    decode = LiveModel.decode

    def meanwhile(model, scan, *, on_progress=None):
        answer = server.segment(scan_bytes)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        return decode(model, scan, on_progress=on_progress)

    with httpx.Client(base_url=server.client.base_url, timeout=60, trust_env=False) as other:
        with monkeypatch.context() as busy:
            busy.setattr(LiveModel, "decode", meanwhile)
            assert other.post("/v1/segmentations", content=scan_bytes).status_code == 200
        assert other.post("/v1/segmentations", content=scan_bytes).status_code == 200


def test_slow_uploads_of_one_caller_keep_no_other_out(serve, registry_with_two_versions, scan_bytes, tmp_path) -> None:
    registry_with_two_versions.promote(1, **WHO, expected_serving=None)
    path = tmp_path / "tokens.yaml"
    slow, other = (make_token(path, name=name, role="reader", lasts=None) for name in ("sam", "rita"))
    server = serve(registry_with_two_versions.root, limits=Limits(waiting=1), tokens=path)
    server.wait_for(1)
    statuses = []

    def sent_slowly():
        yield scan_bytes[:100]
        server.wait_until(lambda: server.files() != [], told="the slow upload to begin")
        for token in (slow, other):
            statuses.append(server.segment(scan_bytes, Authorization=f"Bearer {token}").status_code)
        yield scan_bytes[100:]

    with httpx.Client(base_url=server.client.base_url, timeout=60, trust_env=False) as client:
        sender = {"Authorization": f"Bearer {slow}"}
        statuses.append(client.post("/v1/segmentations", content=sent_slowly(), headers=sender).status_code)
    assert statuses == [429, 200, 200]
    assert server.segment(scan_bytes, **sender).status_code == 200


def test_half_of_the_disk_room_is_all_that_one_caller_fills_with_unfinished_uploads() -> None:
    senders = Senders(most_uploads=2, most_bytes=100)
    with senders.sending("sam") as first, senders.sending("sam") as second, senders.sending("rita") as other:
        first.take(60)
        with pytest.raises(FullError):
            second.take(60)
        other.take(60)
        with pytest.raises(TooManyUploadsError) as refused, senders.sending("sam"):
            pass
        assert refused.value.retry_after_s > 0
    with senders.sending("sam") as again:
        again.take(100)


def test_a_scan_that_memory_never_holds_is_refused_before_it_is_unpacked(
    serve, registry_with_two_versions, scan_bytes
) -> None:
    registry_with_two_versions.promote(1, **WHO, expected_serving=None)
    server = serve(registry_with_two_versions.root, limits=Limits(memory_bytes=1_000_000))
    server.wait_for(1)
    answer = server.segment(scan_bytes)
    assert answer.status_code == 413
    assert "GiB of memory" in answer.json()["error"]


def test_uploads_that_fill_the_disk_room_are_sent_away(serve, registry_with_two_versions, scan_bytes) -> None:
    registry_with_two_versions.promote(1, **WHO, expected_serving=None)
    server = serve(registry_with_two_versions.root, limits=Limits(disk_bytes=len(scan_bytes)))
    server.wait_for(1)
    assert server.segment(scan_bytes + b"\0").status_code == 503
    assert server.segment(scan_bytes).status_code == 200
    assert server.files() == []


def test_a_client_that_sends_it_all_before_it_reads_gets_to_know_why_it_was_refused(serve, tmp_path) -> None:
    server = serve(tmp_path)
    answer = server.segment(bytes(8_000_000))
    assert answer.status_code == 503
    assert "no model version" in answer.json()["error"]


def test_a_first_version_that_is_being_loaded_is_named(serve, tmp_path) -> None:
    server = serve(tmp_path)
    server.service.watcher.wanted = 3
    for path in ("/readyz", "/ping"):
        answer = server.client.get(path)
        assert answer.status_code == 503
        assert "version 3 is being loaded" in answer.json()["error"]
        assert int(answer.headers["retry-after"]) > 0


def test_several_scans_at_once_are_answered_as_one_by_one(server, scan_bytes) -> None:
    alone = server.segment(scan_bytes).content
    answers: list[httpx.Response] = []

    def ask() -> None:
        with httpx.Client(base_url=server.client.base_url, timeout=60, trust_env=False) as client:
            answers.append(client.post("/v1/segmentations", content=scan_bytes))

    clients = [threading.Thread(target=ask) for _ in range(6)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(60)
    assert [answer.status_code for answer in answers] == [200] * 6
    assert {answer.content for answer in answers} == {alone}


def test_what_is_under_way_with_a_version_that_is_revoked_is_not_answered(
    server, scan_bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = LiveModel.decode

    def revoked_meanwhile(model, scan, *, on_progress=None):
        decoded = decode(model, scan, on_progress=on_progress)
        server.service.engine.drop(1)
        return decoded

    monkeypatch.setattr(LiveModel, "decode", revoked_meanwhile)
    answer = server.segment(scan_bytes)
    assert answer.status_code == 503
    assert "revoked" in answer.json()["error"]


def test_a_prediction_that_runs_out_of_memory_or_fails_leaves_the_server_as_it_was(
    server, scan_bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for reason, status in (("DefaultCPUAllocator: can't allocate memory", 503), ("an odd scan", 500)):
        with monkeypatch.context() as failing:
            failing.setattr(LiveModel, "decode", Mock(side_effect=RuntimeError(reason)))
            answer = server.segment(scan_bytes)
        assert answer.status_code == status
        assert reason not in answer.text
    assert server.segment(scan_bytes).status_code == 200
    assert server.files() == []
