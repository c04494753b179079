#!/bin/sh
# Puts the packages of the extras named here into /target/opt/venv, an environment without pip that is used as /opt/venv.
# Runs in a build of infra/images/Dockerfile, in a folder with pyproject.toml and the two files of constraints.
set -eu
python3 -m venv --without-pip /opt/venv
python3 list_requirements.py "$@" > requirements.txt
/opt/tools/bin/pip --python /opt/venv/bin/python install --requirement requirements.txt \
    --constraint constraints.txt --constraint build-constraints.txt --build-constraint build-constraints.txt
# The project's own code lies beside it, in a layer of its own.
for packages in /opt/venv/lib/python3.*/site-packages; do
    echo /opt/spineline/lib > "$packages/spineline.pth"
done
mkdir --parents /target/opt
mv /opt/venv /target/opt/venv
python3 settle.py /target
