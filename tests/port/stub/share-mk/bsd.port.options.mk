# SPDX-License-Identifier: BSD-2-Clause
#
# STUB of FreeBSD's /usr/share/mk/bsd.port.options.mk; see bsd.port.mk here.

USEOPTIONSMK=	yes
INOPTIONSMK=	yes

.include <bsd.port.mk>

.undef INOPTIONSMK
