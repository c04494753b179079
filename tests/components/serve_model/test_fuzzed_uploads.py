"""Uploads that hypothesis makes up: each is answered 200 or 4xx in one line, the workers live on, nothing is left."""

import gzip
import struct

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st

from components.serve_model.limits import Limits

WHO = {"actor": "ann", "reason": "for tests"}
LIMITS = Limits(upload_bytes=100_000, voxels=200_000)
FUZZ = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
HEADER = 348
# Offsets of NIfTI-1's fields that decide how the rest is read, with their types.
FIELDS = {
    "sizeof_hdr": (0, "i"),
    "ndim": (40, "h"),
    "width": (42, "h"),
    "height": (44, "h"),
    "depth": (46, "h"),
    "times": (48, "h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "qfac": (76, "f"),
    "width_mm": (80, "f"),
    "height_mm": (84, "f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern_b": (256, "f"),
    "srow_x": (280, "f"),
    "srow_y": (300, "f"),
    "srow_z": (320, "f"),
}
ODD_FLOATS = st.one_of(
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e-30, 1e30, 3e38]),
    st.floats(width=32),
)


def valid(dtype: str = "<i2") -> bytes:
    array = np.random.default_rng(0).integers(-1000, 1500, (12, 12, 12)).astype(dtype)
    return nibabel.Nifti1Image(array, np.diag([6.0, 6.0, 6.0, 1.0])).to_bytes()


@st.composite
def odd_headers(draw: st.DrawFn) -> bytes:
    """A valid file with some of the fields that matter set to something odd."""
    content = bytearray(valid(draw(st.sampled_from(["<i2", "<f4", "<f8", "u1"]))))
    for name in draw(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=3, unique=True)):
        offset, kind = FIELDS[name]
        widths = {"h": (-(2**15), 2**15 - 1), "i": (-(2**31), 2**31 - 1)}
        value = draw(ODD_FLOATS if kind == "f" else st.integers(*widths[kind]) | st.integers(0, 20))
        struct.pack_into(f"<{kind}", content, offset, value)
    return bytes(content)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid file with bytes changed anywhere, cut off, or with something behind it."""
    content = bytearray(valid())
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=12)):
        content[place] = byte
    end = draw(st.integers(0, len(content)) | st.just(len(content)))
    return bytes(content[:end]) + draw(st.binary(max_size=50))


@st.composite
def packed(draw: st.DrawFn, inner: st.SearchStrategy[bytes]) -> bytes:
    """A gzip file, perhaps damaged, of several members, or with a bomb's tail."""
    content = draw(inner)
    files = gzip.compress(content, compresslevel=1, mtime=0)
    files += draw(st.sampled_from([b"", b"\0" * 7, gzip.compress(b"more", mtime=0), gzip.compress(bytes(20_000_000))]))
    end = draw(st.integers(0, len(files)) | st.just(len(files)))
    damaged = bytearray(files[:end])
    if damaged and draw(st.booleans()):
        damaged[draw(st.integers(0, len(damaged) - 1))] ^= draw(st.integers(1, 255))
    return bytes(damaged)


PLAIN = st.one_of(odd_headers(), mutated(), st.binary(max_size=600))
UPLOADS = st.one_of(PLAIN, packed(PLAIN), packed(st.just(valid())))


@pytest.fixture
def server(serve, registry_with_two_versions):
    registry_with_two_versions.promote(1, **WHO, expected_serving=None)
    started = serve(registry_with_two_versions.root, limits=LIMITS)
    started.wait_for(1)
    return started


def require_well_answered(server, answer) -> None:
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, (answer.status_code, answer.text)
    if answer.status_code != 200:
        error = answer.json()["error"]
        assert set(answer.json()) == {"error"}
        assert error
        assert "\n" not in error
        assert str(server.root) not in error
        assert "/tmp" not in error
    assert server.files() == []


@pytest.mark.slow
def test_no_upload_harms_the_server(server) -> None:
    workers = server.service._workers

    @FUZZ
    @seed(0)
    @given(content=UPLOADS, in_form=st.booleans())
    @example(content=valid("<f8"), in_form=True)
    @example(content=valid()[:280] + struct.pack("<f", float("nan")) + valid()[284:], in_form=False)
    def send(content: bytes, in_form: bool) -> None:
        if in_form:
            answer = server.client.post("/v1/segmentations", files={"file": ("scan.nii", content)})
        else:
            answer = server.segment(content)
        require_well_answered(server, answer)

    send()
    assert server.segment(valid()).status_code == 200
    assert all(thread.is_alive() for thread in workers._threads)


@pytest.mark.slow
def test_no_form_harms_the_server(server) -> None:
    boundary = "frontier"
    pieces = st.sampled_from(
        [
            b"--frontier\r\n",
            b"--frontier--\r\n",
            b'Content-Disposition: form-data; name="file"\r\n\r\n',
            b'Content-Disposition: form-data; name="file"; filename="\xff\x00\r\n',
            b"\r\n",
            b"Content-Disposition: " + b"a" * 5000,
            valid(),
        ]
    )

    @FUZZ
    @seed(0)
    @given(parts=st.lists(pieces | st.binary(max_size=40), max_size=8))
    def send(parts: list[bytes]) -> None:
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        require_well_answered(server, server.segment(b"".join(parts), **headers))

    send()
    assert server.segment(valid()).status_code == 200
