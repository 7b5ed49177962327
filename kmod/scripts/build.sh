#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# What `make kmod` runs: bsd.kmod.mk on FreeBSD, cross.sh everywhere else; then
# the checks of the object.  Environment: see cross.sh.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
kmod=$(dirname "$here")
. "$here/common.sh"

# The outer make's flags and variables must not reach an inner make or cargo.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
for _var in ARCH SYSDIR KERNBUILDDIR OSVERSION OUT C_MODULE; do
	eval "[ -n \"\${$_var:-}\" ]" || unset "$_var"
done

if [ "$(uname -s)" != FreeBSD ]; then
	[ -f "$here/cross.sh" ] ||
	    die "this is a release: it builds the module on FreeBSD only.  The cross
build for other systems is in the project's repository"
	exec "$here/cross.sh"
fi

native=$(uname -p)
[ "${ARCH:-$native}" = "$native" ] ||
    die "on FreeBSD the module is built for this machine ($native) only"
unset ARCH
[ -z "${C_MODULE:-}" ] || die "C_MODULE is for other systems than FreeBSD"
set --
[ -z "${SYSDIR:-}" ] || set -- "$@" "SYSDIR=$SYSDIR"
[ -z "${KERNBUILDDIR:-}" ] || set -- "$@" "KERNBUILDDIR=$KERNBUILDDIR"
sysdir=${SYSDIR:-/usr/src/sys}
[ -f "$sysdir/sys/param.h" ] ||
    die "no kernel sources in $sysdir; give SYSDIR=path/to/sys"
if [ -n "${OSVERSION:-}" ]; then
	grep -q "__FreeBSD_version $OSVERSION" "$sysdir/sys/param.h" ||
	    die "$sysdir is not FreeBSD $OSVERSION"
fi
# Everything that is made goes to build/ or AOE_BUILD, as on the other systems.
unset MAKEOBJDIRPREFIX MAKEOBJDIR
build=${AOE_BUILD:-$(dirname "$kmod")/build}
obj=$build/kmod/native
mkdir -p "$obj" || die "$build cannot be written; AOE_BUILD names another folder"
obj=$(cd "$obj" && pwd)
# The checks of the object are written in Python, which is not everywhere.
command -v python3 >/dev/null 2>&1 && set -- "$@" check
make -C "$kmod" MAKEOBJDIR="$obj" "$@" all
if [ -n "${OUT:-}" ]; then
	cp "$obj/aoe.ko" "$OUT"
fi
echo "kmod: ${OUT:-$obj/aoe.ko}"
