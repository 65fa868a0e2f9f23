#!/usr/bin/env bash
# Installs Debian packages: install-deps.sh build|run|demo|test|bench ...
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib/common.sh
[ $# -gt 0 ] || die "usage: scripts/install-deps.sh build|run|demo|test|bench ..."
for set in "$@"; do
  case $set in
    build) install_packages "${BUILD_PACKAGES[@]}" ;;
    run) install_packages "${RUN_PACKAGES[@]}" ;;
    demo) install_packages "${DEMO_PACKAGES[@]}" ;;
    test) install_packages "${RUN_PACKAGES[@]}" "${TEST_PACKAGES[@]}" ;;
    bench) install_packages "${BENCH_PACKAGES[@]}" ;;
    *) die "unknown package set: $set" ;;
  esac
done
