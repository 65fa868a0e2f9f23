#!/bin/sh
# Makes seed corpora in DIR/<target>/ with the tools of the host; nothing binary is kept in
# the repository. Usage: tests/fuzz/make_seeds.sh DIR
set -eu
out=${1:?usage: make_seeds.sh DIR}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tar_seeds() {
  mkdir -p "$out/tar_reader_fuzz" "$work/t/d"
  cd "$work/t"
  printf hello >plain
  : >d/.wh.gone
  ln -s ../x link
  ln plain second
  mkfifo fifo
  printf x >"d/$(printf '%0150d' 0)"
  truncate -s 20000 sparse
  printf data | dd of=sparse bs=1 seek=9000 conv=notrunc 2>/dev/null
  for format in v7 ustar gnu oldgnu pax; do
    tar --format=$format --sort=name -cf "$out/tar_reader_fuzz/$format" plain second link d \
      2>/dev/null || true
  done
  tar --format=pax -cf "$out/tar_reader_fuzz/fifo" fifo
  tar --format=gnu -S -cf "$out/tar_reader_fuzz/sparse-gnu" sparse
  for version in 0.0 0.1 1.0; do
    tar --format=pax -S --sparse-version=$version -cf "$out/tar_reader_fuzz/sparse-$version" sparse
  done
  # Long records of NULs teach nothing.
  for file in "$out/tar_reader_fuzz"/*; do
    truncate -s "$(($(stat -c %s "$file") > 4096 ? 6144 : 4096))" "$file"
  done
}

compressed_seeds() {
  mkdir -p "$out/decompress_fuzz"
  head -c 3000 "$0" >"$work/text"
  for tool in gzip zstd xz bzip2; do
    command -v $tool >/dev/null || continue
    $tool -c <"$work/text" >"$out/decompress_fuzz/$tool"
    cat "$out/decompress_fuzz/$tool" "$out/decompress_fuzz/$tool" >"$out/decompress_fuzz/$tool-twice"
    printf '' | $tool -c >"$out/decompress_fuzz/$tool-empty"
  done
  gzip -c "$work/text" >"$out/decompress_fuzz/gzip-name"
}

git_ref_seeds() {
  mkdir -p "$out/git_ref_fuzz"
  n=0
  for text in 'https://e.com/b.git?ref=v1&subdir=/s&checksum=deadbeef' 'git@h:p.git#a/b:c/../d' \
    'ssh://git@h:22/p?tag=x&keep-git-dir' 'github.com/a/b#main' \
    'git://h/p?branch=b&submodules=0&mtime=commit&fetch-by-commit=true#:%2e%2e'; do
    n=$((n + 1))
    printf %s "$text" >"$out/git_ref_fuzz/$n"
  done
}

git_ref_seeds
tar_seeds
cd - >/dev/null
compressed_seeds
