#!/usr/bin/env bash
# From nothing to the main job: installs what building needs, builds kasane in release mode,
# makes stand-in base images, builds examples/node-app, shows images, history and a second
# build that is all cache hits.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/common.sh

install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${DEMO_PACKAGES[@]}"

say "building kasane (release)"
configure_release "${KASANE_TESTS:-OFF}"
cmake --build build/release --target kasane || die "the build failed; the compiler's message is above"
kasane=$PWD/build/release/bin/kasane
export KASANE_ROOT="${KASANE_ROOT:-$PWD/build/demo-store}"
say "$("$kasane" --version); images go to KASANE_ROOT=$KASANE_ROOT"

[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die "making the base images needs root (they come from mmdebstrap)"
say "making the stand-in base images node:20 and node:20-slim (cached after the first time)"
as_root env KASANE_ROOT="$KASANE_ROOT" HOME="$HOME" examples/bases/make.sh --kasane "$kasane" node:20 node:20-slim
run() { printf '\n$ kasane %s\n' "$*" >&2; as_root env KASANE_ROOT="$KASANE_ROOT" "$kasane" "$@"; }

run build -t notes:1.0.0 examples/node-app
run images
run history notes:1.0.0
say "the same build again: every step is a cache hit"
run build --explain -t notes:1.0.0 examples/node-app
say "the built program, run from the image by another tool (umoci unpacks it)"
as_root env KASANE_ROOT="$KASANE_ROOT" KASANE="$kasane" examples/node-app/run.sh
say "done. Try: KASANE_ROOT=$KASANE_ROOT $kasane images --help"
