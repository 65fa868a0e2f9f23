#!/usr/bin/env bash
# Installs what the tests need and runs them all: unit tests, architecture test and the
# end-to-end tests against buildah, skopeo and umoci. Extra arguments go to ctest.
# KASANE_LONG=1 adds the long sweeps (see CONTRIBUTING.md).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/common.sh

install_packages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}" "${DEMO_PACKAGES[@]}"
[ "$(id -u)" = 0 ] || say "not root: the tests that need root will be skipped visibly"

say "building kasane and its tests (release)"
configure_release ON
cmake --build build/release || die "the build failed; the compiler's message is above"

say "running the tests"
export KASANE="$PWD/build/release/bin/kasane"
ctest --test-dir build/release --output-on-failure -j2 "$@"
