#!/bin/sh
# Starts the service in the container. Options of `unveil serve` may follow.
set -eu
exec unveil serve --host "${UNVEIL_HOST:-0.0.0.0}" --port "${UNVEIL_PORT:-8000}" "$@"
