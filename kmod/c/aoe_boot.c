/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * What the module needs of a kernel that boots: a word when its devices are
 * there, interfaces that come up without ifconfig(8), and a root mount that
 * waits.
 */

#include "aoe_var.h"

#include <sys/eventhandler.h>
#include <sys/proc.h>
#include <sys/socket.h>
#include <sys/sockio.h>

#include <net/if.h>
#include <net/if_var.h>
#include <net/vnet.h>

static struct root_hold_token *aoe_boot_token;	/* config lock */
static eventhandler_tag aoe_boot_tag;

/* The root file system is mounted: what follows is not part of booting. */
int
aoe_shim_boot_is_over(void)
{
	return (root_mounted());
}

void
aoe_shim_boot_hold(void)
{
	if (aoe_boot_token == NULL)
		aoe_boot_token = root_mount_hold("aoe");
}

void
aoe_shim_boot_release(void)
{
	root_mount_rel(aoe_boot_token);
	aoe_boot_token = NULL;
}

/* Does what "ifconfig up" does.  Sleeps; no lock of the module may be held. */
int
aoe_shim_boot_raise(struct ifnet *ifp)
{
	struct ifreq ifr;
	int error, flags;

	flags = if_getflags(ifp);
	if ((flags & IFF_UP) != 0)
		return (0);
	flags |= IFF_UP;
	memset(&ifr, 0, sizeof(ifr));
	ifr.ifr_flags = flags & 0xffff;
	ifr.ifr_flagshigh = flags >> 16;
	CURVNET_SET(if_getvnet(ifp));
	error = ifhwioctl(SIOCSIFFLAGS, ifp, (caddr_t)&ifr, curthread);
	CURVNET_RESTORE();
	return (error);
}

/* The kernel says so once, and again after a "reboot -r". */
static void
aoe_boot_mounted(void *arg __unused)
{
	aoe_rs_module_booted();
}

void
aoe_boot_init(void)
{
	aoe_boot_tag = EVENTHANDLER_REGISTER(mountroot, aoe_boot_mounted, NULL,
	    EVENTHANDLER_PRI_ANY);
}

/* Waits for the handler: the config lock must not be held. */
void
aoe_boot_fini(void)
{
	EVENTHANDLER_DEREGISTER(mountroot, aoe_boot_tag);
}

/*
 * Of a preloaded module this runs long after its load handler, when interrupts
 * and threads work and all devices of the bus are found, and before the root
 * is mounted; of any other, together with its load handler.
 */
static void
aoe_boot_start(void *arg __unused)
{
	if (aoe_module_is_loaded && !root_mounted())
		aoe_rs_module_boot();
}
SYSINIT(aoe_boot, SI_SUB_ROOT_CONF, SI_ORDER_FIRST, aoe_boot_start, NULL);
