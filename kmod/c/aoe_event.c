/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * What the kernel announces: interfaces that come, go and change, and the
 * shutdown.
 */

#include "aoe_var.h"

#include <sys/eventhandler.h>
#include <sys/proc.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <net/if.h>
#include <net/if_var.h>
#include <net/vnet.h>

static eventhandler_tag aoe_arrival_tag, aoe_departure_tag, aoe_link_tag,
    aoe_updown_tag, aoe_lladdr_tag, aoe_shutdown_tag;

static bool
aoe_event_is_ours(struct ifnet *ifp)
{
#ifdef VIMAGE
	return (if_getvnet(ifp) == vnet0);
#else
	return (true);
#endif
}

static bool
aoe_event_is_rename(struct ifnet *ifp)
{
	return ((if_getflags(ifp) & IFF_RENAMING) != 0);
}

static void
aoe_event_arrival(void *arg __unused, struct ifnet *ifp)
{
	const char *name = if_name(ifp);

	if (aoe_event_is_ours(ifp))
		aoe_rs_netif_arrive(ifp, name, strlen(name),
		    aoe_event_is_rename(ifp));
}

/* A rename is a departure and an arrival of an interface that stays. */
static void
aoe_event_departure(void *arg __unused, struct ifnet *ifp)
{
	if (aoe_event_is_ours(ifp) && !aoe_event_is_rename(ifp))
		aoe_rs_netif_depart(ifp);
}

/*
 * The rest may be announced where sleeping is forbidden; and a driver may
 * finish what is announced only afterwards.
 */
static void
aoe_event_link(void *arg __unused, struct ifnet *ifp, int state __unused)
{
	if (aoe_event_is_ours(ifp))
		aoe_shim_netif_work();
}

static void
aoe_event_lladdr(void *arg __unused, struct ifnet *ifp)
{
	if (aoe_event_is_ours(ifp))
		aoe_shim_netif_work();
}

/*
 * Before the file systems are synchronised: what is held for a dead target
 * would keep the machine from going down.
 */
static void
aoe_event_shutdown(void *arg __unused, int howto)
{
	if ((howto & RB_NOSYNC) == 0 && !SCHEDULER_STOPPED())
		aoe_rs_module_shutdown();
}

/*
 * init(8) calls sync(2) once in its life: when the machine goes down, before
 * it calls reboot(2), and with that before the kernel announces anything.  A
 * file system whose disk does not answer holds it there for ever.
 */
int
aoe_shim_init_syncs(void)
{
	struct thread *td;
	bool syncs;

	if (initproc == NULL)
		return (0);
	PROC_LOCK(initproc);
	td = FIRST_THREAD_IN_PROC(initproc);
	syncs = td != NULL && td->td_sa.code == SYS_sync && TD_ON_SLEEPQ(td);
	PROC_UNLOCK(initproc);
	return (syncs);
}

void
aoe_event_init(void)
{
	aoe_arrival_tag = EVENTHANDLER_REGISTER(ifnet_arrival_event,
	    aoe_event_arrival, NULL, EVENTHANDLER_PRI_ANY);
	aoe_departure_tag = EVENTHANDLER_REGISTER(ifnet_departure_event,
	    aoe_event_departure, NULL, EVENTHANDLER_PRI_ANY);
	aoe_link_tag = EVENTHANDLER_REGISTER(ifnet_link_event,
	    aoe_event_link, NULL, EVENTHANDLER_PRI_ANY);
	aoe_updown_tag = EVENTHANDLER_REGISTER(ifnet_event,
	    aoe_event_link, NULL, EVENTHANDLER_PRI_ANY);
	aoe_lladdr_tag = EVENTHANDLER_REGISTER(iflladdr_event,
	    aoe_event_lladdr, NULL, EVENTHANDLER_PRI_ANY);
	aoe_shutdown_tag = EVENTHANDLER_REGISTER(shutdown_pre_sync,
	    aoe_event_shutdown, NULL, SHUTDOWN_PRI_FIRST);
}

/* Waits for handlers that run: the config lock must not be held. */
void
aoe_event_fini(void)
{
	EVENTHANDLER_DEREGISTER(shutdown_pre_sync, aoe_shutdown_tag);
	EVENTHANDLER_DEREGISTER(iflladdr_event, aoe_lladdr_tag);
	EVENTHANDLER_DEREGISTER(ifnet_event, aoe_updown_tag);
	EVENTHANDLER_DEREGISTER(ifnet_link_event, aoe_link_tag);
	EVENTHANDLER_DEREGISTER(ifnet_departure_event, aoe_departure_tag);
	EVENTHANDLER_DEREGISTER(ifnet_arrival_event, aoe_arrival_tag);
}
