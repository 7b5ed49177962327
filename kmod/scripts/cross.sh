#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Builds aoe.ko on a machine that is not FreeBSD, doing what sys/conf/kmod.mk
# and kern.mk do there.  `make kmod` is the front door; see CONTRIBUTING.md.
#
# Environment: ARCH (amd64 or aarch64), SYSDIR (a FreeBSD sys/ tree; without it
# the packaged headers are used), KERNBUILDDIR (a kernel's build folder, whose
# options are used), OSVERSION (__FreeBSD_version), OUT (where aoe.ko goes),
# AOE_BUILD (the folder for what is made; default: build/ at the top), and
# C_MODULE (a C file that is a module by itself, to be built instead of aoe.ko;
# for tests).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
kmod=$(dirname "$here")
top=$(dirname "$kmod")
. "$here/common.sh"

ARCH=${ARCH:-amd64}
SYSDIR=${SYSDIR:-}
KERNBUILDDIR=${KERNBUILDDIR:-}
OSVERSION=${OSVERSION:-}
C_MODULE=${C_MODULE:-}
build=${AOE_BUILD:-$top/build}

case $ARCH in
amd64|x86_64)
	ARCH=amd64 machine=amd64 zigarch=x86_64 ;;
aarch64|arm64)
	ARCH=aarch64 machine=arm64 zigarch=aarch64 ;;
*)
	die "ARCH is amd64 or aarch64, not $ARCH" ;;
esac

"$here/tools.sh" "$build"
. "$build/tools/env"

# The packaged headers are of releases, and a series keeps its structures from
# its first release on.  Of the versions between two series only those are known
# here that were compared structure by structure.
if [ -z "$SYSDIR" ]; then
	case ${OSVERSION:=1500068} in
	14*) series=14 first=1400097 ;;
	15*) series=15 first=1500068 ;;
	*) die "packaged headers exist for 14 and 15 only; OSVERSION=$OSVERSION" ;;
	esac
	[ "$OSVERSION" -ge $first ] || [ "$OSVERSION" = 1500026 ] ||
	    die "$OSVERSION is a development version, and the packaged headers are of
$first and later: its kernel structures differ.  Give its sources by SYSDIR"
	name=headers-$OSVERSION-$ARCH
else
	[ -f "$SYSDIR/sys/param.h" ] || die "SYSDIR=$SYSDIR is not a FreeBSD sys/ tree"
	SYSDIR=$(cd "$SYSDIR" && pwd)
	treeversion=$(awk '$1 == "#define" && $2 == "__FreeBSD_version" { print $3 }' \
	    "$SYSDIR/sys/param.h")
	[ "${OSVERSION:-$treeversion}" = "$treeversion" ] ||
	    die "SYSDIR is FreeBSD $treeversion, not $OSVERSION"
	OSVERSION=$treeversion
	name=tree-$OSVERSION-$ARCH-$(echo "$SYSDIR $KERNBUILDDIR" | checksum)
fi
if [ -n "$KERNBUILDDIR" ]; then
	[ -f "$KERNBUILDDIR/opt_global.h" ] ||
	    die "KERNBUILDDIR=$KERNBUILDDIR has no opt_global.h"
	KERNBUILDDIR=$(cd "$KERNBUILDDIR" && pwd)
	name=$name-$(basename "$KERNBUILDDIR")
fi

ko=aoe
if [ -n "$C_MODULE" ]; then
	[ -f "$C_MODULE" ] || die "C_MODULE=$C_MODULE is not there"
	C_MODULE=$(cd "$(dirname "$C_MODULE")" && pwd)/$(basename "$C_MODULE")
	ko=$(basename "$C_MODULE" .c)
	name=$name-$ko
fi

obj=$build/kmod/$name
OUT=${OUT:-$obj/$ko.ko}
mkdir -p "$obj" "$(dirname "$OUT")"
OUT=$(cd "$(dirname "$OUT")" && pwd)/$(basename "$OUT")
# One build at a time in one folder.
exec 9>"$obj/.lock"
flock 9
cd "$obj"
# Nothing of an earlier list of sources may stay behind: the checks look at
# every object that is here.
rm -f -- *.o "$ko.ko" "$ko.ko.full"

# generate_options: opt_global.h as kmod.mk writes it for a module that is not
# built with a kernel (config.mk), and KDTRACE_HOOKS, which every GENERIC kernel
# has and without which the SDT probes vanish.  The options of DEFAULTS follow;
# without a tree they are those of the releases.
generate_options()
{
	for _option in SMP MAC VIMAGE KDTRACE_HOOKS; do
		echo "#define $_option 1"
	done
	if [ -n "$SYSDIR" ]; then
		awk '$1 == "options" && $2 !~ "GEOM_" { print "#define", $2, 1 }' \
		    "$SYSDIR/$machine/conf/DEFAULTS"
	else
		case $ARCH in
		amd64) echo "#define EARLY_AP_STARTUP 1" ;;
		aarch64) echo "#define INTRNG 1" ;;
		esac
		echo "#define CC_CUBIC 1"
		echo "#define NETLINK 1"
	fi
}

includes="-I$kmod/include -I$obj"
if [ -n "$SYSDIR" ]; then
	includes="$includes -I$SYSDIR -I$SYSDIR/contrib/ck/include"
	ln -sfn "$SYSDIR/$machine/include" machine
	if [ "$ARCH" = amd64 ]; then
		ln -sfn "$SYSDIR/x86/include" x86
		ln -sfn "$SYSDIR/i386/include" i386
	fi
else
	headers=$("$here/headers.sh" "$build" "$series")
	rm -rf sys
	if [ "$OSVERSION" = 1500026 ]; then
		# struct thread had no extended errors yet, and the macros of the
		# virtual network stack write into what comes after them; there
		# were two address families less, and struct ifnet has an array of
		# them before its methods.
		mkdir sys
		sed 's/^\(#define[[:space:]]*AF_MAX[[:space:]]*\)46/\144/' \
		    "$headers/generic-freebsd/sys/socket.h" > sys/socket.h
		grep -v -e 'struct kexterr[[:space:]]*td_kexterr;' -e 'td_exterr_ptr;' \
		    "$headers/generic-freebsd/sys/proc.h" > sys/proc.h
	fi
	includes="$includes -I$headers/$zigarch-freebsd-none -I$headers/generic-freebsd
	    -I$headers/ck"
fi
if [ -n "$KERNBUILDDIR" ]; then
	global=$KERNBUILDDIR/opt_global.h
	includes="$includes -DHAVE_KERNEL_OPTION_HEADERS -I$KERNBUILDDIR"
	rm -f opt_global.h
else
	global=$obj/opt_global.h
	generate_options > opt_global.h
fi

# The flags of kmod.mk and kern.mk.
cflags="-target $zigarch-unknown-freebsd${OSVERSION%?????}.0
    -D_KERNEL -DKLD_MODULE -nostdinc -include $global $includes
    -O2 -pipe -fno-strict-aliasing -fno-common -ffreestanding -fwrapv
    -fno-omit-frame-pointer -mno-omit-leaf-frame-pointer -fstack-protector
    -std=gnu99 -gdwarf-4 -ffile-prefix-map=$top/="
case $ARCH in
amd64)
	cflags="$cflags -mno-aes -mno-avx -mcmodel=kernel -mno-red-zone
	    -mno-mmx -mno-sse -msoft-float -fno-asynchronous-unwind-tables" ;;
aarch64)
	cflags="$cflags -fPIC -mgeneral-regs-only -ffixed-x18
	    -mbranch-protection=standard -mno-outline-atomics -mabi=aapcs" ;;
esac
# Headers without a version of their own; sys/select.h of 15 asks for the level
# of a library that is not there.
if [ -z "$SYSDIR" ]; then
	cflags="$cflags -D__FreeBSD_version=$OSVERSION -D__SSP_FORTIFY_LEVEL=0"
fi
# The warnings of kern.mk, as errors; and the limit on stack frames here
# already, where the message names the function and the line.
wflags="-Werror -Wall -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
    -Wcast-qual -Wundef -Wno-pointer-sign -D__printf__=__freebsd_kprintf__
    -Wmissing-include-dirs -fdiagnostics-show-option -Wno-unknown-pragmas
    -Wswitch -Wno-format-zero-length -Wno-address-of-packed-member
    -Wno-misleading-indentation -Wno-unused-but-set-variable
    -Wframe-larger-than=1023 -fstack-size-section"

echo "kmod: $name"
objects=
compile()
{
	echo "cc $(basename "$1")"
	_object=$(basename "$1" .c).o
	# shellcheck disable=SC2086
	"$CC" $cflags $wflags -c "$1" -o "$_object"
	objects="$objects $_object"
}

if [ -n "$C_MODULE" ]; then
	compile "$C_MODULE"
else
	for src in $(csrcs "$kmod"); do
		compile "$kmod/c/$src"
	done
	# shellcheck disable=SC2086
	"$here/bindings.sh" "$obj/bindings.rs" $cflags
	AOE_RUST_CACHE=$build/rust "$here/rust.sh" "$ARCH" "$obj/bindings.rs" "$obj" \
	    "$obj/aoe_rust.o"
	objects="$objects aoe_rust.o"
fi

# keep_local OBJECT: nothing in a module is for other modules, as kmod_syms.awk
# does for EXPORT_SYMS=NO.
keep_local()
{
	"$NM" -g --defined-only "$1" | awk 'NF == 3 { print "--localize-symbol=" $3 }' > export_syms
	"$OBJCOPY" @export_syms "$1"
}

ldflags="-warn-common --build-id=sha1"
# shellcheck disable=SC2086
case $ARCH in
amd64)
	script=$here/kmod.ldscript.amd64
	if [ -n "$SYSDIR" ] && [ -f "$SYSDIR/conf/ldscript.kmod.amd64" ]; then
		script=$SYSDIR/conf/ldscript.kmod.amd64
	fi
	"$LD" -m elf_x86_64_fbsd $ldflags -T "$script" -r -o "$ko.ko.full" $objects
	keep_local "$ko.ko.full"
	;;
aarch64)
	# --no-relax: relaxed addressing breaks the virtual network stack's
	# per-instance variables.
	ldflags="$ldflags --no-relax"
	"$LD" -m aarch64elf $ldflags -r -o $ko.kld $objects
	keep_local $ko.kld
	"$LD" -m aarch64elf $ldflags -Bshareable -znotext -znorelro \
	    -z bti-report=error -o $ko.ko.full $ko.kld
	;;
esac
"$OBJCOPY" --strip-debug --remove-section=.stack_sizes \
    --remove-section=.rela.stack_sizes --remove-section=.comment "$ko.ko.full" "$ko.ko"
[ -n "$C_MODULE" ] || python3 "$kmod/checks/run.py" "$ARCH" "$obj"
[ "$OUT" = "$obj/$ko.ko" ] || cp "$ko.ko" "$OUT"
echo "kmod: $OUT"
