#!/bin/sh
# Writes the bill of materials of the target named here, whose packages lie in folders of /packages and whose base in /base.
# Runs in a build of infra/images/Dockerfile, after install_project.sh.
set -eu
/opt/tools/bin/python sbom.py --name "spineline/$1" --version "$VERSION" --revision "$CODE_REVISION" --at "$CREATED" \
    --packages /packages/*/lib/python3.*/site-packages /target/opt/spineline/lib --base /base \
    --output /target/opt/spineline/sbom.cdx.json
python3 settle.py /target
