#!/bin/sh
# Installs the service into a virtual environment: install.sh PREFIX, from the repository's root.
set -eu
prefix=${1:?usage: install.sh PREFIX}
python3 -m venv "$prefix"
"$prefix/bin/pip" install --quiet --no-cache-dir --disable-pip-version-check '.[serve]'
"$prefix/bin/python" -m compileall -q "$prefix/lib" || true # the file system is read-only later; some files of packages are for other Python versions and do not compile
