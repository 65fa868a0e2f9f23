#!/usr/bin/env bash
# Makes stand-ins for well-known base images out of Debian packages and npm
# packages, for places where no image registry is reached, and imports them
# with `kasane import`.  They are NOT the official images; README.md beside
# this file says what each one is and how it differs.
#
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
export LC_ALL=C
umask 022

readonly NODE_VER=20.20.2 NPM_VER=10.8.2
# shellcheck disable=SC2034 # used by name
# What the npm registry says of these tarballs; checked after the download.
readonly NODE_SRI_x64='sha512-PeHQM8wAdmHtZA1mBocygZxs5LiUWtsJezQTkBd0iY987KpGrD1O2tVEydvMZiuXceRanxt7rjTnDEBwOPujoQ=='
# shellcheck disable=SC2034
readonly NODE_SRI_arm64='sha512-LCXJnNTFiyGuYBw2gZSI5OBFMbkjAPt8sqD/NKrWoE2QmDgSubTqFng6GaNJ9EJ8HpxBMGcWWpbbcs4Vo+CnGg=='
readonly NPM_SRI='sha512-x/AIjFIKRllrhcb48dqUNAAZl0ig9+qMuN91RpZo3Cb2+zuibfh+KISl6+kVVyktDz230JKc208UkQwwMqyB+w=='
readonly SUITE=bookworm
readonly ALL_NAMES='busybox debian:bookworm debian:bookworm-slim node:20 node:20-slim node:20-alpine alpine distroless distroless-node:20'

usage() {
    cat <<USAGE
Usage: make.sh [--out DIR] [--kasane PATH] [--tar-only] [--fresh] [--force-import] [NAME...]

Makes local stand-ins for base images and imports them with 'kasane import'.
Without a NAME it makes all of them.

Names: $ALL_NAMES

  --out DIR        also write NAME.tar (root file system) and NAME.json (Env, Cmd,
                   User, Labels, ...) into DIR; ':' in a name becomes '_'
  --tar-only       only write those files (needs --out), do not import
  --kasane PATH    the kasane program (default: \$KASANE, else 'kasane' in PATH)
  --fresh          do not use cached results
  --force-import   import even if kasane already has this very image
  --list           print the names

Environment:
  KASANE_BASES_CACHE    cache folder (default \${XDG_CACHE_HOME:-~/.cache}/kasane/bases)
  KASANE_BASES_SOURCES  file with 'deb' lines to use in place of the host's Debian sources
  KASANE_BASES_CA       PEM bundle to use in place of the host's own (or 'none')
  KASANE_ROOT           passed on to kasane
USAGE
}

say()  { printf 'bases: %s\n' "$*" >&2; }
die()  { printf 'bases: error: %s\n' "$*" >&2; exit 1; }
need() { # need COMMAND DEBIAN-PACKAGE WHY
    command -v "$1" >/dev/null 2>&1 || die "'$1' is missing ($3). Install it: apt-get install -y $2"
}
safe() { local s=${1//:/_}; printf '%s' "${s//\//_}"; }

# ---------------------------------------------------------------- arguments
out='' tar_only=0 fresh=0 force_import=0 kasane=${KASANE:-}
names=()
while [ $# -gt 0 ]; do
    case $1 in
        --out) out=${2:?--out needs a folder}; shift ;;
        --out=*) out=${1#*=} ;;
        --kasane) kasane=${2:?--kasane needs a path}; shift ;;
        --kasane=*) kasane=${1#*=} ;;
        --tar-only) tar_only=1 ;;
        --fresh) fresh=1 ;;
        --force-import) force_import=1 ;;
        --list) tr ' ' '\n' <<<"$ALL_NAMES"; exit 0 ;;
        -h|--help) usage; exit 0 ;;
        -*) usage >&2; die "unknown option $1" ;;
        *) names+=("$1") ;;
    esac
    shift
done
[ ${#names[@]} -gt 0 ] || read -ra names <<<"$ALL_NAMES"
for i in "${!names[@]}"; do
    case ${names[i]} in
        alpine:3|alpine:latest) names[i]=alpine ;;
        busybox:latest) names[i]=busybox ;;
        distroless:latest) names[i]=distroless ;;
    esac
    case " $ALL_NAMES " in
        *" ${names[i]} "*) ;;
        *) die "no base called '${names[i]}'; there are: $ALL_NAMES" ;;
    esac
done
if [ "$tar_only" = 1 ]; then
    [ -n "$out" ] || die "--tar-only needs --out DIR"
else
    [ -n "$kasane" ] || kasane=$(command -v kasane) ||
        die "no kasane program found: give --kasane PATH, set KASANE, or use --tar-only --out DIR"
    [ -x "$(command -v "$kasane")" ] || die "'$kasane' is not a program that can be run"
fi
[ -z "$out" ] || { mkdir -p "$out"; out=$(cd "$out" && pwd); }

need flock util-linux 'guards the cache against runs at the same time'
need sha256sum coreutils 'makes the cache keys'
need dpkg dpkg 'tells the architecture; these bases are made on Debian'

arch=$(dpkg --print-architecture)
case $arch in
    amd64) node_arch=x64;   multi=x86_64-linux-gnu;  musl_arch=x86_64 ;;
    arm64) node_arch=arm64; multi=aarch64-linux-gnu; musl_arch=aarch64 ;;
    *) node_arch='' multi=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || true) musl_arch='' ;;
esac

cache=${KASANE_BASES_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kasane/bases}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

tmp=$(mktemp -d "$cache/.work.XXXXXXXX")
cleanup() {
    # Nothing may be mounted below the work folder when it is removed.
    if grep -q " $tmp/" /proc/self/mounts 2>/dev/null; then
        awk -v p="$tmp/" 'index($2, p) == 1 { print $2 }' /proc/self/mounts | sort -r |
            while read -r m; do umount -l "$m" || true; done
    fi
    rm -rf --one-file-system "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Left by runs that were killed: nothing younger than two days is touched.
find "$cache" -maxdepth 1 -name '.work.*' -mtime +2 -exec rm -rf --one-file-system {} + 2>/dev/null || true

# ------------------------------------------------- certificates of this host
# A host behind a TLS-inspecting proxy has certificates of its own.  Only then
# the bases get the host's bundle, so that `npm ci` and https apt sources work
# inside RUN.
ca_bundle='' ca_extra=()
find_ca() {
    local f
    if [ "${KASANE_BASES_CA:-}" = none ]; then return; fi
    if [ -n "${KASANE_BASES_CA:-}" ]; then
        [ -r "$KASANE_BASES_CA" ] || die "KASANE_BASES_CA=$KASANE_BASES_CA cannot be read"
        ca_bundle=$KASANE_BASES_CA
    fi
    for f in /usr/local/share/ca-certificates/*.crt; do
        if [ -r "$f" ]; then ca_extra+=("$f"); fi
    done
    if [ -z "$ca_bundle" ]; then
        # npm's or node's own setting says that the plain bundle is not enough.
        for f in "${NODE_EXTRA_CA_CERTS:-}" "${npm_config_cafile:-}" \
                 "$(sed -n 's/^cafile *= *//p' "${HOME:-/root}/.npmrc" /etc/npmrc /usr/etc/npmrc 2>/dev/null | head -n1)"; do
            if [ -n "$f" ] && [ -r "$f" ]; then ca_bundle=$f; break; fi
        done
    fi
    if [ -z "$ca_bundle" ] && [ ${#ca_extra[@]} -gt 0 ] && [ -r /etc/ssl/certs/ca-certificates.crt ]; then
        ca_bundle=/etc/ssl/certs/ca-certificates.crt
    elif [ -z "$ca_bundle" ] && [ ${#ca_extra[@]} -gt 0 ]; then
        cat "${ca_extra[@]}" >"$tmp/ca.pem" # certificates, but no ca-certificates package to bundle them
        ca_bundle=$tmp/ca.pem
    fi
}
find_ca
ca_hash=none
if [ -n "$ca_bundle" ]; then
    ca_hash=$(cat "$ca_bundle" "${ca_extra[@]}" | sha256sum | cut -c1-16)
fi

put_ca() { # put_ca ROOT: the host's certificates into an image, where there are any
    if [ -z "$ca_bundle" ]; then return; fi
    mkdir -p "$1/etc/ssl/certs"
    cat "$ca_bundle" >"$1/etc/ssl/certs/ca-certificates.crt"
    chmod 644 "$1/etc/ssl/certs/ca-certificates.crt"
    if [ ${#ca_extra[@]} -gt 0 ]; then
        mkdir -p "$1/usr/local/share/ca-certificates"
        install -m 644 "${ca_extra[@]}" "$1/usr/local/share/ca-certificates/"
    fi
}

# --------------------------------------------------------- Debian's packages
# Prints lines: URI SUITE COMPONENT...
debian_sources() {
    local rows known=$cache/apt-sources f='$(SITE)|$(REPO_URI)|$(RELEASE)|$(CODENAME)|$(ORIGIN)|$(COMPONENT)|$(ARCHITECTURE)'
    if [ -n "${KASANE_BASES_SOURCES:-}" ]; then
        [ -r "$KASANE_BASES_SOURCES" ] || die "KASANE_BASES_SOURCES=$KASANE_BASES_SOURCES cannot be read"
        sed -n 's/^deb  *\(\[[^]]*\]  *\)\{0,1\}//p' "$KASANE_BASES_SOURCES"
        return
    fi
    # apt itself reads the host's configuration, in whatever form it has.
    rows=$(apt-get indextargets --format "$f" 'Created-By: Packages' 2>/dev/null | only_debian)
    if grep -q " $SUITE " <<<"$rows"; then printf '%s\n' "$rows"; return; fi
    # No package lists on this host: read them into a folder of our own, once
    # for this configuration, as the origins are in them.
    known+=-$(apt-get indextargets --no-release-info --format "$f" 2>/dev/null | sha256sum | cut -c1-16)
    if [ ! -s "$known" ]; then
        say "reading the package lists of this host's apt sources"
        mkdir -p "$tmp/host/lists/partial"
        local opt=(-o "Dir::State::lists=$tmp/host/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root
                   -o APT::Update::Post-Invoke::=true -o APT::Update::Post-Invoke-Success::=true)
        apt-get -qq "${opt[@]}" update >/dev/null 2>"$tmp/host/log" || { cat "$tmp/host/log" >&2; die "apt-get update failed"; }
        apt-get "${opt[@]}" indextargets --format "$f" 'Created-By: Packages' 2>/dev/null | only_debian >"$tmp/host/sources"
        mv "$tmp/host/sources" "$known"
        rm -rf "$tmp/host"
    fi
    cat "$known"
}
# Third parties' entries are left out: their codename, component or origin differs.
only_debian() {
    awk -F'|' -v s="$SUITE" -v a="$arch" '
        { uri = $2; rel = $3; code = $4; comp = $6
          if (uri ~ /^cdrom:/ || $7 != a || $5 != "Debian") next
          # a Release file may say "bookworm" where the suite is bookworm-updates
          name = (rel ~ "^" s) ? rel : code
          if (name != s && name != s "-updates" && name != s "-security") next
          if (comp !~ /^(main|contrib|non-free|non-free-firmware)$/) next
          k = uri " " name
          if (!(k in c)) { order[++n] = k; c[k] = comp }
          else if ((" " c[k] " ") !~ (" " comp " ")) c[k] = c[k] " " comp }
        END { for (i = 1; i <= n; i++) print order[i] " " c[order[i]] }'
}

sources='' aptopts=()
apt_setup_done=0
apt_setup() {
    local line
    if [ $apt_setup_done = 1 ]; then return; fi
    apt_setup_done=1
    need apt-get apt 'downloads Debian packages'
    sources=$(debian_sources)
    awk -v s="$SUITE" '$2 == s { ok = 1 } END { exit !ok }' <<<"$sources" ||
        die "apt on this host has no Debian $SUITE source; set KASANE_BASES_SOURCES to a file with 'deb URI $SUITE main'"
    # What apt needs on this host to reach its mirror, it needs there too.
    while IFS= read -r line; do
        aptopts+=("$line")
    done < <(apt-config dump 2>/dev/null | grep -E '^Acquire::(Check-Valid-Until|Check-Date|https?::[A-Za-z:.-]*|Retries) ' | grep -v ' "";$' || true)
}

# A private apt: its own lists and an empty dpkg status, so that nothing on the
# host is changed and nothing of the host's own packages plays a part.
apt_conf=$cache/apt/apt.conf
apt_private_setup() {
    local root=$cache/apt line
    apt_setup
    mkdir -p "$root"/{etc/preferences.d,lists/partial,archives/partial,state}
    : >>"$root/state/status"
    sed "s|^|deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] |" <<<"$sources" >"$tmp/sources.list"
    sed 's/^deb /deb-src /' "$tmp/sources.list" >"$tmp/sources.list.src"
    cat "$tmp/sources.list.src" >>"$tmp/sources.list"
    mv "$tmp/sources.list" "$root/etc/sources.list"
    {
        printf 'Dir::Etc::sourcelist "%s/etc/sources.list";\nDir::Etc::sourceparts "-";\n' "$root"
        printf 'Dir::Etc::preferences "-";\nDir::Etc::preferencesparts "-";\n'
        printf 'Dir::State "%s/state";\nDir::State::lists "%s/lists";\nDir::State::status "%s/state/status";\n' "$root" "$root" "$root"
        printf 'Dir::Cache "%s";\nDir::Cache::archives "%s/archives";\nDir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n' "$root" "$root"
        printf 'APT::Sandbox::User "root";\nAPT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\n'
        printf 'Acquire::Languages "none";\nAPT::Architecture "%s";\nAPT::Update::Post-Invoke "true";\n' "$arch"
        for line in "${aptopts[@]}"; do printf '%s\n' "$line"; done
    } >"$tmp/apt.conf"
    mv "$tmp/apt.conf" "$apt_conf"
}
apt_private() { APT_CONFIG=$apt_conf apt-get -qq "$@"; }
apt_lists() { # apt_lists MAXAGE-MINUTES: private lists no older than that
    exec 8>"$cache/apt.lock"; flock 8
    apt_private_setup
    if [ -z "$(find "$cache/apt/updated" -mmin "-$1" 2>/dev/null)" ] ||
       ! cmp -s "$cache/apt/etc/sources.list" "$cache/apt/updated"; then
        say "reading Debian's package lists"
        apt_private update >"$tmp/apt.log" 2>&1 || { cat "$tmp/apt.log" >&2; die "apt-get update failed"; }
        cp "$cache/apt/etc/sources.list" "$cache/apt/updated"
    fi
    exec 8>&-
}
inrelease_date() { # of the main suite, as text: part of the cache keys
    sed -n 's/^Date: //p' "$cache"/apt/lists/*_dists_"${SUITE}"_{InRelease,Release} 2>/dev/null | head -n1
}
apt_epoch() { # newest date of all the lists in use
    local d best=0 s
    while IFS= read -r d; do
        s=$(date -u -d "$d" +%s)
        if [ "$s" -gt "$best" ]; then best=$s; fi
    done < <(sed -n 's/^Date: //p' "$cache"/apt/lists/*Release)
    [ "$best" -gt 0 ] || die "no Release file with a date among apt's lists"
    printf '%s' "$best"
}
debs() { # debs DIR [--with-deps] PACKAGE...: the .deb files into DIR
    local dir=$1 deps=0; shift
    if [ "$1" = --with-deps ]; then deps=1; shift; fi
    mkdir -p "$dir/partial"
    if [ $deps = 1 ]; then
        APT_CONFIG=$apt_conf apt-get -qq -o Dir::Cache::archives="$dir" install --download-only "$@" >"$tmp/apt.log" 2>&1 ||
            { cat "$tmp/apt.log" >&2; die "could not download: $*"; }
    else
        (cd "$dir" && apt_private download "$@") >"$tmp/apt.log" 2>&1 ||
            { cat "$tmp/apt.log" >&2; die "could not download: $*"; }
    fi
    rm -rf "$dir/partial" "$dir/lock"
}
need_root() { [ "$(id -u)" = 0 ] || die "$1 can only be made by root"; }

in_chroot() { # in_chroot ROOT COMMAND...: with /proc and /dev, in a mount namespace of its own
    local root=$1 p; shift
    mkdir -p "$root/proc" "$root/dev"
    # Where / is not a mount point (a plain chroot) propagation cannot be set.
    for p in private unchanged; do
        if unshare --mount --propagation $p true 2>/dev/null; then break; fi
    done
    # shellcheck disable=SC2016
    unshare --mount --propagation $p bash -euc '
        r=$1; shift
        trap "umount -l \"$r/proc\" \"$r/dev\" 2>/dev/null || true" EXIT
        mount -t proc proc "$r/proc"
        mount -t tmpfs -o mode=755 dev "$r/dev"
        mknod -m 666 "$r/dev/null" c 1 3; mknod -m 666 "$r/dev/zero" c 1 5
        mknod -m 666 "$r/dev/random" c 1 8; mknod -m 666 "$r/dev/urandom" c 1 9
        mknod -m 666 "$r/dev/tty" c 5 0; mknod -m 666 "$r/dev/full" c 1 7
        ln -s /proc/self/fd "$r/dev/fd"
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
            DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" \
            KCONFIG_NOTIMESTAMP=1 chroot "$r" "$@"' in_chroot "$root" "$@"
}

# --------------------------------------------------------------------- cache
# made NAME: sets $made to the folder with rootfs.tar (and epoch) of NAME.
made=''
recipe_of() { # what a result depends on in this script, and the keys of its base
    local f=(build_"$(tr ':-' '__' <<<"$1")" pack put_ca)
    case $1 in
        busybox) f+=(small_etc) ;;
        debian:bookworm) ;;
        debian:bookworm-slim) key_of debian:bookworm ;;
        node:20) f+=(put_node debs in_chroot); key_of debian:bookworm ;;
        node:20-slim) f+=(put_node); key_of debian:bookworm-slim ;;
        node:20-alpine) f+=(put_node debs apk_record apk_version q1); key_of alpine ;;
        alpine) f+=(musl_toolbox debs in_chroot apk_record apk_version q1 alpine_etc) ;;
        distroless) f+=(debs) ;;
        distroless-node:20) key_of distroless ;;
    esac
    case $1 in *node:*) printf '%s %s\n' "$NODE_VER" "$NPM_VER" ;; esac
    declare -f "${f[@]}"
}
key_of() {
    local extra
    case $1 in
        busybox) busybox_binary; extra=$(sha256sum <"$busybox_bin") ;;
        *) extra="$(inrelease_date) $(sort -u <<<"$sources") ${aptopts[*]-}" ;;
    esac
    { printf '%s\0%s\0%s\0%s\0' "$1" "$arch" "$ca_hash" "$extra"; recipe_of "$1"; } | sha256sum | cut -c1-20
}
have=''   # names checked in this run already, as " name=dir"
make_base() {
    local name=$1 dir key start lock
    case $have in *" $name="*) made=${have##*" $name="}; made=${made%% *}; return ;; esac
    if [ "$name" != busybox ]; then apt_lists $((fresh ? 1 : 43200)); fi
    key=$(key_of "$name")
    dir=$cache/$(safe "$name")-$key
    exec {lock}>"$cache/$(safe "$name").lock"
    flock -n "$lock" || { say "$name: waiting for another run that makes it"; flock "$lock"; }
    if [ -e "$dir/rootfs.tar" ] && [ "$fresh" = 0 ]; then
        touch "$dir"
        say "$name: taken from the cache"
    else
        start=$SECONDS
        if [ "$name" != busybox ]; then apt_lists 60; fi
        say "$name: making it"
        rm -rf "${tmp:?}/$(safe "$name")"
        mkdir -p "$tmp/$(safe "$name")/root" "$tmp/$(safe "$name")/w"
        chmod 755 "$tmp/$(safe "$name")/root"
        "build_$(tr ':-' '__' <<<"$name")" "$tmp/$(safe "$name")/root" "$tmp/$(safe "$name")/w"
        pack "$tmp/$(safe "$name")/root" "$tmp/$(safe "$name")/result"
        rm -rf "$dir"
        mv "$tmp/$(safe "$name")/result" "$dir"
        rm -rf --one-file-system "${tmp:?}/$(safe "$name")"
        # older results of the same name that nobody used for a week
        find "$cache" -maxdepth 1 -type d -name "$(safe "$name")-????????????????????" -mtime +7 -exec rm -rf {} + || true
        say "$name: made in $((SECONDS - start)) s, $(($(stat -c %s "$dir/rootfs.tar") / 1000000)) MB"
    fi
    exec {lock}>&-
    have+=" $name=$dir "
    made=$dir
}
pack() { # pack ROOT RESULT: a tar that depends on the contents only
    need tar tar 'packs root file systems'
    mkdir "$2"
    printf '%s\n' "$SOURCE_DATE_EPOCH" >"$2/epoch"
    tar --create --file "$2/rootfs.tar" --directory "$1" --format=gnu --sort=name --numeric-owner \
        --clamp-mtime --mtime="@$SOURCE_DATE_EPOCH" --one-file-system \
        --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' .
}
from() { # from NAME ROOT: start with the contents of another base
    make_base "$1"
    SOURCE_DATE_EPOCH=$(cat "$made/epoch"); export SOURCE_DATE_EPOCH
    tar --extract --file "$made/rootfs.tar" --directory "$2" --numeric-owner --preserve-permissions --same-owner
}
set_epoch() { SOURCE_DATE_EPOCH=$(apt_epoch); export SOURCE_DATE_EPOCH; }

# ------------------------------------------------------------------- busybox
busybox_bin=''
busybox_binary() {
    local f
    if [ -n "$busybox_bin" ]; then return; fi
    for f in /usr/bin/busybox /bin/busybox; do
        if [ -x "$f" ] && dpkg-query -W -f '${db:Status-Status}' busybox-static 2>/dev/null | grep -q '^installed$'; then
            busybox_bin=$f
            return
        fi
    done
    say "busybox: Debian's busybox-static is not installed here, downloading it"
    apt_lists 60
    debs "$tmp/busybox-deb" busybox-static
    dpkg-deb -x "$tmp"/busybox-deb/busybox-static_*.deb "$tmp/busybox-x"
    busybox_bin=$(find "$tmp/busybox-x" -type f -name busybox -perm -100 | head -n1)
    [ -n "$busybox_bin" ] || die "no busybox program in Debian's busybox-static"
}
build_busybox() {
    local r=$1
    need_root busybox
    busybox_binary
    SOURCE_DATE_EPOCH=$(stat -c %Y "$busybox_bin"); export SOURCE_DATE_EPOCH
    mkdir -p "$r"/{bin,dev,etc,home,proc,root,sys,tmp,usr/bin,usr/sbin,var/spool/mail,var/www}
    chmod 1777 "$r/tmp"; chmod 700 "$r/root"
    install -m 755 "$busybox_bin" "$r/bin/busybox"
    "$r/bin/busybox" --install "$r/bin"    # hard links, made by one process
    ln -s ../../bin/env "$r/usr/bin/env"
    ln -s /var/spool/mail "$r/var/mail"
    small_etc "$r" /bin/sh
    put_ca "$r"
}
small_etc() { # small_etc ROOT SHELL: users and groups of a small image
    cat >"$1/etc/passwd" <<ETC
root:x:0:0:root:/root:$2
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
ETC
    cat >"$1/etc/group" <<ETC
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
www-data:x:33:
users:x:100:
nobody:x:65534:
ETC
    sed 's/^\([^:]*\):.*/\1:*:::::::/' "$1/etc/passwd" >"$1/etc/shadow"
    chmod 640 "$1/etc/shadow"
    printf '/bin/sh\n' >"$1/etc/shells"
    printf '127.0.0.1\tlocalhost\n' >"$1/etc/hosts"
}

# -------------------------------------------------------------------- Debian
build_debian_bookworm() {
    local r=$1 w=$2 o src=()
    need_root 'debian:bookworm'
    need mmdebstrap mmdebstrap 'makes Debian root file systems'
    set_epoch
    local opts=()
    for o in "${aptopts[@]}"; do opts+=("--aptopt=$o"); done
    while IFS= read -r o; do src+=("deb $o"); done <<<"$sources"
    rmdir "$r"
    mmdebstrap --quiet --mode=root --variant=minbase --architectures="$arch" --format=directory \
        --dpkgopt=force-unsafe-io --aptopt='Acquire::Languages "none"' "${opts[@]}" \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --include=usr-is-merged \
        "$SUITE" "$r" "${src[@]}" >"$w/log" 2>&1 || { cat "$w/log" >&2; die "mmdebstrap failed"; }
    chmod 755 "$r"
    rm -f "$r"/etc/{resolv.conf,hostname,passwd-,group-,shadow-,gshadow-,subuid-,subgid-,.pwd.lock} \
          "$r"/var/cache/ldconfig/aux-cache "$r"/var/lib/dpkg/*-old "$r"/var/cache/debconf/*-old \
          "$r"/etc/dpkg/dpkg.cfg.d/99mmdebstrap "$r"/etc/apt/apt.conf.d/99mmdebstrap \
          "$r"/var/lib/dpkg/lock* "$r"/var/lib/apt/lists/lock "$r"/var/cache/apt/archives/lock
    find "$r/var/log" "$r/run" "$r/tmp" -type f -delete
    find "$r/dev" -mindepth 1 -delete
    : >"$r/etc/machine-id"
    # Sources in the form that the official image has, with the host's mirrors.
    rm -f "$r/etc/apt/sources.list"
    while read -r uri suite comps; do
        printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n' "$uri" "$suite" "$comps"
    done <<<"$sources" >"$r/etc/apt/sources.list.d/debian.sources"
    # apt and dpkg for image layers: no daemons started, nothing kept that only costs space
    printf '#!/bin/sh\n# no services are started while an image is built\nexit 101\n' >"$r/usr/sbin/policy-rc.d"
    chmod 755 "$r/usr/sbin/policy-rc.d"
    printf '# an image build does not survive a power cut anyway\nforce-unsafe-io\n' >"$r/etc/dpkg/dpkg.cfg.d/image-speed"
    cat >"$r/etc/apt/apt.conf.d/image-clean" <<'APT'
// Downloaded packages would only make layers larger.
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::GzipIndexes "true";
Acquire::Languages "none";
Apt::AutoRemove::SuggestsImportant "false";
APT
    if [ ${#aptopts[@]} -gt 0 ]; then
        { printf '// taken over from the host on which this image was made\n'; printf '%s\n' "${aptopts[@]}"; } \
            >"$r/etc/apt/apt.conf.d/90build-host"
    fi
    put_ca "$r"
}
build_debian_bookworm_slim() {
    local r=$1
    from debian:bookworm "$r"
    cat >"$r/etc/dpkg/dpkg.cfg.d/image-slim" <<'CFG'
# documentation, manual pages and translations are not unpacked
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/groff/*
path-exclude /usr/share/info/*
path-exclude /usr/share/linda/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/locale/*
path-include /usr/share/locale/locale.alias
path-exclude /usr/share/man/*
CFG
    find "$r/usr/share/doc" -mindepth 1 ! -type d ! -name copyright -delete
    find "$r/usr/share/doc" -mindepth 1 -type d -empty -delete
    find "$r/usr/share/locale" -mindepth 1 ! -type d ! -name locale.alias -delete
    find "$r/usr/share/locale" -mindepth 1 -type d -empty -delete
    rm -rf "$r"/usr/share/{groff,info,linda,lintian,man}/*
}

# ---------------------------------------------------------------------- node
npm_dir=''
check_sri() { # check_sri FILE SRI
    local want got
    want=$(base64 -d <<<"${2#sha512-}" | od -An -v -tx1 | tr -d ' \n')
    got=$(sha512sum "$1" | cut -d' ' -f1)
    [ "$want" = "$got" ] || die "$(basename "$1") is not what its checksum in this script says"
}
npm_tarballs() { # sets npm_dir: the two tarballs from the npm registry, fetched by npm
    local lock sri_var=NODE_SRI_$node_arch d=$tmp/npm-get
    [ -n "$node_arch" ] || die "npm has no node binary for $arch that this script knows"
    npm_dir=$cache/npm-$node_arch-$NODE_VER-$NPM_VER
    exec {lock}>"$cache/npm.lock"; flock "$lock"
    if [ ! -d "$npm_dir" ]; then
        rm -rf "$d"; mkdir -p "$d/out"
        if command -v npm >/dev/null 2>&1; then
            say "node: fetching node $NODE_VER and npm $NPM_VER with this host's npm"
            npm pack --loglevel=error --ignore-scripts --pack-destination "$d/out" \
                "node-linux-$node_arch@$NODE_VER" "npm@$NPM_VER" >"$d/log" 2>&1 ||
                { cat "$d/log" >&2; die "npm pack failed"; }
        else
            say "node: no npm on this host: unpacking Debian's npm into a scratch folder (not installing it)"
            debs "$d/debs" --with-deps npm ca-certificates
            mkdir -p "$d/r"/{etc,tmp,root,dev,proc}
            for f in "$d"/debs/*.deb; do dpkg-deb --fsys-tarfile "$f" | tar -x -C "$d/r" --no-same-owner; done
            rm -rf "$d/debs"
            cp -L /etc/resolv.conf /etc/hosts "$d/r/etc/" 2>/dev/null || true
            printf 'root:x:0:0:root:/root:/bin/sh\n' >"$d/r/etc/passwd"
            cat "$d"/r/usr/share/ca-certificates/mozilla/*.crt >"$d/r/ca.crt"
            if [ -n "$ca_bundle" ]; then cat "$ca_bundle" >>"$d/r/ca.crt"; fi
            for f in "${HOME:-/root}/.npmrc" /etc/npmrc; do # the registry to use, where the host has said so
                if [ -r "$f" ]; then sed '/^ *cafile *=/d' "$f"; fi
            done >"$d/r/root/.npmrc"
            printf 'cafile=/ca.crt\n' >>"$d/r/root/.npmrc"
            chmod 600 "$d/r/root/.npmrc"
            mkdir "$d/r/out"
            SOURCE_DATE_EPOCH=0 in_chroot "$d/r" /usr/bin/node /usr/share/nodejs/npm/bin/npm-cli.js pack --loglevel=error \
                --fetch-retries=1 --ignore-scripts --pack-destination /out "node-linux-$node_arch@$NODE_VER" "npm@$NPM_VER" >"$d/log" 2>&1 ||
                { cat "$d/log" >&2; die "npm pack failed"; }
            mv "$d"/r/out/*.tgz "$d/out/"
        fi
        check_sri "$d/out/node-linux-$node_arch-$NODE_VER.tgz" "${!sri_var}"
        check_sri "$d/out/npm-$NPM_VER.tgz" "$NPM_SRI"
        mv "$d/out" "$npm_dir"
        rm -rf --one-file-system "$d"
    fi
    exec {lock}>&-
}
put_node() { # put_node ROOT [--headers]
    local r=$1 headers=${2:-}
    local l=$r/usr/local
    npm_tarballs
    mkdir -p "$l"/{bin,include,lib/node_modules/npm,share/doc/node}
    local what=(package/bin package/LICENSE)
    if [ -n "$headers" ]; then what+=(package/include); fi
    mkdir "$r/.node"
    tar -xzf "$npm_dir/node-linux-$node_arch-$NODE_VER.tgz" -C "$r/.node" --no-same-owner "${what[@]}"
    install -m 755 "$r/.node/package/bin/node" "$l/bin/node"
    install -m 644 "$r/.node/package/LICENSE" "$l/share/doc/node/LICENSE"
    if [ -n "$headers" ]; then cp -R --no-preserve=ownership "$r/.node/package/include/." "$l/include/"; fi
    rm -rf "$r/.node"
    tar -xzf "$npm_dir/npm-$NPM_VER.tgz" -C "$l/lib/node_modules/npm" --strip-components=1 --no-same-owner
    chmod -R u=rwX,go=rX "$l/lib/node_modules" "$l/include"
    chmod 755 "$l"/lib/node_modules/npm/bin/{npm,npx}-cli.js
    ln -s node "$l/bin/nodejs"
    ln -s ../lib/node_modules/npm/bin/npm-cli.js "$l/bin/npm"
    ln -s ../lib/node_modules/npm/bin/npx-cli.js "$l/bin/npx"
    cat >"$l/bin/docker-entrypoint.sh" <<'SH'
#!/bin/sh
# Options, names that are no command and plain files are for node; all else is run as it is.
set -e
if [ "${1#-}" != "$1" ] || ! command -v "$1" >/dev/null || { [ -f "$1" ] && [ ! -x "$1" ]; }; then
    set -- node "$@"
fi
exec "$@"
SH
    chmod 755 "$l/bin/docker-entrypoint.sh"
    # the user that the official image has
    printf 'node:x:1000:1000::/home/node:%s\n' "${NODE_SHELL:-/bin/bash}" >>"$r/etc/passwd"
    printf 'node:x:1000:\n' >>"$r/etc/group"
    printf 'node:!:19000:0:99999:7:::\n' >>"$r/etc/shadow"
    if [ -e "$r/etc/gshadow" ]; then printf 'node:!::\n' >>"$r/etc/gshadow"; fi
    mkdir -p "$r/home/node"
    if [ -d "$r/etc/skel" ]; then cp -R "$r/etc/skel/." "$r/home/node/"; fi
    chown -R 1000:1000 "$r/home/node"
}
build_node_20_slim() { from debian:bookworm-slim "$1"; put_node "$1"; }
build_node_20() {
    local r=$1 w=$2
    from debian:bookworm "$r"
    say "node:20: adding Debian's ca-certificates"
    debs "$w/debs" --with-deps ca-certificates openssl
    # of what apt fetched for an empty system, only what the base has not yet
    mkdir "$r/.debs"
    for f in "$w"/debs/*.deb; do
        p=$(dpkg-deb -f "$f" Package)
        if ! grep -qx "Package: $p" "$r/var/lib/dpkg/status"; then cp "$f" "$r/.debs/"; fi
    done
    in_chroot "$r" sh -c 'dpkg -i /.debs/*.deb' >"$w/log" 2>&1 || { cat "$w/log" >&2; die "installing ca-certificates failed"; }
    rm -rf "$r/.debs" "$r"/var/lib/dpkg/*-old "$r"/var/cache/debconf/*-old "$r"/var/cache/ldconfig/aux-cache "$r"/var/lib/dpkg/lock*
    find "$r/var/log" "$r/run" "$r/tmp" -type f -delete
    put_ca "$r"
    put_node "$r" --headers
}

# -------------------------------------------------------------- Alpine-like
# A scratch Debian with a compiler, from unpacked (not installed) packages.
musl_toolbox() { # musl_toolbox ROOT WORK
    local t=$1 w=$2 f p
    mkdir -p "$t"
    from debian:bookworm "$t"
    debs "$w/tool-debs" --with-deps gcc libc6-dev make musl musl-dev musl-tools linux-libc-dev bzip2 xz-utils patch
    for f in "$w"/tool-debs/*.deb; do
        p=$(basename "$f"); p=${p%%_*}
        if ! grep -qx "Package: $p" "$t/var/lib/dpkg/status"; then
            dpkg-deb --fsys-tarfile "$f" | tar -x -C "$t" --keep-directory-symlink --no-same-owner
        fi
    done
    mv "$(ls "$w"/tool-debs/musl_*.deb)" "$w/"
    rm -rf "$w/tool-debs"
}
build_alpine() {
    local r=$1 w=$2 t=$2/toolbox musl_ver bb_ver
    need_root alpine
    [ -n "$musl_arch" ] || die "the alpine stand-in is not known for $arch"
    say "alpine: laying out a compiler and fetching busybox's source package"
    musl_toolbox "$t" "$w"
    set_epoch
    mkdir -p "$t/src"
    (cd "$t/src" && APT_CONFIG=$apt_conf apt-get -qq source --download-only --only-source busybox) >"$w/log" 2>&1 ||
        { cat "$w/log" >&2; die "could not download Debian's busybox source package"; }
    say "alpine: building busybox with musl-gcc (some minutes)"
    cat >"$t/src/build.sh" <<'SH'
set -eu
cd /src
mkdir b kh
tar -xf busybox_*.orig.tar.* -C b --strip-components=1
tar -xf busybox_*.debian.tar.* -C b
cd b
while read -r p _; do
    case $p in ''|'#'*) ;; *) patch -p1 -s <"debian/patches/$p" ;; esac
done <debian/patches/series
# the kernel's headers, after musl's own
for d in linux mtd asm-generic; do ln -s "/usr/include/$d" "/src/kh/$d"; done
ln -s "$(echo /usr/include/*-linux-gnu/asm)" /src/kh/asm
make -s defconfig >/dev/null
sed -i 's/^CONFIG_TC=y/# CONFIG_TC is not set/' .config
make -s oldconfig </dev/null >/dev/null 2>&1 || true
make -s -j"$(nproc)" CC="musl-gcc -idirafter /src/kh" HOSTCC=gcc busybox
SH
    in_chroot "$t" sh /src/build.sh >"$w/log" 2>&1 || { tail -n 40 "$w/log" >&2; die "building busybox failed"; }
    musl_ver=$(dpkg-deb -f "$w"/musl_*.deb Version); musl_ver=${musl_ver#*:}
    bb_ver=$(basename "$t"/src/busybox_*.dsc .dsc); bb_ver=${bb_ver#busybox_}

    mkdir -p "$r"/{bin,dev,etc/apk/keys,home,lib/apk/db,media,mnt,opt,proc,root,run,sbin,srv,sys,tmp} \
             "$r"/usr/{bin,sbin,lib,local/bin,local/lib,local/share,share} "$r"/var/{cache/apk,empty,lib,local,log,opt,spool,tmp}
    chmod 1777 "$r/tmp" "$r/var/tmp"; chmod 700 "$r/root"; chmod 555 "$r/var/empty"
    ln -s /run "$r/var/run"; ln -s /run/lock "$r/var/lock"
    dpkg-deb -x "$w"/musl_*.deb "$w/musl"
    install -m 755 "$w/musl/lib/$musl_arch-linux-musl/libc.so" "$r/lib/ld-musl-$musl_arch.so.1"
    ln -s "ld-musl-$musl_arch.so.1" "$r/lib/libc.musl-$musl_arch.so.1"
    install -m 755 "$t/src/b/busybox" "$r/bin/busybox"
    chroot "$r" /bin/busybox --install -s
    alpine_etc "$r" "${musl_ver%%-*}" "${bb_ver%%-*}"
    : >"$r/lib/apk/db/lock"; : >"$r/lib/apk/db/triggers"
    tar -cf "$r/lib/apk/db/scripts.tar" -T /dev/null
    {
        apk_record "$r" kasane-base-layout 1.0-r0 none 'Users, groups and folders in the layout of Alpine' Apache-2.0 '' \
            etc/group etc/hosts etc/os-release etc/passwd etc/profile etc/shadow etc/shells sbin/apk
        apk_record "$r" musl "$(apk_version "$musl_ver")" musl 'the musl C library (from a Debian package)' MIT \
            "so:libc.musl-$musl_arch.so.1=1" "lib/ld-musl-$musl_arch.so.1"
        apk_record "$r" busybox "$(apk_version "$bb_ver")" busybox 'Size optimised toolbox (built from a Debian source package)' GPL-2.0-only \
            cmd:busybox bin/busybox
    } >"$r/lib/apk/db/installed"
    printf 'busybox\nkasane-base-layout\nmusl\n' >"$r/etc/apk/world"
    put_ca "$r"
    rm -rf --one-file-system "$t"
}
apk_version() { # 1.35.0-4+deb12u1 -> 1.35.0-r4
    local v=${1%%+*}
    v=${v/+*/}
    printf '%s-r%s' "${v%-*}" "${v##*-}"
}
q1() { # Q1 and the base64 of the SHA-1 of what comes in
    # shellcheck disable=SC2059
    printf 'Q1%s' "$(printf "$(sha1sum | cut -d' ' -f1 | sed 's/../\\x&/g')" | base64)"
}
apk_record() { # apk_record ROOT NAME VERSION ORIGIN DESCRIPTION LICENCE PROVIDES FILE...
    local r=$1 name=$2 ver=$3 origin=$4 desc=$5 lic=$6 prov=$7 f d last='' size=0; shift 7
    for f in "$@"; do size=$((size + $(stat -c %s "$r/$f"))); done
    printf 'C:%s\nP:%s\nV:%s\nA:%s\nS:%s\nI:%s\nT:%s\nU:\nL:%s\no:%s\nm:kasane examples\nt:%s\n' \
        "$(printf '%s-%s' "$name" "$ver" | q1)" "$name" "$ver" "$musl_arch" "$size" "$size" "$desc" "$lic" \
        "${origin/none/$name}" "$SOURCE_DATE_EPOCH"
    if [ -n "$prov" ]; then printf 'p:%s\n' "$prov"; fi
    for f in "$@"; do
        d=$(dirname "$f")
        if [ "$d" != "$last" ]; then printf 'F:%s\n' "$d"; last=$d; fi
        printf 'R:%s\na:0:0:%s\nZ:%s\n' "$(basename "$f")" "$(stat -c %a "$r/$f")" "$(q1 <"$r/$f")"
    done
    printf '\n'
}
alpine_etc() { # alpine_etc ROOT MUSL-VERSION BUSYBOX-VERSION
    local r=$1
    cat >"$r/etc/passwd" <<'ETC'
root:x:0:0:root:/root:/bin/ash
bin:x:1:1:bin:/bin:/sbin/nologin
daemon:x:2:2:daemon:/sbin:/sbin/nologin
mail:x:8:12:mail:/var/mail:/sbin/nologin
nobody:x:65534:65534:nobody:/:/sbin/nologin
ETC
    cat >"$r/etc/group" <<'ETC'
root:x:0:root
bin:x:1:root,bin,daemon
daemon:x:2:root,bin,daemon
sys:x:3:root,bin
adm:x:4:root,daemon
tty:x:5:
disk:x:6:root
wheel:x:10:root
mail:x:12:mail
audio:x:18:
video:x:27:root
www-data:x:82:
users:x:100:
nogroup:x:65533:
nobody:x:65534:
ETC
    { printf 'root:*::0:::::\n'; sed -n '2,$s/^\([^:]*\):.*/\1:!::0:::::/p' "$r/etc/passwd"; } >"$r/etc/shadow"
    chmod 640 "$r/etc/shadow"
    printf '/bin/sh\n/bin/ash\n' >"$r/etc/shells"
    printf '127.0.0.1\tlocalhost localhost.localdomain\n::1\t\tlocalhost localhost.localdomain\n' >"$r/etc/hosts"
    # shellcheck disable=SC2016
    printf 'export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nexport PS1='"'"'\\h:\\w\\$ '"'"'\numask 022\n' >"$r/etc/profile"
    cat >"$r/etc/os-release" <<ETC
NAME="Alpine-like stand-in (not Alpine Linux)"
ID=alpine
VERSION_ID=3.17.0
PRETTY_NAME="Alpine-like stand-in with musl $2 and busybox $3 from Debian (not Alpine Linux)"
ETC
    printf '3.17.0\n' >"$r/etc/alpine-release"
    : >"$r/etc/apk/repositories"
    printf '%s\n' "$musl_arch" >"$r/etc/apk/arch"
    cat >"$r/sbin/apk" <<'SH'
#!/bin/sh
# Stands where Alpine's apk would be.  There is no package repository behind it.
db=/lib/apk/db/installed
verbose=0 words=
for a in "$@"; do
    case $a in
        -v|--verbose) verbose=1 ;;
        -V|--version) echo 'apk stand-in of an Alpine-like image (not apk-tools)'; exit 0 ;;
        --print-arch) cat /etc/apk/arch; exit 0 ;;
        -*) ;;
        *) words="$words $a" ;;
    esac
done
set -- $words
case ${1:-} in
    info)
        if [ -n "${2:-}" ]; then grep -qx "P:$2" $db || exit 1; echo "$2"; exit 0; fi
        awk -v v=$verbose -F: '/^P:/ { p = $2 } /^V:/ { print v ? p "-" $2 : p }' $db ;;
    update) echo 'OK: no repository in this stand-in' ;;
    add)
        shift
        for p in "$@"; do
            grep -qx "P:${p%%[<>=~]*}" $db && continue
            echo "ERROR: unable to select packages: $p (this is a local stand-in for Alpine without a package repository)" >&2
            exit 1
        done ;;
    *) echo "apk: '${1:-}' is not known to this stand-in" >&2; exit 1 ;;
esac
SH
    chmod 755 "$r/sbin/apk"
}
build_node_20_alpine() {
    local r=$1 w=$2 f files=()
    from alpine "$r"
    debs "$w/debs" libc6 libgcc-s1 libstdc++6
    for f in "$w"/debs/*.deb; do
        dpkg-deb -x "$f" "$w/x"
        mkdir -p "$r/usr/share/doc/$(dpkg-deb -f "$f" Package)"
        cp "$w/x/usr/share/doc/$(dpkg-deb -f "$f" Package)/copyright" "$r/usr/share/doc/$(dpkg-deb -f "$f" Package)/" 2>/dev/null ||
            rmdir "$r/usr/share/doc/$(dpkg-deb -f "$f" Package)"
    done
    mkdir -p "$r/lib/$multi"
    for f in libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libresolv.so.2 libnss_dns.so.2 libnss_files.so.2 \
             libgcc_s.so.1 libstdc++.so.6 'ld-linux-*.so.*'; do
        f=$(find "$w/x" -name "$f" ! -path '*/lib64/*' | head -n1)
        install -m 755 "$(realpath "$f")" "$r/lib/$multi/$(basename "$f")"
        files+=("lib/$multi/$(basename "$f")")
    done
    f=$(basename "$r/lib/$multi"/ld-linux-*)
    case $arch in
        amd64) mkdir -p "$r/lib64"; ln -s "../lib/$multi/$f" "$r/lib64/$f" ;;
        *) ln -s "$multi/$f" "$r/lib/$f" ;;
    esac
    NODE_SHELL=/bin/sh put_node "$r"
    # true records of what was put beside musl
    {
        apk_record "$r" kasane-glibc "$(apk_version "$(dpkg-deb -f "$w"/debs/libc6_*.deb Version)")" none \
            'glibc and the C++ library of Debian, beside musl, for a glibc node' LGPL-2.1-or-later '' "${files[@]}"
        apk_record "$r" kasane-node "$NODE_VER-r0" none 'node (glibc) and npm from their npm packages' MIT '' \
            usr/local/bin/docker-entrypoint.sh usr/local/bin/node
    } >>"$r/lib/apk/db/installed"
    printf 'kasane-glibc\nkasane-node\n' >>"$r/etc/apk/world"
    sort -o "$r/etc/apk/world" "$r/etc/apk/world"
}

# ---------------------------------------------------------- distroless-like
build_distroless() {
    local r=$1 w=$2 f p
    need_root distroless
    set_epoch
    debs "$w/debs" base-files netbase tzdata libc6 libssl3 ca-certificates libgcc-s1 libstdc++6 media-types
    mkdir -p "$r/var/lib/dpkg/status.d"
    for f in "$w"/debs/*.deb; do
        p=$(dpkg-deb -f "$f" Package)
        dpkg-deb --fsys-tarfile "$f" | tar -x -C "$r" --keep-directory-symlink --no-same-owner --same-permissions
        # where scanners look for the packages of such images
        { dpkg-deb -f "$f"; } >"$r/var/lib/dpkg/status.d/$p"
        dpkg-deb --ctrl-tarfile "$f" | tar -xO ./md5sums >"$r/var/lib/dpkg/status.d/$p.md5sums" 2>/dev/null ||
            rm -f "$r/var/lib/dpkg/status.d/$p.md5sums"
    done
    mkdir -p "$r/etc/ssl/certs"
    find "$r/usr/share/ca-certificates" -name '*.crt' | sort | xargs cat >"$r/etc/ssl/certs/ca-certificates.crt"
    find "$r/usr/share/doc" -mindepth 1 ! -type d ! -name copyright -delete
    find "$r/usr/share/doc" -mindepth 1 -type d -empty -delete
    rm -rf "$r"/usr/share/{man,locale,lintian,info,bug} "$r"/usr/lib/debug
    # no programs and no scripts
    find "$r"/{bin,sbin,usr/bin,usr/sbin} -mindepth 1 ! -type d -delete 2>/dev/null || true
    rm -rf "$r"/etc/{update-motd.d,ca-certificates/update.d,profile.d}
    cat >"$r/etc/passwd" <<'ETC'
root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
ETC
    printf 'root:x:0:\nnobody:x:65534:\ntty:x:5:\nstaff:x:50:\nnonroot:x:65532:\n' >"$r/etc/group"
    printf 'hosts: files dns\n' >"$r/etc/nsswitch.conf"
    mkdir -p "$r"/{home/nonroot,root,tmp,dev,proc,sys,run}
    chmod 700 "$r/home/nonroot" "$r/root"; chmod 1777 "$r/tmp"
    chown 65532:65532 "$r/home/nonroot"
    put_ca "$r"
}
build_distroless_node_20() {
    local r=$1
    from distroless "$r"
    npm_tarballs
    mkdir -p "$r/nodejs/bin"
    tar -xzf "$npm_dir/node-linux-$node_arch-$NODE_VER.tgz" -C "$r/nodejs" --no-same-owner --strip-components=1 \
        package/bin/node package/LICENSE
    chmod 755 "$r/nodejs/bin/node"; chmod 644 "$r/nodejs/LICENSE"
}

# ------------------------------------------------------ what each image says
ENVS=() CMD=() ENTRY=() USR='' WDIR='' TITLE='' DESC='' TAGS=()
config_of() {
    local path='PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    ENVS=("$path") CMD=() ENTRY=() USR='' WDIR='' TAGS=("$1")
    case $1 in *:*) ;; *) TAGS=("$1:latest") ;; esac
    case $1 in
        busybox)
            CMD=(sh)
            DESC="Debian's busybox-static with a link for each applet" ;;
        debian:bookworm)
            CMD=(bash)
            DESC="Debian 12 minbase made with mmdebstrap" ;;
        debian:bookworm-slim)
            CMD=(bash)
            DESC="Debian 12 minbase made with mmdebstrap, without documentation, manual pages and translations" ;;
        node:20)
            CMD=(node) ENTRY=(docker-entrypoint.sh)
            DESC="Debian 12 minbase and ca-certificates with node $NODE_VER and npm $NPM_VER from their npm packages; no compilers, no git, no yarn" ;;
        node:20-slim)
            CMD=(node) ENTRY=(docker-entrypoint.sh)
            DESC="Debian 12 slim with node $NODE_VER and npm $NPM_VER from their npm packages; no yarn" ;;
        node:20-alpine)
            CMD=(node) ENTRY=(docker-entrypoint.sh)
            DESC="musl and busybox built from Debian's sources, with a GLIBC node $NODE_VER and Debian's glibc beside it, as no musl node is packaged; native add-ons for musl do not load" ;;
        alpine)
            CMD=(/bin/sh) TAGS=(alpine:latest alpine:3)
            DESC="musl and busybox built from Debian's sources in Alpine's layout; no apk repository, not Alpine Linux" ;;
        distroless)
            ENVS=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt)
            USR=65532 WDIR=/home/nonroot
            DESC="C and C++ runtime libraries, certificates and time zones unpacked from Debian packages; no shell; user nonroot" ;;
        distroless-node:20)
            ENVS=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/nodejs/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "NODE_VERSION=$NODE_VER")
            USR=65532 WDIR=/home/nonroot ENTRY=(/nodejs/bin/node)
            DESC="node $NODE_VER from its npm package on runtime libraries unpacked from Debian packages; no shell; user nonroot" ;;
    esac
    case $1 in node:*) ENVS+=("NODE_VERSION=$NODE_VER") ;; esac
    if [ -n "$ca_bundle" ]; then
        case $1 in *node:*) ENVS+=(NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt) ;; esac
    fi
    TITLE="$1 (local stand-in)"
    DESC="Local stand-in for $1, NOT the official image: $DESC. Made by kasane's examples/bases from Debian and npm packages."
}
js() { local s=${1//\\/\\\\}; printf '"%s"' "${s//\"/\\\"}"; }
js_list() { local sep='' x; printf '['; for x in "$@"; do printf '%s' "$sep"; js "$x"; sep=', '; done; printf ']'; }
changes_of() { # one Dockerfile instruction a line, after config_of
    local e
    for e in "${ENVS[@]}"; do printf 'ENV %s=%s\n' "${e%%=*}" "$(js "${e#*=}")"; done
    if [ ${#ENTRY[@]} -gt 0 ]; then printf 'ENTRYPOINT %s\n' "$(js_list "${ENTRY[@]}")"; fi
    if [ ${#CMD[@]} -gt 0 ]; then printf 'CMD %s\n' "$(js_list "${CMD[@]}")"; fi
    if [ -n "$WDIR" ]; then printf 'WORKDIR %s\n' "$WDIR"; fi
    if [ -n "$USR" ]; then printf 'USER %s\n' "$USR"; fi
    printf 'LABEL org.opencontainers.image.title=%s\n' "$(js "$TITLE")"
    printf 'LABEL org.opencontainers.image.description=%s\n' "$(js "$DESC")"
    printf 'LABEL org.opencontainers.image.ref.name=%s\n' "$(js "$1")"
    printf 'LABEL io.kasane.example.stand-in="true"\n'
    printf 'LABEL io.kasane.example.base-key=%s\n' "$(js "$2")"
}
sidecar() { # sidecar NAME KEY EPOCH FILE
    local lines=() l
    while IFS= read -r l; do lines+=("$l"); done < <(changes_of "$1" "$2")
    {
        printf '{\n  "Name": %s,\n  "Tar": %s,\n' "$(js "$1")" "$(js "$(safe "$1").tar")"
        printf '  "Tags": %s,\n' "$(js_list "${TAGS[@]}")"
        printf '  "Architecture": "%s",\n  "Os": "linux",\n' "$arch"
        printf '  "Created": "%s",\n' "$(date -u -d "@$3" +%Y-%m-%dT%H:%M:%SZ)"
        printf '  "Env": %s,\n  "Entrypoint": %s,\n  "Cmd": %s,\n' "$(js_list "${ENVS[@]}")" "$(js_list "${ENTRY[@]}")" "$(js_list "${CMD[@]}")"
        printf '  "User": %s,\n  "WorkingDir": %s,\n' "$(js "$USR")" "$(js "$WDIR")"
        printf '  "Labels": {\n    "org.opencontainers.image.title": %s,\n    "org.opencontainers.image.description": %s,\n' "$(js "$TITLE")" "$(js "$DESC")"
        printf '    "org.opencontainers.image.ref.name": %s,\n    "io.kasane.example.stand-in": "true",\n    "io.kasane.example.base-key": %s\n  },\n' "$(js "$1")" "$(js "$2")"
        printf '  "Changes": %s\n}\n' "$(js_list "${lines[@]}")"
    } >"$4"
}
deliver() {
    local name=$1 dir key t first c args=()
    make_base "$name"; dir=$made
    key=${dir##*-}
    config_of "$name"
    if [ -n "$out" ]; then
        t=$(mktemp "$out/.$(safe "$name").XXXXXX")
        cp --reflink=auto "$dir/rootfs.tar" "$t"; chmod 644 "$t"
        mv "$t" "$out/$(safe "$name").tar"
        t=$(mktemp "$out/.$(safe "$name").XXXXXX")
        sidecar "$name" "$key" "$(cat "$dir/epoch")" "$t"; chmod 644 "$t"
        mv "$t" "$out/$(safe "$name").json"
    fi
    if [ "$tar_only" = 1 ]; then return; fi
    if [ "$force_import" = 0 ] && "$kasane" image inspect "${TAGS[0]}" 2>/dev/null | grep -q "base-key.*$key"; then
        say "$name: kasane has it already"
    else
        while IFS= read -r c; do args+=(-c "$c"); done < <(changes_of "$name" "$key")
        "$kasane" import "${args[@]}" --platform "linux/$arch" "$dir/rootfs.tar" "${TAGS[0]}" >/dev/null ||
            die "'$kasane import' failed for $name"
        say "$name: imported as ${TAGS[0]}"
    fi
    first=${TAGS[0]}
    for t in "${TAGS[@]:1}"; do "$kasane" tag "$first" "$t"; done
}

for n in "${names[@]}"; do deliver "$n"; done
