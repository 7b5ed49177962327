/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * The ports below listed interfaces: the NICs by which frames leave the host.
 * An interface may be one itself, or a vlan, a lagg or a bridge above some.
 * Which these are, how they are, and how what they keep can be thrown away;
 * what follows from that is decided in Rust.
 */

#include "aoe_var.h"

#include <sys/epoch.h>
#include <sys/socket.h>

#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_var.h>
#include <net/if_types.h>
#include <net/if_vlan_var.h>
#include <net/vnet.h>

#include <machine/atomic.h>

/* A vlan on a vlan on a lagg, in a bridge, and one more. */
#define	AOE_PORT_DEPTH	5

/*
 * A port.  ap_ifp is set and cleared under the netifs lock, and read in the net
 * epoch: what is found there stays until the epoch ends.
 */
static struct aoe_port {
	volatile uintptr_t ap_ifp;
	volatile u_int	ap_purge;	/* enum aoe_purge */
	volatile u_int	ap_wanted;	/* requests to initialise it again */
	volatile u_int	ap_done;	/* those that were dealt with */
	struct task	ap_task;	/* for the driver thread */
} aoe_ports[AOE_MAX_PORTS];

/* What a walk down from an interface finds. */
struct aoe_walk {
	struct ifnet	*aw_ports[AOE_MAX_PORTS];
	bool		aw_blind[AOE_MAX_PORTS];
	u_int		aw_count;
	enum aoe_sharing aw_sharing;	/* the one that says least */
};

static void aoe_port_walk(struct aoe_walk *, struct ifnet *, bool, int);

static struct ifnet *
aoe_port_ifp(u_int port)
{
	return ((struct ifnet *)atomic_load_acq_ptr(&aoe_ports[port].ap_ifp));
}

/*
 * A lagg(4) gives frames only to ports whose link it knows to be up; other
 * NICs may not know.
 */
static enum aoe_port_state
aoe_port_look(struct ifnet *ifp)
{
	int link;

	if ((if_getdrvflags(ifp) & IFF_DRV_RUNNING) == 0)
		return (AOE_PORT_STOPPED);
	link = if_getlinkstate(ifp);
	if ((if_getflags(ifp) & IFF_UP) == 0 || link == LINK_STATE_DOWN ||
	    (link != LINK_STATE_UP && if_gettype(ifp) == IFT_IEEE8023ADLAG))
		return (AOE_PORT_NO_LINK);
	return (AOE_PORT_UP);
}

/* Which of the ports have link now.  Called in the net epoch. */
uint32_t
aoe_port_with_link(uint32_t ports)
{
	struct ifnet *ifp;
	uint32_t up;
	u_int port;

	for (up = 0; ports != 0; ports &= ports - 1) {
		port = ffs(ports) - 1;
		ifp = aoe_port_ifp(port);
		if (ifp != NULL && aoe_port_look(ifp) == AOE_PORT_UP)
			up |= 1u << port;
	}
	return (up);
}

/*
 * Finding them.
 */

static void
aoe_port_found(struct aoe_walk *aw, struct ifnet *ifp, bool blind)
{
	if (aw->aw_count == nitems(aw->aw_ports)) {
		aw->aw_sharing = AOE_SHARING_OPAQUE;
		return;
	}
	aw->aw_ports[aw->aw_count] = ifp;
	aw->aw_blind[aw->aw_count++] = blind;
	/*
	 * The driver of a device has one ring for each flow; nobody knows what
	 * is below an interface that a program or the kernel made.
	 */
	if (!aoe_ifnet_is_device(ifp))
		aw->aw_sharing = MAX(aw->aw_sharing, AOE_SHARING_MIXED);
}

static void
aoe_port_walk_members(struct aoe_walk *aw, struct ifnet *ifp, bool bridge,
    int depth)
{
	struct ifnet *member;

	aw->aw_sharing = MAX(aw->aw_sharing, bridge ? AOE_SHARING_MIXED :
	    aoe_ifnet_lagg_sharing(ifp));
	for (member = aoe_ifnet_member(ifp, bridge, NULL); member != NULL;
	    member = aoe_ifnet_member(ifp, bridge, member))
		aoe_port_walk(aw, member, bridge, depth - 1);
}

static void
aoe_port_walk(struct aoe_walk *aw, struct ifnet *ifp, bool blind, int depth)
{
	if (depth == 0) {
		aw->aw_sharing = AOE_SHARING_OPAQUE;
		return;
	}
	switch (if_gettype(ifp)) {
	case IFT_L2VLAN:
		ifp = vlan_trunkdev_p == NULL ? NULL : VLAN_TRUNKDEV(ifp);
		if (ifp != NULL && aoe_ifnet_is_there(ifp))
			aoe_port_walk(aw, ifp, blind, depth - 1);
		break;
	case IFT_BRIDGE:
		aoe_port_walk_members(aw, ifp, true, depth);
		break;
	default:
		if (aoe_ifnet_is_lagg(ifp))
			aoe_port_walk_members(aw, ifp, false, depth);
		else
			aoe_port_found(aw, ifp, blind);
		break;
	}
}

/* The port's place in the table, or a free one, or -1. */
static int
aoe_port_place(struct ifnet *ifp)
{
	int place;

	place = aoe_shim_port_find(ifp);
	return (place >= 0 ? place : aoe_shim_port_find(NULL));
}

static void
aoe_port_add(int place, struct ifnet *ifp)
{
	struct aoe_port *ap = &aoe_ports[place];

	if (ap->ap_ifp == (uintptr_t)ifp)
		return;
	if_ref(ifp);
	/* Until the driver thread has asked. */
	ap->ap_purge = AOE_PURGE_NEVER;
	atomic_store_rel_ptr(&ap->ap_ifp, (uintptr_t)ifp);
	aoe_ifnet_enqueue(&ap->ap_task);
}

/*
 * The ports below a listed interface.  Called with the netifs lock, which
 * keeps the table still.
 */
void
aoe_port_list(struct ifnet *ifp, struct aoe_stack *stack)
{
	struct aoe_walk aw = { .aw_sharing = AOE_SHARING_FAILOVER };
	u_int i;
	int place;

	aoe_port_walk(&aw, ifp, false, AOE_PORT_DEPTH);
	stack->as_ports = stack->as_blind = 0;
	for (i = 0; i < aw.aw_count; i++) {
		place = aoe_port_place(aw.aw_ports[i]);
		if (place < 0) {
			aw.aw_sharing = AOE_SHARING_OPAQUE;
			break;
		}
		aoe_port_add(place, aw.aw_ports[i]);
		stack->as_ports |= 1u << place;
		if (aw.aw_blind[i])
			stack->as_blind |= 1u << place;
	}
	if (aw.aw_sharing == AOE_SHARING_OPAQUE)
		stack->as_ports = stack->as_blind = 0;
	stack->as_sharing = aw.aw_sharing;
	stack->as_direct = aw.aw_count == 1 && aw.aw_ports[0] == ifp;
	stack->as_ready = 0;
}

/*
 * For Rust, with the netifs lock.
 */

/* How a port is; false if there is none of this number. */
int
aoe_shim_port_look(uint32_t port, struct aoe_port_seen *seen)
{
	struct epoch_tracker et;
	struct ifnet *ifp;

	NET_EPOCH_ENTER(et);
	ifp = aoe_port_ifp(port);
	if (ifp != NULL) {
		seen->ps_state = aoe_port_look(ifp);
		seen->ps_purge = aoe_ports[port].ap_purge;
		seen->ps_in_init = atomic_load_acq_int(
		    &aoe_ports[port].ap_done) != aoe_ports[port].ap_wanted;
		strlcpy(seen->ps_name, if_name(ifp), sizeof(seen->ps_name));
	}
	NET_EPOCH_EXIT(et);
	return (ifp != NULL);
}

/* The number of a port, or -1. */
int
aoe_shim_port_find(const struct ifnet *ifp)
{
	u_int i;

	for (i = 0; i < AOE_MAX_PORTS; i++)
		if (aoe_ports[i].ap_ifp == (uintptr_t)ifp)
			return (i);
	return (-1);
}

/*
 * Throws away what the ports have queued in software.  Those who saw their
 * links while they were up are waited for first.
 */
void
aoe_shim_port_flush(uint32_t ports)
{
	struct ifnet *ifp;

	NET_EPOCH_WAIT();
	for (; ports != 0; ports &= ports - 1) {
		ifp = aoe_port_ifp(ffs(ports) - 1);
		if (ifp != NULL)
			aoe_ifnet_qflush(ifp);
	}
}

/*
 * Has the driver thread throw away what is in the rings of the ports' hardware,
 * which would leave when the link comes back.  It asks for a look when it is
 * done.
 */
void
aoe_shim_port_init(uint32_t ports)
{
	struct aoe_port *ap;

	for (; ports != 0; ports &= ports - 1) {
		ap = &aoe_ports[ffs(ports) - 1];
		atomic_add_rel_int(&ap->ap_wanted, 1);
		aoe_ifnet_enqueue(&ap->ap_task);
	}
}

/* Nobody is interested in the ports any more.  Sleeps. */
void
aoe_shim_port_drop(uint32_t ports)
{
	struct ifnet *gone[AOE_MAX_PORTS];
	u_int count, port;

	for (count = 0; ports != 0; ports &= ports - 1) {
		port = ffs(ports) - 1;
		gone[count] = aoe_port_ifp(port);
		if (gone[count] != NULL)
			count++;
		atomic_store_rel_ptr(&aoe_ports[port].ap_ifp, 0);
	}
	if (count == 0)
		return;
	NET_EPOCH_WAIT();
	while (count > 0) {
		aoe_ifnet_wait(gone[--count]);
		if_rele(gone[count]);
	}
}

/* What of a port may take its time: in the driver thread. */
static void
aoe_port_driver(void *arg, int pending __unused)
{
	struct aoe_port *ap = arg;
	struct ifnet *ifp;
	u_int purge, wanted;
	bool first;

	wanted = atomic_load_acq_int(&ap->ap_wanted);
	ifp = aoe_ifnet_enter(&ap->ap_ifp);
	purge = AOE_PURGE_NEVER;
	if (ifp != NULL) {
		if (aoe_ifnet_is_iflib(ifp))
			purge = AOE_PURGE_INIT;
		else if (strcmp(if_getdname(ifp), "vtnet") == 0)
			purge = AOE_PURGE_FLUSH;
		first = ap->ap_purge != purge;
		ap->ap_purge = purge;
		if (first)
			aoe_shim_netif_work();
		if (purge == AOE_PURGE_INIT && ap->ap_done != wanted)
			aoe_ifnet_reinit(ifp);
	}
	aoe_ifnet_leave();
	if (ap->ap_done != wanted) {
		atomic_store_rel_int(&ap->ap_done, wanted);
		aoe_shim_netif_work();
	}
}

void
aoe_port_init(void)
{
	u_int i;

	for (i = 0; i < AOE_MAX_PORTS; i++)
		TASK_INIT(&aoe_ports[i].ap_task, 0, aoe_port_driver,
		    &aoe_ports[i]);
}
