#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: headers.sh BUILD SERIES
#
# Prints the folder that holds the FreeBSD headers of a series (14 or 15),
# fetching them first when they are not there.  The PyPI package `ziglang` ships
# the complete installed headers of FreeBSD for every architecture, kernel ones
# included; only the concurrency kit's are missing, which Debian's libck-dev has.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

build=$1 series=$2
case $series in
14) package=ziglang==0.15.2 ;;
15) package=ziglang==0.17.1 ;;
*) die "no packaged headers for FreeBSD $series" ;;
esac
headers=$build/headers/freebsd-$series

mkdir -p "$build/headers"
exec 9>"$build/headers/.lock"
flock 9
if [ ! -d "$headers" ]; then
	tmp=$(mktemp -d "$build/headers/tmp.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	echo "pip download $package" >&2
	python3 -m pip download --quiet --disable-pip-version-check --no-deps \
	    --only-binary :all: --platform manylinux2010_x86_64 \
	    --platform manylinux_2_12_x86_64 --dest "$tmp" "$package" >&2
	python3 - "$tmp" <<'EOF'
import pathlib, sys, zipfile

root = pathlib.Path(sys.argv[1])
prefix = "ziglang/lib/libc/include/"
wanted = ("generic-freebsd/", "x86_64-freebsd-none/", "aarch64-freebsd-none/")
(wheel,) = root.glob("ziglang-*.whl")
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        rest = name.removeprefix(prefix)
        if rest != name and rest.startswith(wanted) and not rest.endswith("/"):
            target = root / "out" / rest
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
EOF
	[ -f "$tmp/out/generic-freebsd/geom/geom_disk.h" ] ||
	    die "$package does not hold the FreeBSD headers"
	mkdir -p "$tmp/out/ck"
	cp -R /usr/include/ck*.h /usr/include/gcc "$tmp/out/ck/"
	# Debian's ck_md.h describes user space on the machine it was built for
	# (total store order, SSE); this describes the two kernels.
	cat > "$tmp/out/ck/ck_md.h" <<'EOF'
#ifndef CK_MD_H
#define CK_MD_H
#include <sys/param.h>
#define CK_MD_PAGESIZE PAGE_SIZE
#define CK_MD_RTM_DISABLE
#define CK_MD_LSE_DISABLE
#define CK_MD_POINTER_PACK_DISABLE
#define CK_MD_SSE_DISABLE 1
#define CK_MD_VMA_BITS_UNKNOWN
#define CK_MD_CC_BUILTIN_DISABLE 1
#define CK_PR_DISABLE_DOUBLE
#ifdef __amd64__
#define CK_MD_CACHELINE 64
#define CK_MD_TSO
#else
#define CK_MD_CACHELINE CACHE_LINE_SIZE
#define CK_MD_RMO
#endif
#endif
EOF
	mv "$tmp/out" "$headers"
fi
echo "$headers"
