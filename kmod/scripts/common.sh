# SPDX-License-Identifier: BSD-2-Clause
#
# Shared by the scripts that build the kernel module.  POSIX sh: these run on
# FreeBSD and on Linux.

die()
{
	echo "kmod: $*" >&2
	exit 1
}

# first_command NAME...: the path of the first of these commands that exists.
first_command()
{
	for _name in "$@"; do
		if command -v "$_name" 2>/dev/null; then
			return 0
		fi
	done
	return 1
}

# rust_library RUSTC: where this compiler keeps the sources of `core`, if it
# has them.  Both Debian's rust-web-src and FreeBSD's rust package use the
# place that rustup uses.
rust_library()
{
	_root=$("$1" --print sysroot 2>/dev/null) || return 1
	_lib=$_root/lib/rustlib/src/rust/library
	[ -f "$_lib/core/src/lib.rs" ] && echo "$_lib"
}

# new_enough RUSTC: 1.88 or later, as Cargo.toml says.
new_enough()
{
	"$1" --version 2>/dev/null |
	    awk '{ split($2, v, "."); exit !(v[1] > 1 || v[2] >= 88) }'
}

# find_rustc: a compiler that has its own library sources beside it.  `core`
# belongs to exactly one compiler, so a compiler without sources is of no use.
find_rustc()
{
	for _rustc in "${RUSTC:-}" rustc /usr/bin/rustc /usr/local/bin/rustc; do
		[ -n "$_rustc" ] || continue
		command -v "$_rustc" >/dev/null 2>&1 || continue
		if rust_library "$_rustc" >/dev/null && new_enough "$_rustc"; then
			command -v "$_rustc"
			return 0
		fi
	done
	return 1
}

# csrcs: the C sources of the module.  kmod/Makefile holds the one list.
csrcs()
{
	awk '$1 == "AOE_CSRCS+=" { print $2 }' "$1/Makefile"
}

# checksum: a short stable name for what comes in on standard input.
checksum()
{
	cksum | awk '{ printf "%x", $1 }'
}
