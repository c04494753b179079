"""Whatever a command is given that it can't use: exit code 2, one line that names it, nothing half-written."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spine.phantom import make_scan
from spine.phantom.raw_set import write_raw_set
from spine.settings import settings
from spine.volume.nifti import write_volume


@pytest.fixture
def place(tmp_path, masks):
    """Files and folders that are wrong, each in its way, below the current folder."""
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "other.json").write_text('{"name": "x", "scans": 3}')
    (tmp_path / "cut.json").write_text('{"name": ')
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "broken.yaml").write_text("name: [unclosed\nabout: x\n")
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    (tmp_path / "types.yaml").write_text("name: mine\nabout: x\nminimum_scans: many\nfloors: {dice_scan_mean: 0.5}\n")
    (tmp_path / "extra.yaml").write_text("name: mine\nabout: x\nminimum_scan: 2\nfloors: {dice_scan_mean: 0.5}\n")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "text.nii.gz").write_text("not gzip")
    (tmp_path / "zero.nii").write_bytes(b"")
    write_volume(tmp_path / "scan.nii.gz", make_scan(seed=1, patient=0, spacing_mm=(10.0, 10.0, 10.0)).image)
    masks("references", {"a": (20, 21), "b": (20, 21)})
    masks("foreign", {"x": (20, 21)})
    masks("predictions", {"a": (20, 21), "b": (20, 21)})
    return tmp_path


def snapshot(folder):
    return {path: path.stat().st_size if path.is_file() else None for path in folder.rglob("*")}


EVALUATE = "evaluate --references {} --predictions {} --output out/evaluation.json"
COMMANDS = {
    # arguments: words that the one line must hold
    "nonsense": ["No such command 'nonsense'"],
    "versions --nope": ["No such option: --nope"],
    "prepare": ["Missing argument 'raw'"],
    "prepare nowhere": ["nowhere: not found", "expected a folder of raw scans"],
    "prepare file": ["file: not found", "expected a folder of raw scans"],
    "prepare empty": ["empty: holds ", "expected kaggle: volumes/ and segmentations/", "; or verse: rawdata/"],
    "prepare empty --layout bids": ["unknown layout 'bids'", "ctspine1k, dicom, kaggle"],
    "prepare empty --labels kits": ["unknown label map 'kits'", "ctspine1k, ours, totalsegmentator, verse"],
    "prepare empty --rejects-allowed 2": ["share of rejects allowed is 2.0", "a number from 0 to 1"],
    "prepare empty --set-aside nope.yaml": ["file of cases set aside is 'nope.yaml'", "a YAML file"],
    "label-issues": ["evaluations: not found", "an evaluated candidate"],
    "label-issues nowhere": ["suspects.json: not found", "the suspects of an evaluation"],
    "token": ["Give exactly one of NAME, --list, --revoke"],
    "token ann --list": ["Give exactly one of NAME, --list, --revoke"],
    "status 3f2a91c0 --repair": ["--repair cannot be combined with RUN"],
    "exclude case_1": ["Missing option '--reason'"],
    "exclude case_1 --reason=": ["case and reason is 'case_1'", "a reason"],
    "phantom out --scans 0": ["scans is 0", "1 or more"],
    "phantom out --layout bids": ["unknown layout 'bids'", "kaggle, totalsegmentator"],
    "prepare empty --seed one": ["--seed", "'one'", "valid integer"],
    "prepare empty --test-share 2": ["test share is 2.0", "between 0 and 1"],
    "run --on mars": ["'mars'", "'local', 'kubernetes'"],
    "run --recipe nope": ["unknown recipe 'nope'", "demo, demo-longer"],
    "run --recipe nope.yaml": ["nope.yaml: not found"],
    "run --recipe broken.yaml": ["broken.yaml: not YAML at line 2"],
    "run --recipe list.yaml": ["list.yaml: the whole file"],
    "run --policy nope": ["unknown policy 'nope'", "demo, research"],
    "run --policy types.yaml": ["types.yaml: minimum_scans", "'many'"],
    "run --policy binary.yaml": ["binary.yaml: can't be read", "UTF-8"],
    "run --folds 7": ["--folds", "training.folds.0", "found 7"],
    "run --folds 0,0": ["name a fold twice"],
    "run --folds one": ["--folds", "'one'"],
    "run --start-from best": ["--start-from", "'best'", "valid integer"],
    "run --start-from -3": ["--start-from", "'-3'", "greater than or equal to 0"],
    "run --dataset -x": ["dataset is '-x'", "a branch, tag or commit"],
    "run --repository https://ann:s3cret@git.example/d.git": ["'https://ann:…@git.example/d.git'", "credential helper"],
    "run --on kubernetes --profile nope": ["unknown profile 'nope'", "kubernetes, kubernetes-one-node, kueue, local"],
    "run --on kubernetes": ["repository is '.'", "a git URL"],
    "run --on kubernetes --profile local": ["profile is 'local'", "kubernetes section"],
    "compile --profile nope": ["unknown profile 'nope'", "kubernetes, kubernetes-one-node, kueue, local"],
    "compile --profile broken.yaml": ["broken.yaml: not YAML"],
    "compile --recipe nope": ["unknown recipe 'nope'"],
    "compile --folds 1,,2": ["--folds", "''"],
    "compile --output file": ["file: is a file", "expected a folder"],
    "evaluate --references references": ["Missing option '--predictions'"],
    EVALUATE.format("nowhere", "predictions"): ["nowhere: not found", "reference label maps"],
    EVALUATE.format("references", "nowhere"): ["nowhere: not found", "prediction label maps"],
    EVALUATE.format("empty", "predictions"): ["empty/*.nii.gz: not found", "at least one reference"],
    EVALUATE.format("references", "foreign"): ["foreign is 'x'", "files named as the references"],
    EVALUATE.format("references", "damaged"): ["damaged/a.nii.gz", "not gzip"],
    EVALUATE.format("references", "shifted"): ["different grids", "origin"],
    EVALUATE.format("references", "high"): ["b.nii.gz: label 26 found", "0-25"],
    "gate --policy demo": ["Missing option '--candidate'"],
    "gate --candidate nowhere.json --policy demo": ["nowhere.json: not found", "spineline evaluate"],
    "gate --candidate list.json --policy demo": ["list.json: the whole file"],
    "gate --candidate other.json --policy demo": ["other.json: scans", "found 3"],
    "gate --candidate cut.json --policy demo": ["cut.json: not JSON"],
    "gate --candidate binary.json --policy demo": ["binary.json: not JSON"],
    "gate --candidate empty --policy demo": ["empty: not found"],
    "gate --candidate good.json --policy nope": ["unknown policy 'nope'", "demo, research"],
    "gate --candidate good.json --policy broken.yaml": ["broken.yaml: not YAML at line 2"],
    "gate --candidate good.json --policy extra.yaml": ["extra.yaml: minimum_scan"],
    "gate --candidate good.json --policy demo --champion other.json": ["other.json: scans"],
    "compare": ["Missing argument 'MODELS'"],
    "compare 1": ["what to compare is '1'", "2 to 6 different ones"],
    "compare 1 1": ["what to compare is '1 1'", "2 to 6 different ones"],
    "compare 1 one": ["one: not found", "the number of a version"],
    "compare 1 2": ["unknown version '1'", "none yet"],
    "approve 1": ["Missing option '--reason'"],
    "approve 1 --reason why": ["unknown version '1'", "none yet"],
    "approve one --reason why": ["'version'", "'one'"],
    "promote 0 --reason why": ["'version'", "'0'", "greater than or equal to 1"],
    "promote 7 --reason why": ["unknown version '7'", "none yet"],
    "promote 7": ["Missing option '--reason'"],
    "revoke 7 --reason why": ["unknown version '7'", "none yet"],
    "rollback": ["Missing option '--reason'"],
    "rollback --reason why": ["no version to roll back to", "none was promoted yet", "expected one that served"],
    "rollback --reason why --to 3": ["unknown version '3'"],
    "rollback --reason why --to three": ["--to", "'three'"],
    "predict scan.nii.gz": ["Missing argument", "OUT"],
    "predict scan.nii.gz mask.txt": ["OUT is 'mask.txt'", ".nii.gz or .nii"],
    "predict scan.nii.gz scan.nii.gz": ["OUT is 'scan.nii.gz'", "another file than IN"],
    "predict nowhere.nii.gz mask.nii.gz": ["nowhere.nii.gz: not found"],
    "predict file mask.nii.gz": ["file: '' is no NIfTI suffix"],
    "predict text.nii.gz mask.nii.gz": ["text.nii.gz: is named .nii.gz but is not gzip"],
    "predict zero.nii mask.nii.gz": ["zero.nii: has zero bytes"],
    "predict empty mask.nii.gz": ["empty: not found"],
    "predict scan.nii.gz mask.nii.gz": ["No version is promoted in", "spineline promote"],
    "predict scan.nii.gz mask.nii.gz --version 9": ["unknown version '9'", "none yet"],
    "predict scan.nii.gz mask.nii.gz --version 0": ["unknown version '0'", "none yet"],
    "predict scan.nii.gz mask.nii.gz --version new": ["--version", "'new'"],
    "serve --port 99999": ["--port", "'99999'", "65535"],
    "serve --port http": ["--port", "'http'"],
    "ui --port 0": ["--port", "'0'"],
    "demo now": ["now"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_bad_input_is_one_line_and_exit_2_and_writes_nothing(place, spineline, masks, command):
    if "damaged" in command:
        (masks("damaged", {"a": (20, 21), "b": (20, 21)}) / "a.nii.gz").write_text("not gzip")
    if "shifted" in command:
        spoil_grid(masks("shifted", {"a": (20, 21), "b": (20, 21)}) / "a.nii.gz")
    if "high" in command:
        masks("high", {"a": (20, 21), "b": (20, 26)})
    if "good.json" in command:
        given = ("--references", "references", "--predictions", "predictions", "--output", "good.json")
        assert spineline("evaluate", *given).code == 0
    before = snapshot(place)
    told = spineline(*command.split())
    assert told.code == 2
    assert told.error.startswith("error: ")
    for words in COMMANDS[command]:
        assert words in told.error
    assert any(word in told.error for word in ("expected", "Give", "cannot", "spineline")), "it says what to do"
    assert "Traceback" not in told.err and told.out == ""
    assert snapshot(place) == before


def spoil_grid(path):
    import nibabel
    import numpy as np

    image = nibabel.load(path)
    affine = image.affine.copy()
    affine[0, 3] += 5
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), affine), path)


def test_without_a_command_the_help_is_shown_and_nothing_is_called_an_error(spineline):
    told = spineline()
    assert told.code == 2
    assert "Registry" in told.out + told.err and "error" not in told.err


def test_a_file_in_place_of_the_output_s_folder_is_told(place, spineline):
    given = ("--references", "references", "--predictions", "predictions", "--output", "file/evaluation.json")
    told = spineline("evaluate", *given)
    assert told.code == 2 and "file" in told.error and "expected" in told.error


@pytest.mark.parametrize("output", [".", "raw", "home", "file"])
def test_prepare_never_replaces_a_folder_that_is_no_prepared_set(place, spineline, output):
    write_raw_set(place / "raw", scans=1, seed=1)
    (place / "home").mkdir()
    (place / "home" / "thesis.txt").write_text("years of work")
    before = snapshot(place)
    told = spineline("prepare", "raw", "--output", output)
    assert told.code == 2 and told.error.startswith(f"error: output is '{output}'; expected")
    assert snapshot(place) == before


def events(registry):
    return [(event.number, event.kind) for event in registry.history()]


WITH_VERSIONS = {
    "approve 1 --reason again": ["version 1 is approved", "registered version"],
    "approve 9 --reason why": ["unknown version '9'", "1, 2"],
    "promote 9 --reason why": ["unknown version '9'", "1, 2"],
    "predict scan.nii.gz mask.nii.gz": ["No version is promoted in"],
    "predict scan.nii.gz mask.nii.gz --version 9": ["unknown version '9'", "1, 2"],
    "compare 1 9": ["unknown version '9'", "1, 2"],
    "compare 2 2": ["what to compare is '2 2'"],
    "rollback --reason why": ["no version to roll back to"],
    "rollback --reason why --to 2": ["version 2 is approved", "has served"],
    "revoke 9 --reason why": ["unknown version '9'", "1, 2"],
    "revoke 1 --reason=": ["reason is ''", "a sentence"],
}


@pytest.mark.slow
@pytest.mark.parametrize("command", WITH_VERSIONS)
def test_bad_input_about_versions_leaves_the_ledger_as_it_was(place, registry_with_two_versions, spineline, command):
    before = events(registry_with_two_versions)
    told = spineline(*command.split())
    assert told.code == 2 and told.error.startswith("error: ")
    for words in WITH_VERSIONS[command]:
        assert words in told.error
    assert events(registry_with_two_versions) == before
    assert not (place / "mask.nii.gz").exists()


@pytest.mark.slow
def test_a_bundle_that_was_changed_is_neither_promoted_nor_used(place, registry_with_two_versions, spineline):
    target = registry_with_two_versions.root / "versions" / "1" / "evaluation.json"
    target.write_text(target.read_text() + " ")
    for command in ("promote 1 --reason why", "predict scan.nii.gz mask.nii.gz --version 1", "compare 1 2"):
        told = spineline(*command.split())
        assert told.code == 2 and "evaluation.json" in told.error and "digest" in told.error
    assert registry_with_two_versions.state().serving is None
    assert not (place / "mask.nii.gz").exists()


@pytest.mark.parametrize("command", ["versions", "history", "status", "approve 1 --reason why", "promote 1 --reason x"])
def test_a_ledger_that_was_tampered_with_is_told_by_every_command(place, root, spineline, command):
    (root / "ledger").mkdir(parents=True)
    (root / "ledger" / "000001.json").write_text('{"kind": "promote"}')
    told = spineline(*command.split())
    assert told.code == 2 and "event 1 of the ledger was changed" in told.error
    assert [path.name for path in (root / "ledger").iterdir()] == ["000001.json"]


def test_a_cluster_that_doesn_t_answer_is_one_line(place, spineline):
    told = spineline(
        "run", "--on", "kubernetes", "--host", "http://127.0.0.1:9", "--repository", "https://git.example.org/d.git"
    )
    assert told.code == 2
    assert "http://127.0.0.1:9 does not answer" in told.error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "words"),
    [(["--dataset", "v9"], "unknown revision 'v9'"), (["--dataset", "HEAD"], "dvc.lock: not found")],
)
def test_a_run_on_data_that_are_not_there_names_the_step_and_the_reason(place, spineline, option, words):
    repository = place / "repository"
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for arguments in (["init", "-q", "."], [*identity, "commit", "-q", "--allow-empty", "-m", "x"]):
        repository.mkdir(exist_ok=True)
        subprocess.run(["git", *arguments], cwd=repository, check=True)
    told = spineline("run", "--recipe", "demo", "--policy", "demo", "--repository", repository, *option)
    assert told.code == 2
    last = told.err.splitlines()[-1]
    assert last.startswith("error: step 'pull_dataset' failed: ") and words in last and "expected" in last
    assert "Traceback" not in told.err


def _listen_to_interrupts():
    # A shell starts what it puts into the background deaf to interrupts, and a test run passes that on.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupt_is_told_in_one_line_with_status_130(place, root):
    write_raw_set(place / "raw", scans=3, seed=1)
    for number in range(60):
        for kind in ("volumes", "segmentations"):
            shutil.copy(place / "raw" / kind / "case_0000.nii.gz", place / "raw" / kind / f"copy_{number}.nii.gz")
    command = [sys.executable, "-m", "pipelines.cli", "prepare", "raw", "--output", "prepared"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    streams = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, preexec_fn=_listen_to_interrupts, **streams) as run:
        assert "check and convert" in run.stderr.readline()
        run.send_signal(signal.SIGINT)
        _, told = run.communicate(timeout=60)
    assert run.returncode == 130
    (line,) = (line for line in told.splitlines() if not line.startswith("prepare_dataset: "))
    assert line.startswith("interrupted; run the same command again")
    # Cases that were finished are kept for the next call, out of sight; nothing has the output's name.
    assert [path.name for path in place.iterdir() if "prepared" in path.name] == [".prepared.cases"]


def test_a_wrong_variable_of_the_environment_is_named(spineline, monkeypatch):
    monkeypatch.setenv("SPINELINE_PORT", "high")
    settings.cache_clear()
    told = spineline("versions")
    assert told.code == 2 and "SPINELINE_PORT is 'high'; expected" in told.error


def test_json_is_asked_of_a_listing_even_where_there_is_nothing(spineline):
    for command in ("versions", "history"):
        told = spineline(command, "--json")
        assert (told.code, json.loads(told.out), told.err) == (0, [], "")
