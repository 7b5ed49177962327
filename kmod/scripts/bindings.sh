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
# What follows reads line by line, so the text must have lines.  Ours is built
# with a formatter of its own; the packaged one of FreeBSD calls rustfmt.
: > "$out.h"
if "$bindgen" --formatter prettyplease "$out.h" >/dev/null 2>&1; then
	options="$options --formatter prettyplease"
else
	options="$options --formatter rustfmt"
fi
rm -f "$out.h"
set -f
# The options hold no white space inside a word: splitting them is meant.
# shellcheck disable=SC2086
"$bindgen" $options --allowlist-function 'aoe_rs_[a-z0-9_]+' \
    --output "$out.raw" "$kmod/include/aoe_shim.h" "$@"

# What C calls is defined in Rust, so its declarations are of no use as such.
# They become a macro that holds each definition against its prototype: a
# function that differs from what C believes does not compile.
awk '
/^ *pub fn aoe_rs_/ { taking = 1; text = "" }
taking {
	text = text $0
	if ($0 ~ /;$/) {
		taking = 0
		match(text, /aoe_rs_[a-z0-9_]+/)
		name = substr(text, RSTART, RLENGTH)
		rest = substr(text, RSTART + RLENGTH)
		sub(/;$/, "", rest)
		gsub(/[[:space:]]+/, " ", rest)
		checks = checks "            const _: unsafe extern \"C\" fn" rest " = super::" name ";\n"
	}
	next
}
{ print }
END {
	print "macro_rules! check_entry_points {"
	print "    () => {"
	print "        mod prototypes {"
	print "            #![allow(unused_imports, clippy::all)]"
	print "            use $crate::ffi::raw::*;"
	printf "%s", checks
	print "        }"
	print "    };"
	print "}"
	print "pub(crate) use check_entry_points;"
	exit (checks == "")
}' "$out.raw" > "$out.tmp" || die "no aoe_rs function was found in the bindings"
rm -f "$out.raw"
mv "$out.tmp" "$out"
