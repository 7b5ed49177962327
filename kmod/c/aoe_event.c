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

static eventhandler_tag aoe_arrival_tag, aoe_attached_tag, aoe_departure_tag,
    aoe_rename_tag, aoe_link_tag, aoe_updown_tag, aoe_lladdr_tag,
    aoe_shutdown_tag;

static bool
aoe_event_is_ours(struct ifnet *ifp)
{
#ifdef VIMAGE
	return (if_getvnet(ifp) == vnet0);
#else
	return (true);
#endif
}

/*
 * In kernels without ifnet_rename_event a rename is a departure and an arrival
 * of an interface that stays.
 */
static bool
aoe_event_is_rename(struct ifnet *ifp __unused)
{
#ifdef IFF_RENAMING
	return ((if_getflags(ifp) & IFF_RENAMING) != 0);
#else
	return (false);
#endif
}

/*
 * The thread that changes the name is the one that announces it, so that the
 * name stands still meanwhile.
 */
static void
aoe_event_rename(void *arg __unused, struct ifnet *ifp)
{
	const char *name = if_name(ifp);

	if (aoe_event_is_ours(ifp))
		aoe_rs_netif_rename(ifp, name, strlen(name));
}

/*
 * An interface must not be used any more when this returns.  It left the list
 * of interfaces before it was announced here: whoever looks it up by its name
 * and marks it as used, both under the netifs lock, either does not find it or
 * is found here.
 */
static void
aoe_event_departure(void *arg __unused, struct ifnet *ifp)
{
	if (aoe_event_is_ours(ifp) && !aoe_event_is_rename(ifp)) {
		aoe_rs_netif_depart(ifp);
		aoe_ifnet_wait(ifp);
	}
}

/*
 * Everything else is only a reason to look at the interfaces: it may be
 * announced where sleeping is forbidden, before a driver has finished what it
 * announces, and, with arrivals of some kernels, before the interface can be
 * found.  What was looked at too early is looked at again within a second.
 */
static void
aoe_event_arrival(void *arg, struct ifnet *ifp)
{
	if (aoe_event_is_rename(ifp))
		aoe_event_rename(arg, ifp);
	aoe_shim_netif_work();
}

static void
aoe_event_link(void *arg __unused, struct ifnet *ifp __unused,
    int state __unused)
{
	aoe_shim_netif_work();
}

static void
aoe_event_change(void *arg __unused, struct ifnet *ifp __unused)
{
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
 * Whether init(8) waits in sync(2).  It calls that once in its life: when the
 * machine goes down and all processes have been killed, just before reboot(2)
 * (single_user() in sbin/init/init.c).  A file system whose disk does not
 * answer holds it there for ever.
 *
 * The kernel announces a shutdown only in reboot(2): kern_reboot() invokes
 * shutdown_pre_sync.  No event handler tells of the signal that asks init to
 * end the system, and none of a system call.  A script in rc.d could tell the
 * module, but rc.shutdown(8) does not run, or is killed, in some shutdowns,
 * and runs no script of a module that the boot loader loaded.  So the code of
 * init's last system call, which stays until the next one, is looked at once a
 * second, with the lock of the process.
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

/*
 * An event is known by its name.  Two of these exist in newer kernels only; in
 * others nobody calls their handlers.
 */
void
aoe_event_init(void)
{
	aoe_arrival_tag = EVENTHANDLER_REGISTER(ifnet_arrival_event,
	    aoe_event_arrival, NULL, EVENTHANDLER_PRI_ANY);
	aoe_attached_tag = EVENTHANDLER_REGISTER(ifnet_attached_event,
	    aoe_event_change, NULL, EVENTHANDLER_PRI_ANY);
	aoe_rename_tag = EVENTHANDLER_REGISTER(ifnet_rename_event,
	    aoe_event_rename, NULL, EVENTHANDLER_PRI_ANY);
	aoe_departure_tag = EVENTHANDLER_REGISTER(ifnet_departure_event,
	    aoe_event_departure, NULL, EVENTHANDLER_PRI_ANY);
	aoe_link_tag = EVENTHANDLER_REGISTER(ifnet_link_event,
	    aoe_event_link, NULL, EVENTHANDLER_PRI_ANY);
	aoe_updown_tag = EVENTHANDLER_REGISTER(ifnet_event,
	    aoe_event_link, NULL, EVENTHANDLER_PRI_ANY);
	aoe_lladdr_tag = EVENTHANDLER_REGISTER(iflladdr_event,
	    aoe_event_change, NULL, EVENTHANDLER_PRI_ANY);
	aoe_shutdown_tag = EVENTHANDLER_REGISTER(shutdown_pre_sync,
	    aoe_event_shutdown, NULL, SHUTDOWN_PRI_FIRST);
}

/* Waits for handlers that run: no lock of the module may be held. */
void
aoe_event_fini(void)
{
	EVENTHANDLER_DEREGISTER(shutdown_pre_sync, aoe_shutdown_tag);
	EVENTHANDLER_DEREGISTER(iflladdr_event, aoe_lladdr_tag);
	EVENTHANDLER_DEREGISTER(ifnet_event, aoe_updown_tag);
	EVENTHANDLER_DEREGISTER(ifnet_link_event, aoe_link_tag);
	EVENTHANDLER_DEREGISTER(ifnet_departure_event, aoe_departure_tag);
	EVENTHANDLER_DEREGISTER(ifnet_rename_event, aoe_rename_tag);
	EVENTHANDLER_DEREGISTER(ifnet_attached_event, aoe_attached_tag);
	EVENTHANDLER_DEREGISTER(ifnet_arrival_event, aoe_arrival_tag);
}
