"""Where pods mount something, a profile knows of it."""

import yaml

from pipelines.compiling import compile_all
from pipelines.mounts import CACHE, HOME, SCRATCH, SHARED_MEMORY
from pipelines.profile import load_profile


def test_the_places_that_a_profile_keeps_free_are_those_where_pods_mount_something(tmp_path):
    profile = load_profile("kueue")
    mounted = set()
    for file in compile_all(profile=profile, folds=[0, 1], output=tmp_path):
        _, platform = yaml.safe_load_all(file.read_text())
        for executor in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
            given = [*executor["pvcMount"], *executor["emptyDirMounts"]]
            mounted |= {mount["mountPath"] for mount in given}
    assert mounted == {profile.shared_root, f"{profile.shared_root}/{CACHE}", SCRATCH, HOME, SHARED_MEMORY}
