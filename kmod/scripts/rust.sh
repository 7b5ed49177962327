#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: rust.sh ARCH BINDINGS.rs WORKDIR OUT.o
#        rust.sh ARCH - WORKDIR OUT.o SOURCE.rs
#
# Compiles the Rust half of the module into one relocatable object: `core`
# (from the compiler's own sources, for the kernel's code model), aoe-wire,
# aoe-core and aoe-kmod.  Plain rustc calls: cargo would need a lock file that
# matches the library of every compiler this is built with, and the network.
# The second form compiles one file in the same way, for the checks' own test.
#
# Environment: RUSTC, LD, AR; AOE_RUST_CACHE, a folder in which the compiled
# `core` is kept (default: WORKDIR).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
kmod=$(dirname "$here")
crates=$(dirname "$kmod")/crates
. "$here/common.sh"

arch=$1 bindings=$2 work=$3 out=$4 source=${5:-}
cache=${AOE_RUST_CACHE:-$work}
RUSTC=$(find_rustc) ||
    die "no rustc of 1.88 or later with its library sources (Debian 12 with its
security updates: rustc-web rust-web-src; FreeBSD: lang/rust, whose option SOURCES
is on in the package)"
library=$(rust_library "$RUSTC")
LD=${LD:-ld}
AR=${AR:-ar}
# `core` from source and the -Z flags below are what "unstable" means here;
# the compiler is an ordinary release and always the one that built `core`.
RUSTC_BOOTSTRAP=1
export RUSTC_BOOTSTRAP

# Flags that change the ABI or what code may touch: all crates must agree.
flags="-C panic=abort -C opt-level=2 -C codegen-units=1
    -C force-frame-pointers=yes -C embed-bitcode=yes
    -C debug-assertions=no -C overflow-checks=no
    -C debuginfo=1 -C dwarf-version=4 -Z emit-stack-sizes"
case $arch in
amd64)
	# A relocatable object for the top 2 GB, where the kernel lives.  The
	# target has no SSE, no x87 and no red zone.  The kernel's linker knows
	# no GOT relocations: external calls go by PLT32, which it binds directly.
	target=x86_64-unknown-none
	flags="$flags -C relocation-model=static -C code-model=kernel -Z plt=yes"
	;;
aarch64)
	# A shared object.  x18 holds the per-CPU pointer; the kernel's text is
	# mapped with BTI.
	target=aarch64-unknown-none-softfloat
	flags="$flags -C relocation-model=pic -Z fixed-x18
	    -Z branch-protection=bti,pac-ret"
	;;
*)
	die "unknown architecture $arch"
	;;
esac

# shellcheck disable=SC2086
rustc_k()
{
	"$RUSTC" --target "$target" --sysroot "$sysroot" --edition 2024 \
	    --remap-path-prefix "$(dirname "$kmod")=." $flags "$@"
}

# 1. `core`, once for each compiler and set of flags.  It is made beside its
# final place and moved there whole, so that two builds cannot disturb each
# other and a broken-off one leaves nothing behind.
# no_fp_fmt_parse leaves out the printing and parsing of floats.
core_flags="--cap-lints allow -Z force-unstable-if-unmarked --cfg no_fp_fmt_parse"
key=$({ "$RUSTC" -vV; echo "$target $flags $core_flags $library"; } | checksum)
ready=$cache/core-$arch-$key
if [ ! -d "$ready" ]; then
	echo "rustc core ($target, $("$RUSTC" --version))"
	mkdir -p "$cache"
	sysroot=$(mktemp -d "$cache/core-$arch.XXXXXX")
	libdir=$sysroot/lib/rustlib/$target/lib
	mkdir -p "$libdir"
	# shellcheck disable=SC2086
	rustc_k --crate-name core --crate-type rlib --out-dir "$libdir" \
	    $core_flags "$library/core/src/lib.rs"
	# Every no_std crate asks for compiler_builtins.  Ours is empty: the
	# kernel has memcpy and its kin, and whatever else the code generator
	# might call (128-bit division, soft floats) has no place in this module
	# and is found by the check of imported symbols.
	cat > "$sysroot/compiler_builtins.rs" <<'EOF'
#![feature(compiler_builtins)]
#![allow(internal_features)]
#![compiler_builtins]
#![no_builtins]
#![no_std]
EOF
	rustc_k --crate-name compiler_builtins --crate-type rlib \
	    --out-dir "$libdir" "$sysroot/compiler_builtins.rs"
	if [ -d "$ready" ]; then rm -rf "$sysroot"; else mv "$sysroot" "$ready"; fi
fi
sysroot=$ready

# 2. Our crates.
libs=$work/rust-$arch
rm -rf "$libs"
mkdir -p "$libs"
# rlib NAME FOLDER FLAG...
rlib()
{
	_crate=$1 _folder=$2
	shift 2
	echo "rustc $_crate"
	rustc_k --crate-name "$_crate" --crate-type rlib --out-dir "$libs" \
	    -L "$libs" "$@" "$crates/$_folder/src/lib.rs"
}
if [ -z "$source" ]; then
	rlib aoe_wire aoe-wire
	rlib aoe_core aoe-core --extern aoe_wire
fi

# 3. Fat LTO over everything, `core` included, keeps only what the extern
# functions reach.  The archive holds its result and the (empty) builtins.
#
# object NAME SOURCE OUT FLAG...: one crate and all that it uses as one object.
object()
{
	_crate=$1 _source=$2 _out=$3
	shift 3
	echo "rustc $_crate"
	mkdir -p "$libs/$_crate"
	rustc_k --crate-name "$_crate" --crate-type staticlib -C lto=fat \
	    -L "$libs" "$@" -o "$libs/$_crate/lib.a" "$_source"
	(cd "$libs/$_crate" && "$AR" x lib.a && rm -f compiler_builtins*.o)
	set -- "$libs/$_crate"/*.o
	[ $# -eq 1 ] || die "expected one object in the Rust library, found: $*"
	mv "$1" "$_out"
}
if [ -n "$source" ]; then
	object planted "$source" "$out"
	exit 0
fi
# The entry points of aoe-wire alone, for the check that none can panic.
object wire_check "$kmod/checks/wire_entry.rs" "$(dirname "$out")/wire_check.o" \
    --extern aoe_wire

AOE_BINDINGS=$bindings
CARGO_PKG_VERSION=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' \
    "$(dirname "$kmod")/Cargo.toml")
# Where "please report this" sends people.
AOE_REPORT=
. "$(dirname "$kmod")/release.conf"
[ -n "$AOE_REPORT" ] || die "release.conf: AOE_REPORT is empty"
export AOE_BINDINGS AOE_REPORT CARGO_PKG_VERSION
object aoe_kmod "$kmod/src/lib.rs" "$out" --extern aoe_wire --extern aoe_core
