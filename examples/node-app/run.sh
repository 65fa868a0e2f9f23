#!/usr/bin/env bash
# Builds this folder's image with kasane, unpacks it with umoci (a program that
# has nothing to do with kasane) and runs the service's self-test from it, as
# the image's user.  Needs root, for chroot.
#
#   run.sh [--no-build] [-f DOCKERFILE] [IMAGE]
#
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kasane=${KASANE:-kasane}
dockerfile=Dockerfile build=1 image=''
die() { printf 'run.sh: error: %s\n' "$*" >&2; exit 1; }
say() { printf 'run.sh: %s\n' "$*" >&2; }

while [ $# -gt 0 ]; do
    case $1 in
        --no-build) build=0 ;;
        -f) dockerfile=${2:?-f needs a name}; shift ;;
        -h|--help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
        -*) die "unknown option $1" ;;
        *) image=$1 ;;
    esac
    shift
done
if [ -z "$image" ]; then
    if [ "$dockerfile" = Dockerfile ]; then image=kasane-example-notes:latest; else image=kasane-example-notes:single; fi
fi

command -v "$kasane" >/dev/null || die "no kasane program found: put it in PATH or set KASANE"
command -v umoci >/dev/null || die "umoci is missing (it unpacks the image). Install it: apt-get install -y umoci"
for p in chroot tar; do command -v $p >/dev/null || die "'$p' is missing"; done
[ "$(id -u)" = 0 ] || die "chroot needs root"

tmp=$(mktemp -d)
trap 'rm -rf --one-file-system "$tmp"' EXIT

if [ $build = 1 ]; then
    say "building $image from $dockerfile"
    "$kasane" build -t "$image" -f "$here/$dockerfile" "$here"
fi

say "saving $image and unpacking it with umoci"
"$kasane" save -o "$tmp/image.tar" "$image"
mkdir "$tmp/oci"
tar -xf "$tmp/image.tar" -C "$tmp/oci"
[ -e "$tmp/oci/index.json" ] || die "'$kasane save' wrote no OCI layout (index.json is missing)"
[ -e "$tmp/oci/oci-layout" ] || die "'$kasane save' wrote no OCI layout (oci-layout is missing)"
# The tag that umoci knows the image by: the ref.name annotation in index.json.
tag=$(tr ',{}' '\n\n\n' <"$tmp/oci/index.json" |
    sed -n 's/.*"org\.opencontainers\.image\.ref\.name" *: *"\([^"]*\)".*/\1/p' | head -n1)
[ -n "$tag" ] || die "index.json names no tag"
umoci unpack --image "$tmp/oci:$tag" "$tmp/bundle" >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; die "umoci could not unpack the image"; }
root=$tmp/bundle/rootfs

# What the image says of itself, read by umoci into the bundle's config.json.
field() { tr -d '\n\t ' <"$tmp/bundle/config.json" | sed -n "s/.*\"process\":{.*\"$1\":\([^,}]*\).*/\1/p"; }
uid=$(field uid) gid=$(field gid)
say "running the self-test as uid ${uid:-?}, gid ${gid:-?}"
[ "$uid" = 1000 ] && [ "$gid" = 1000 ] || die "the image does not run as the user node (1000:1000)"

fail=0
for gone in root/.npm app/node_modules/typescript app/src app/tsconfig.json app/.git; do
    if [ -e "$root/$gone" ]; then say "the image holds /$gone, which it should not"; fail=1; fi
done
[ $fail = 0 ] || exit 1

main=dist/main.js
[ -e "$root/app/$main" ] || main=index.js
for d in null urandom; do # node opens these
    [ -e "$root/dev/$d" ] || cp -a "/dev/$d" "$root/dev/$d"
done
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin NODE_ENV=production HOME=/home/node \
    chroot --userspec="$uid:$gid" --groups="" "$root" sh -c "cd /app && exec node $main --check"
