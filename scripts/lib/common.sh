# Sourced by the scripts beside it: messages, root check, package lists.

say() { printf '\n==> %s\n' "$*" >&2; }
die() { printf '\nerror: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null 2>&1; then sudo "$@"
  else die "this step needs root: run it as root or install sudo"
  fi
}

BUILD_PACKAGES=(g++ cmake ninja-build ccache mold libssl-dev zlib1g-dev libisal-dev libzstd-dev
  liblzma-dev libbz2-dev libsqlite3-dev nlohmann-json3-dev libfmt-dev libcap-dev libseccomp-dev
  libexpected-dev libcurl4-openssl-dev libtomlplusplus-dev libboost-dev libcrypt-dev)
# What kasane itself calls, and only for ADD and contexts from the network.
RUN_PACKAGES=(libcurl4 git ca-certificates)
# What examples/bases and examples/node-app need on the host.
DEMO_PACKAGES=(mmdebstrap busybox-static ca-certificates xz-utils umoci)
TEST_PACKAGES=(libgtest-dev libgmock-dev python3 python3-jsonschema python3-yaml buildah crun runc skopeo umoci
  strace attr acl libcap2-bin uidmap busybox-static zstd xz-utils bzip2 git openssh-client
  fuse-overlayfs passt slirp4netns docker-registry apache2-utils openssl iproute2 libfaketime e2fsprogs man-db mandoc zsh)
BENCH_PACKAGES=(docker.io iptables buildah runc busybox-static strace python3)

# install_packages NAME...: installs what is missing, and nothing when all is there.
install_packages() {
  command -v dpkg-query >/dev/null 2>&1 || die "kasane's scripts need Debian 12 (dpkg is missing)"
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing: ${missing[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq \
    || die "apt-get update failed: is a Debian mirror configured and reachable?"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    || die "apt-get install failed for: ${missing[*]}"
}

# configure_release ON|OFF: one build folder for both README commands, so that nothing is
# compiled twice.
configure_release() {
  cmake --preset release -DKASANE_TESTS="$1" >/dev/null || die "cmake could not configure the build"
}
