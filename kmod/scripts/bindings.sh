#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: bindings.sh OUT.rs COMPILER-FLAG...
#
# Turns include/aoe_shim.h, the whole boundary between C and Rust, into Rust.
# The compiler flags are those of the C files, so that Rust sees the very
# structures, constants and options that the C half is compiled with.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
kmod=$(dirname "$here")
. "$here/common.sh"

out=$1
shift
bindgen=${BINDGEN:-$(first_command bindgen)} ||
    die "bindgen is missing (FreeBSD: pkg install rust-bindgen-cli)"

# One option a line in bindgen.flags; '#' starts a comment.
set -- -- "$@" -I"$kmod/include"
options=$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$kmod/bindgen.flags")
set -f
# The options hold no white space inside a word: splitting them is meant.
# shellcheck disable=SC2086
"$bindgen" $options --output "$out.tmp" "$kmod/include/aoe_shim.h" "$@"
mv "$out.tmp" "$out"
