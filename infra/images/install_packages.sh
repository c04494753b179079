#!/bin/sh
# Puts the packages of the extras named here into /target/opt/venv, an environment without pip that is used as /opt/venv;
# with --shared, those that all of the extras list. Where packages are mounted at /opt/venv, only the files that are added
# to them. Runs in a build of infra/images/Dockerfile, in a folder with pyproject.toml and the two files of constraints.
set -eu
python3 added_files.py list /opt/venv > before.json
[ -e /opt/venv/pyvenv.cfg ] || python3 -m venv --without-pip /opt/venv
python3 list_requirements.py "$@" > requirements.txt
/opt/tools/bin/pip --python /opt/venv/bin/python install --no-compile --requirement requirements.txt \
    --constraint constraints.txt --constraint build-constraints.txt --build-constraint build-constraints.txt
# The project's own code lies beside it, in a layer of its own.
for packages in /opt/venv/lib/python3.*/site-packages; do
    [ -e "$packages/spineline.pth" ] || echo /opt/spineline/lib > "$packages/spineline.pth"
done
mkdir --parents /target/opt/venv
python3 added_files.py move /opt/venv /target/opt/venv < before.json
python3 settle.py /target
