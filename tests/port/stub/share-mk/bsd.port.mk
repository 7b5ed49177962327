# SPDX-License-Identifier: BSD-2-Clause
#
# STUB of FreeBSD's /usr/share/mk/bsd.port.mk, for a bmake on another system:
# `bmake -m tests/port/stub/share-mk PORTSDIR=...`.  FreeBSD uses its own.

# What bsd.own.mk and sys.mk say there.
.MAKE.EXPAND_VARIABLES=	yes
INSTALL?=	install
BINMODE?=	555
MANMODE?=	444

.include "${PORTSDIR}/Mk/bsd.port.mk"
