# SPDX-License-Identifier: BSD-2-Clause
#
# The front door.  The same under GNU make and BSD make: plain rules only, the
# work is in scripts.
#
#   make              the module and aoectl (FreeBSD), or aoectl (elsewhere)
#   make install      installs them, with pages and start-up script: PREFIX DESTDIR
#   make install-module  the module, its page and the start-up script alone (FreeBSD)
#   make deinstall    removes what `make install` installed
#   make kmod         aoe.ko: ARCH=amd64|aarch64 SYSDIR=path/to/sys
#                     KERNBUILDDIR=path OSVERSION=1500026 OUT=path/aoe.ko
#   make clean        remove what was built
#
# INSTALL.md tells the rest.  In the project's repository develop.mk adds:
#
#   make demo         a disk from a real AoE target, shown working, on this machine
#   make test         everything that CI runs
#   make vm-test      the module in a FreeBSD machine: AOE_VM_KERNEL=file
#                     AOE_VM_ROOT=file (default $HOME/.cache/aoe-vm/{kernel,root.img})
#   make bench        figures for the module, the Linux driver and FreeBSD's iSCSI
#   make bench-loss   the same when frames are lost
#   make dist         the release, build/aoe-<version>.tar.xz, from HEAD
#   make port-release the ports and all they fetch: PORTSDIR=path DISTDIR=path
#   make release-values  what release.conf, Cargo.lock and rc.d/aoe say, written
#                     everywhere where it is repeated
#   make install-deps what all of these need, on Debian 12 as root
#
# CONTRIBUTING.md tells the rest of that.

VARIABLES=	PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' KMODDIR='$(KMODDIR)' \
		AOE_BUILD='$(AOE_BUILD)' SYSDIR='$(SYSDIR)' KERNBUILDDIR='$(KERNBUILDDIR)'

all:
	$(VARIABLES) sh scripts/install build

# BSD make would go to an object folder if there is one; GNU make sees a target.
.OBJDIR: ./

install:
	$(VARIABLES) sh scripts/install install

install-module:
	$(VARIABLES) sh scripts/install install-module

deinstall:
	$(VARIABLES) sh scripts/install deinstall

kmod:
	$(VARIABLES) ARCH='$(ARCH)' OSVERSION='$(OSVERSION)' OUT='$(OUT)' \
	C_MODULE='$(C_MODULE)' sh kmod/scripts/build.sh

clean:
	rm -rf build target kmod/target

.PHONY: all install install-module deinstall kmod clean

-include develop.mk
