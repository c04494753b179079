#!/bin/sh
# Puts the project itself into /target/opt/spineline/lib, where the environment /opt/venv finds it.
# Runs in a build of infra/images/Dockerfile, in a folder with the project's sources.
set -eu
/opt/tools/bin/pip wheel --no-deps --build-constraint build-constraints.txt --wheel-dir dist .
# Empty, so that the scripts name the interpreter that they will run under.
python3 -m venv --without-pip /opt/venv
/opt/tools/bin/pip --python /opt/venv/bin/python install --no-compile --no-deps --no-index \
    --target /target/opt/spineline/lib dist/*.whl
rm -r /opt/venv
