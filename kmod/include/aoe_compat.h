/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * Everything in which the kernels of FreeBSD 14 and 15 differ for this module.
 */

#ifndef _AOE_COMPAT_H_
#define	_AOE_COMPAT_H_

#include <sys/param.h>

#if __FreeBSD_version < 1400000
#error "aoe needs FreeBSD 14 or newer"
#endif

/* caddr_t on 14 and early 15, char * later; read as bytes here. */
#define	aoe_compat_lladdr(ifp)	((const uint8_t *)if_getlladdr(ifp))

#endif /* !_AOE_COMPAT_H_ */
