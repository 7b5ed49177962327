# SPDX-License-Identifier: BSD-2-Clause
#
# The front door.  The same under GNU make and BSD make: plain rules only, the
# work is in scripts.
#
#   make demo         a disk from a real AoE target, shown working, on this machine
#   make test         everything that CI runs
#   make kmod         aoe.ko: ARCH=amd64|aarch64 SYSDIR=path/to/sys
#                     KERNBUILDDIR=path OSVERSION=1500026 OUT=path/aoe.ko
#   make vm-test      the module in a FreeBSD machine: AOE_VM_KERNEL=file
#                     AOE_VM_ROOT=file (default $HOME/.cache/aoe-vm/{kernel,root.img})
#   make bench        figures for the module, the Linux driver and FreeBSD's iSCSI
#   make bench-loss   the same when frames are lost
#   make install-deps what all of these need, on Debian 12 as root
#   make clean        remove what was built
#
# CONTRIBUTING.md tells the rest.

all: kmod

# BSD make would go to an object folder if there is one; GNU make sees a target.
.OBJDIR: ./

demo:
	sh scripts/demo

test:
	sh scripts/test

kmod:
	ARCH='$(ARCH)' SYSDIR='$(SYSDIR)' KERNBUILDDIR='$(KERNBUILDDIR)' \
	OSVERSION='$(OSVERSION)' OUT='$(OUT)' C_MODULE='$(C_MODULE)' sh kmod/scripts/build.sh

vm-test:
	sh scripts/install-deps base kmod vm
	sh tests/vm/run

bench:
	sh scripts/install-deps base kmod vm bench
	sh tests/bench/run

bench-loss:
	sh scripts/install-deps base kmod vm
	sh tests/bench/run --loss --seconds 1 --repeat 20

install-deps:
	sh scripts/install-deps

clean:
	rm -rf build target kmod/target

.PHONY: all demo test kmod vm-test bench bench-loss install-deps clean
