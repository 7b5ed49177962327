/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * What is asked of an interface beyond the KPI of net/if_var.h, and calls of
 * drivers that may sleep.  This is the only file that looks into struct ifnet.
 */

#include "aoe_var.h"

#include <sys/priority.h>
#include <sys/proc.h>
#include <sys/socket.h>
#include <sys/sx.h>

#include <net/if.h>
#include <net/ethernet.h>
#include <net/if_types.h>
#include <net/if_var.h>
#include <net/if_dl.h>
#include <net/if_media.h>
#include <net/infiniband.h>
#include <net/if_lagg.h>
#include <net/if_private.h>
#include <net/vnet.h>

/*
 * Four members of struct ifnet, and the list of all of them, have no accessor
 * in all kernels:
 *
 *	if_qflush	if_setqflushfn() exists, nothing calls what it sets
 *	if_init		if_init() calls it, and cannot be asked whether it is
 *			set; not every driver sets it
 *	if_bridge	set while the interface is a member of a bridge(4)
 *	if_lagg		set while it is a port of a lagg(4)
 *
 * The types are checked here.  That the members stand where they do in the
 * kernel that runs is checked by aoe_ifnet_is_known(), by means of members
 * that do have an accessor and that stand before, beside and behind them.
 */
#define	AOE_IFNET_IS(member, type)					\
	CTASSERT(__builtin_types_compatible_p(				\
	    __typeof(((struct ifnet *)NULL)->member), type))

AOE_IFNET_IS(if_qflush, void (*)(if_t));
AOE_IFNET_IS(if_init, void (*)(void *));
AOE_IFNET_IS(if_bridge, void *);
AOE_IFNET_IS(if_lagg, void *);
CTASSERT(offsetof(struct ifnet, if_softc) < offsetof(struct ifnet, if_bridge));
CTASSERT(offsetof(struct ifnet, if_bridge) < offsetof(struct ifnet, if_lagg));
CTASSERT(offsetof(struct ifnet, if_lagg) < offsetof(struct ifnet, if_init));
CTASSERT(offsetof(struct ifnet, if_init) < offsetof(struct ifnet, if_qflush));
CTASSERT(offsetof(struct ifnet, if_qflush) + sizeof(if_qflush_fn_t) ==
    offsetof(struct ifnet, if_transmit));

/*
 * Whether a bridge lets its members have frames to their own addresses.  Only
 * kernels since 15 have it, and only once if_bridge(4) is loaded it is not
 * NULL.  Without it they always may.
 */
extern bool (*bridge_member_ifaddrs_p)(void) __weak_symbol;

/*
 * Calls of drivers are made by a thread of their own: they may wait for
 * memory, and for a lock whose holder does.
 */
static struct taskqueue *aoe_ifnet_queue;
static struct mtx aoe_ifnet_lock;
static struct ifnet *aoe_ifnet_busy;	/* aoe_ifnet_lock; who it is about */

int
aoe_ifnet_init(void)
{
	mtx_init(&aoe_ifnet_lock, "aoe ifnet", NULL, MTX_DEF);
	aoe_ifnet_queue = taskqueue_create("aoe_driver", M_WAITOK,
	    taskqueue_thread_enqueue, &aoe_ifnet_queue);
	return (taskqueue_start_threads(&aoe_ifnet_queue, 1, PWAIT,
	    "aoe driver"));
}

/* Also after aoe_ifnet_init() failed. */
void
aoe_ifnet_fini(void)
{
	taskqueue_free(aoe_ifnet_queue);
	mtx_destroy(&aoe_ifnet_lock);
}

/* Lets the driver thread do the task.  Does not sleep. */
void
aoe_ifnet_enqueue(struct task *task)
{
	taskqueue_enqueue(aoe_ifnet_queue, task);
}

/*
 * In the driver thread: the interface that is found there stays until
 * aoe_ifnet_leave(), for its departure waits for that.
 */
struct ifnet *
aoe_ifnet_enter(volatile uintptr_t *where)
{
	struct ifnet *ifp;

	mtx_lock(&aoe_ifnet_lock);
	ifp = (struct ifnet *)atomic_load_acq_ptr(where);
	aoe_ifnet_busy = ifp;
	mtx_unlock(&aoe_ifnet_lock);
	return (ifp);
}

void
aoe_ifnet_leave(void)
{
	mtx_lock(&aoe_ifnet_lock);
	aoe_ifnet_busy = NULL;
	wakeup(&aoe_ifnet_busy);
	mtx_unlock(&aoe_ifnet_lock);
}

/* Waits until the driver thread has left the interface, which nobody lists. */
void
aoe_ifnet_wait(struct ifnet *ifp)
{
	mtx_lock(&aoe_ifnet_lock);
	while (aoe_ifnet_busy == ifp)
		mtx_sleep(&aoe_ifnet_busy, &aoe_ifnet_lock, 0, "aoeifp", 0);
	mtx_unlock(&aoe_ifnet_lock);
}

static bool
aoe_ifnet_is_known(struct ifnet *ifp)
{
	return (ifp->if_softc == if_getsoftc(ifp) &&
	    ifp->if_transmit == if_gettransmitfn(ifp) &&
	    ifp->if_input == if_getinputfn(ifp));
}

/* Throws away what waits in software to be sent. */
void
aoe_ifnet_qflush(struct ifnet *ifp)
{
	if (!aoe_ifnet_is_known(ifp) || ifp->if_qflush == NULL)
		return;
	CURVNET_SET(if_getvnet(ifp));
	ifp->if_qflush(ifp);
	CURVNET_RESTORE();
}

/*
 * Throws away what waits in the rings of the hardware: an interface that is
 * initialised again begins with empty ones.  Whatever else it carries is
 * thrown away as well, and a link that is just coming up takes longer; so it
 * is done to an interface without link only.  May wait for memory.
 */
void
aoe_ifnet_reinit(struct ifnet *ifp)
{
	if (!aoe_ifnet_is_known(ifp) || ifp->if_init == NULL ||
	    (if_getflags(ifp) & IFF_UP) == 0 ||
	    (if_getdrvflags(ifp) & IFF_DRV_RUNNING) == 0 ||
	    if_getlinkstate(ifp) != LINK_STATE_DOWN)
		return;
	CURVNET_SET(if_getvnet(ifp));
	if_init(ifp, if_getsoftc(ifp));
	CURVNET_RESTORE();
}

/*
 * Whether the interface's driver is one of iflib(9).  Two things are known of
 * those and of no others: they hand frames in without a lock (iflib_rxeof()),
 * and if_init empties their rings (iflib_stop()); the if_init of most others
 * does nothing to an interface that runs.  Nothing in struct ifnet tells of
 * iflib, but each of its devices has a sysctl node of this name: the answer
 * to a question for the value of a node that only has others below it is
 * EISDIR.  May wait for memory.
 */
bool
aoe_ifnet_is_iflib(struct ifnet *ifp)
{
	char name[64];
	size_t size;

	snprintf(name, sizeof(name), "dev.%s.%d.iflib", if_getdname(ifp),
	    if_getdunit(ifp));
	return (kernel_sysctlbyname(curthread, name, NULL, NULL, NULL, 0,
	    &size, 0) == EISDIR);
}

/*
 * Whether the interface is a member of a bridge, and therefore does not hear
 * frames to its own address.  Called in the net epoch.
 */
bool
aoe_ifnet_is_deaf(struct ifnet *ifp)
{
	bool deaf;

	if (!aoe_ifnet_is_known(ifp) || ifp->if_bridge == NULL ||
	    &bridge_member_ifaddrs_p == NULL ||
	    bridge_member_ifaddrs_p == NULL)
		return (false);
	CURVNET_SET(if_getvnet(ifp));
	deaf = !bridge_member_ifaddrs_p();
	CURVNET_RESTORE();
	return (deaf);
}

/*
 * What is below an interface.  All of it is called in the net epoch, with an
 * interface of the host's vnet.
 */

/* As in sys/bus.h, which needs files that only the build of a kernel makes. */
struct devclass;
struct devclass *devclass_find(const char *classname);

/*
 * Whether the interface is a device: it has one transmit ring for each flow,
 * and nothing of the kernel below it.  Those that ifconfig(8) or a program
 * makes have no device class of their name.  Two drivers name their interfaces
 * otherwise than their devices.
 */
bool
aoe_ifnet_is_device(struct ifnet *ifp)
{
	const char *name = if_getdname(ifp);

	return (devclass_find(name) != NULL || strcmp(name, "mce") == 0 ||
	    strcmp(name, "mlxen") == 0);
}

/* Whether the interface has not left. */
bool
aoe_ifnet_is_there(struct ifnet *ifp)
{
	struct ifnet *other;

	CURVNET_SET(vnet0);
	CK_STAILQ_FOREACH(other, &V_ifnet, if_link)
		if (other == ifp)
			break;
	CURVNET_RESTORE();
	return (other != NULL);
}

bool
aoe_ifnet_is_lagg(struct ifnet *ifp)
{
	return (if_gettype(ifp) == IFT_ETHER &&
	    strcmp(if_getdname(ifp), "lagg") == 0);
}

/*
 * How a lagg shares its frames.  It tells that to user space only: this is its
 * softc, as net/if_lagg.h has it, if it begins with what it must begin with.
 *
 * The addresses of a frame decide with loadbalance.  They do with lacp, too,
 * but there a port may leave for what the switch says, and no event tells.
 */
enum aoe_sharing
aoe_ifnet_lagg_sharing(struct ifnet *ifp)
{
	const struct lagg_softc *sc = if_getsoftc(ifp);

	if (sc == NULL || sc->sc_ifp != ifp)
		return (AOE_SHARING_MIXED);
	switch (sc->sc_proto) {
	case LAGG_PROTO_FAILOVER:
		return (AOE_SHARING_FAILOVER);
	case LAGG_PROTO_LOADBALANCE:
		return (AOE_SHARING_HASH);
	default:
		return (AOE_SHARING_MIXED);
	}
}

static bool
aoe_ifnet_is_lagg_port(struct ifnet *ifp, struct ifnet *lagg)
{
	const struct lagg_port *lp = ifp->if_lagg;

	return (lp != NULL && lp->lp_ifp == ifp &&
	    lp->lp_softc == if_getsoftc(lagg));
}

/*
 * if_bridge is the softc of the bridge, or in newer kernels what the bridge
 * knows of this member; that begins with a link of a list, the member, and the
 * softc.  In older ones the words behind the first may be another bridge's: an
 * interface that is taken for a member and is none is looked at for nothing.
 */
static bool
aoe_ifnet_is_member(struct ifnet *ifp, struct ifnet *bridge)
{
	void *const *words = ifp->if_bridge;
	void *sc = if_getsoftc(bridge);

	if (words == NULL || ifp == bridge)
		return (false);
	return (words == sc || words[2] == sc || words[3] == sc);
}

/* The next port of a lagg or member of a bridge, or NULL. */
struct ifnet *
aoe_ifnet_member(struct ifnet *ifp, bool bridge, struct ifnet *after)
{
	struct ifnet *member;

	if (!aoe_ifnet_is_known(ifp))
		return (NULL);
	CURVNET_SET(vnet0);
	member = after == NULL ? CK_STAILQ_FIRST(&V_ifnet) :
	    CK_STAILQ_NEXT(after, if_link);
	for (; member != NULL; member = CK_STAILQ_NEXT(member, if_link))
		if (bridge ? aoe_ifnet_is_member(member, ifp) :
		    aoe_ifnet_is_lagg_port(member, ifp))
			break;
	CURVNET_RESTORE();
	return (member);
}
