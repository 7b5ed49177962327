/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * Frames in and out, and the interfaces they use.
 */

#include "aoe_var.h"

#include <sys/endian.h>
#include <sys/epoch.h>
#include <sys/mbuf.h>
#include <sys/socket.h>

#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_var.h>
#include <net/if_vlan_var.h>
#include <net/pfil.h>
#include <net/vnet.h>

#include <machine/atomic.h>

#define	AOE_ETHERTYPE	0x88a2

/* Where an AoE header says whose frame it is. */
#define	AOE_AT_SHELF	16
#define	AOE_AT_SLOT	18
#define	AOE_AT_TAG	20
#define	AOE_TAGGED	24	/* bytes of a frame that has all three */

/* Arguments are looked at only while somebody listens. */
#define	AOE_NET_PROBE(probe, ifp, header, len)				\
	SDT_PROBE5(aoe, , , probe, if_name(ifp),			\
	    be16dec((header) + AOE_AT_SHELF), (header)[AOE_AT_SLOT],	\
	    be32dec((header) + AOE_AT_TAG), (len))

/* Room in front of a frame, so that a vlan tag can be put there in place. */
#define	AOE_LEAD	8

/*
 * A listed interface.  an_ifp is set and cleared under the netifs lock, and
 * read in the net epoch: what is found there stays until the epoch ends.
 */
static struct aoe_netif {
	volatile uintptr_t an_ifp;
	volatile uintptr_t an_iflib;	/* the same if its driver is iflib's */
	volatile uint64_t an_gate;	/* see aoe_net_is_open() */
	volatile u_int	an_telling;	/* targets are being told of it */
	volatile u_int	an_in_order;	/* frames of a flow keep their order */
} aoe_netifs[AOE_MAX_NETIFS];

/* How often targets were told of what is below an interface. */
static volatile u_int aoe_net_changed;

#define	AOE_GATE_OPEN	0		/* a NIC needs none */
#define	AOE_GATE_CLOSED	UINT64_MAX

static pfil_hook_t aoe_net_hook;

static struct ifnet *
aoe_net_ifp(uint32_t netif)
{
	return ((struct ifnet *)atomic_load_acq_ptr(
	    &aoe_netifs[netif].an_ifp));
}

/*
 * Whether the links of the ports below an interface are as the targets were
 * told.  A lagg that has just lost a link goes on by another port, and an
 * answer by that one would prove copies dead that the first one keeps; so
 * until everybody was told nothing is sent, and what comes in is thrown away.
 *
 * The gate has the ports below, a bit each, and above these the ones that had
 * link.
 */
static bool
aoe_net_is_open(struct aoe_netif *an)
{
	uint64_t gate;

	gate = atomic_load_acq_64(&an->an_gate);
	if (gate == AOE_GATE_OPEN)
		return (true);
	return (gate != AOE_GATE_CLOSED &&
	    aoe_port_with_link((uint32_t)gate) == gate >> 32);
}

/*
 * Input.
 */

static bool
aoe_net_is_settled(struct aoe_netif *an)
{
	return (an->an_gate == AOE_GATE_OPEN ||
	    (an->an_telling == 0 && aoe_net_is_open(an)));
}

static int
aoe_net_listed(const struct ifnet *ifp)
{
	uint32_t i;

	for (i = 0; i < AOE_MAX_NETIFS; i++)
		if (aoe_netifs[i].an_ifp == (uintptr_t)ifp)
			return (i);
	return (-1);
}

/*
 * The link-layer hook sees every frame of every interface of the host's vnet,
 * vlan tags stripped.  What is not for this module passes untouched.
 */
static pfil_return_t
aoe_net_input(struct mbuf **mp, struct ifnet *ifp, int flags __unused,
    void *ruleset __unused, struct inpcb *inp __unused)
{
	struct mbuf *m = *mp;
	uint16_t type;
	int netif, want;

	if (m->m_pkthdr.len < ETHER_HDR_LEN)
		return (PFIL_PASS);
	m_copydata(m, offsetof(struct ether_header, ether_type), sizeof(type),
	    (caddr_t)&type);
	if (type != htons(AOE_ETHERTYPE))
		return (PFIL_PASS);
	/* For another host; seen because the interface is promiscuous. */
	if ((m->m_flags & M_PROMISC) != 0)
		return (PFIL_PASS);
	if ((m->m_flags & M_VLANTAG) != 0 &&
	    EVL_VLANOFTAG(m->m_pkthdr.ether_vtag) != 0)
		return (PFIL_PASS);
	netif = aoe_net_listed(ifp);
	if (netif < 0)
		return (PFIL_PASS);
	if (!aoe_net_is_settled(&aoe_netifs[netif])) {
		aoe_shim_counter_add(AOE_COUNT_UNSETTLED, 1);
		m_freem(m);
		*mp = NULL;
		return (PFIL_CONSUMED);
	}
	want = MIN(m->m_pkthdr.len, AOE_HEADER_MAX);
	if (m->m_len < want) {
		m = *mp = m_pullup(m, want);
		if (m == NULL) {
			aoe_shim_counter_add(AOE_COUNT_NO_MEMORY, 1);
			return (PFIL_DROPPED);
		}
	}
	if (m->m_len >= AOE_TAGGED)
		AOE_NET_PROBE(frame__received, ifp, mtod(m, const uint8_t *),
		    m->m_pkthdr.len);
	if (aoe_rs_frame_input(netif, mtod(m, const uint8_t *), m->m_len,
	    m->m_pkthdr.len, m, aoe_netifs[netif].an_iflib ==
	    (uintptr_t)ifp) == AOE_PASS)
		return (PFIL_PASS);
	m_freem(m);
	*mp = NULL;
	return (PFIL_CONSUMED);
}

/*
 * Links the hook, or takes it out and waits until nobody is inside.  Somebody
 * may have done either by hand, with pfilctl(8).
 */
int
aoe_shim_net_hook(int on)
{
	struct pfil_link_args args = {
		.pa_version = PFIL_VERSION,
		.pa_flags = PFIL_IN | PFIL_HEADPTR | PFIL_HOOKPTR |
		    (on ? 0 : PFIL_UNLINK),
		.pa_hook = aoe_net_hook,
	};
	int error;

	CURVNET_SET(vnet0);
	args.pa_head = V_link_pfil_head;
	error = pfil_link(&args);
	CURVNET_RESTORE();
	if (error == (on ? EEXIST : ENOENT))
		error = 0;
	if (!on)
		NET_EPOCH_WAIT();
	return (error);
}

void
aoe_shim_mbuf_copy(struct mbuf *m, uint32_t from, uint32_t len, uint8_t *to)
{
	m_copydata(m, from, len, (caddr_t)to);
}

/*
 * Output.
 */

/* A chain from the interface's reserve, or NULL. */
static struct mbuf *
aoe_net_reserved(uint32_t netif, u_int len)
{
	struct mbuf *m;

	m = aoe_reserve_take(netif, len);
	if (m == NULL) {
		aoe_shim_counter_add(AOE_COUNT_MBUF_FAILURES, 1);
		return (NULL);
	}
	aoe_shim_counter_add(AOE_COUNT_RESERVE_USED, 1);
	aoe_shim_netif_work();
	return (m);
}

/*
 * Writes the frame into an empty chain that is long enough: header, payload,
 * and zeroes up to the Ethernet minimum.
 */
static void
aoe_net_fill(struct mbuf *m, const struct aoe_frame *frame, u_int total)
{
	struct mbuf *n, *rest;
	u_int done, len, payload, pad;

	m->m_data += AOE_LEAD;
	memcpy(mtod(m, void *), frame->af_header, frame->af_header_len);
	m->m_len = frame->af_header_len;
	m->m_pkthdr.len = total;
	payload = frame->af_payload == AOE_PAYLOAD_NONE ? 0 : frame->af_len;
	n = m;
	if (frame->af_payload == AOE_PAYLOAD_TRIM) {
		aoe_rs_frame_trim(frame->af_lba, frame->af_sectors,
		    mtod(m, uint8_t *) + m->m_len);
		m->m_len += payload;
	} else {
		for (done = 0; done < payload; done += len) {
			len = MIN(M_TRAILINGSPACE(n), payload - done);
			if (len == 0) {
				n = n->m_next;
				n->m_len = 0;
				continue;
			}
			aoe_disk_read(frame->af_bio, frame->af_offset + done,
			    len, mtod(n, char *) + n->m_len);
			n->m_len += len;
		}
	}
	pad = total - frame->af_header_len - payload;
	bzero(mtod(n, char *) + n->m_len, pad);
	n->m_len += pad;
	rest = n->m_next;
	n->m_next = NULL;
	m_freem(rest);
}

/* A chain with the whole frame in it; nothing in it points at the request. */
static struct mbuf *
aoe_net_build(const struct aoe_frame *frame)
{
	struct mbuf *m;
	u_int total;

	total = frame->af_header_len;
	if (frame->af_payload != AOE_PAYLOAD_NONE)
		total += frame->af_len;
	total = MAX(total, ETHER_MIN_LEN - ETHER_CRC_LEN);
	m = m_getm2(NULL, AOE_LEAD + total, M_NOWAIT, MT_DATA, M_PKTHDR);
	if (m == NULL)
		m = aoe_net_reserved(frame->af_netif, AOE_LEAD + total);
	if (m == NULL)
		return (NULL);
	aoe_net_fill(m, frame, total);
	m->m_pkthdr.flowid = frame->af_flow;
	M_HASHTYPE_SET(m, M_HASHTYPE_OPAQUE);
	if (ETHER_IS_BROADCAST(frame->af_header))
		m->m_flags |= M_BCAST;
	return (m);
}

/*
 * Frames may be handed to the interface.  One that became a lagg's port sends
 * for the lagg.
 */
static bool
aoe_net_is_usable(struct ifnet *ifp)
{
	return ((if_getflags(ifp) & IFF_UP) != 0 &&
	    (if_getdrvflags(ifp) & IFF_DRV_RUNNING) != 0 &&
	    if_getlinkstate(ifp) != LINK_STATE_DOWN &&
	    if_gettype(ifp) != IFT_IEEE8023ADLAG);
}

/*
 * Builds the frames and sends them.  One that cannot be built or sent is as
 * good as lost on the wire: the engine will send it again.
 *
 * The interface is looked at once more in the epoch in which it is used: a
 * frame that was made before its link was lost must not enter a queue that was
 * emptied after that, by aoe_shim_port_flush(), which waits for this epoch.
 * And frames that the engine made before it was told of a change of ports must
 * not go into the ring of another one.
 */
void
aoe_shim_net_send(const struct aoe_frame *frames, uint32_t n, uint32_t changes)
{
	struct epoch_tracker et;
	struct mbuf *chains[AOE_BATCH];
	struct ifnet *ifp, *usable;
	uint32_t i;
	int error;

	KASSERT(n <= AOE_BATCH, ("aoe: batch of %u", n));
	for (i = 0; i < n; i++)
		chains[i] = aoe_net_build(&frames[i]);
	usable = NULL;
	NET_EPOCH_ENTER(et);
	for (i = 0; i < n; i++) {
		if (chains[i] == NULL)
			continue;
		ifp = aoe_net_ifp(frames[i].af_netif);
		if (ifp != NULL && ifp != usable && aoe_net_is_usable(ifp) &&
		    aoe_net_is_open(&aoe_netifs[frames[i].af_netif]))
			usable = ifp;
		if (ifp == NULL || ifp != usable ||
		    changes != aoe_shim_net_changes()) {
			m_freem(chains[i]);
			aoe_shim_counter_add(AOE_COUNT_NO_INTERFACE, 1);
			continue;
		}
		AOE_NET_PROBE(frame__sent, ifp, frames[i].af_header,
		    chains[i]->m_pkthdr.len);
		if (frames[i].af_again)
			AOE_NET_PROBE(frame__retransmitted, ifp,
			    frames[i].af_header, chains[i]->m_pkthdr.len);
		CURVNET_SET(if_getvnet(ifp));
		error = ether_output_frame(ifp, chains[i]);
		CURVNET_RESTORE();
		aoe_shim_counter_add(error == 0 ? AOE_COUNT_FRAMES_OUT :
		    AOE_COUNT_SEND_ERRORS, 1);
	}
	NET_EPOCH_EXIT(et);
}

/*
 * Interfaces.
 */

struct ifnet *
aoe_shim_net_find(const char *name, size_t len)
{
	char text[IFNAMSIZ];
	struct ifnet *ifp;

	if (len >= sizeof(text))
		return (NULL);
	memcpy(text, name, len);
	text[len] = '\0';
	CURVNET_SET(vnet0);
	ifp = ifunit_ref(text);
	CURVNET_RESTORE();
	return (ifp);
}

int
aoe_shim_net_type(struct ifnet *ifp)
{
	return (if_gettype(ifp));
}

void
aoe_shim_net_ref(struct ifnet *ifp)
{
	if_ref(ifp);
}

void
aoe_shim_net_release(struct ifnet *ifp)
{
	if_rele(ifp);
}

void
aoe_shim_net_attach(uint32_t netif, struct ifnet *ifp)
{
	/* Another interface may have had the same place in memory before. */
	aoe_netifs[netif].an_iflib = 0;
	aoe_netifs[netif].an_gate = AOE_GATE_CLOSED;
	atomic_store_rel_ptr(&aoe_netifs[netif].an_ifp, (uintptr_t)ifp);
}

/* On return no frame is on its way in or out any more. */
void
aoe_shim_net_detach(uint32_t netif)
{
	struct ifnet *ifp;

	ifp = aoe_net_ifp(netif);
	if (ifp == NULL)
		return;
	atomic_store_rel_ptr(&aoe_netifs[netif].an_ifp, 0);
	NET_EPOCH_WAIT();
	aoe_reserve_empty(netif);
	if_rele(ifp);
}

int
aoe_shim_net_is(uint32_t netif, const struct ifnet *ifp)
{
	return (aoe_netifs[netif].an_ifp == (uintptr_t)ifp);
}

/*
 * The MTU.  That of a vlan stays as it is when its parent is given a smaller
 * one; longer frames are lost then.
 */
static u_int
aoe_net_mtu(struct ifnet *ifp)
{
	u_int mtu, parent;

	mtu = if_getmtu(ifp);
	while (if_gettype(ifp) == IFT_L2VLAN && vlan_trunkdev_p != NULL &&
	    (ifp = VLAN_TRUNKDEV(ifp)) != NULL) {
		parent = if_getmtu(ifp);
		if ((if_getcapenable(ifp) & IFCAP_VLAN_MTU) == 0)
			parent -= MIN(parent, ETHER_VLAN_ENCAP_LEN);
		mtu = MIN(mtu, parent);
	}
	return (mtu);
}

void
aoe_shim_net_link(uint32_t netif, struct aoe_link *link)
{
	struct epoch_tracker et;
	struct ifnet *ifp;

	memset(link, 0, sizeof(*link));
	NET_EPOCH_ENTER(et);
	ifp = aoe_net_ifp(netif);
	if (ifp != NULL && if_getlladdr(ifp) != NULL) {
		link->al_mtu = aoe_net_mtu(ifp);
		memcpy(link->al_mac, aoe_compat_lladdr(ifp), ETHER_ADDR_LEN);
		link->al_usable = aoe_net_is_usable(ifp) &&
		    aoe_net_is_open(&aoe_netifs[netif]);
		link->al_in_order = aoe_netifs[netif].an_in_order;
	}
	NET_EPOCH_EXIT(et);
}

/* What is wrong with an interface, as far as people can mend it. */
enum aoe_flaw
aoe_shim_net_flaw(uint32_t netif)
{
	struct epoch_tracker et;
	struct ifnet *ifp;
	enum aoe_flaw flaw;

	flaw = AOE_FLAW_NONE;
	NET_EPOCH_ENTER(et);
	ifp = aoe_net_ifp(netif);
	if (ifp == NULL)
		;
	else if ((if_getflags(ifp) & IFF_UP) == 0)
		flaw = AOE_FLAW_DOWN;
	else if (if_gettype(ifp) == IFT_IEEE8023ADLAG)
		flaw = AOE_FLAW_PORT;
	else if (aoe_ifnet_is_deaf(ifp))
		flaw = AOE_FLAW_DEAF;
	NET_EPOCH_EXIT(et);
	return (flaw);
}

uint32_t
aoe_shim_net_changes(void)
{
	return (atomic_load_acq_int(&aoe_net_changed));
}

/*
 * What is below an interface.  Called with the netifs lock, which keeps it
 * attached.
 */
void
aoe_shim_net_look(uint32_t netif, struct aoe_stack *stack)
{
	struct epoch_tracker et;
	struct aoe_port_seen seen;
	struct aoe_netif *an = &aoe_netifs[netif];
	struct ifnet *ifp;

	memset(stack, 0, sizeof(*stack));
	NET_EPOCH_ENTER(et);
	ifp = aoe_net_ifp(netif);
	if (ifp != NULL) {
		aoe_port_list(ifp, stack);
		stack->as_ready = aoe_net_is_usable(ifp);
	}
	NET_EPOCH_EXIT(et);
	if (stack->as_direct && an->an_iflib == 0 &&
	    aoe_shim_port_look(ffs(stack->as_ports) - 1, &seen) &&
	    seen.ps_purge == AOE_PURGE_INIT)
		an->an_iflib = (uintptr_t)ifp;
}

/*
 * The targets are told of these links below an interface; once all of them
 * were, telling is 0.  No port at all: it may be used as it is.
 */
void
aoe_shim_net_settle(uint32_t netif, uint32_t ports, uint32_t with_link,
    int in_order, int telling)
{
	struct aoe_netif *an = &aoe_netifs[netif];

	if (telling)
		atomic_add_rel_int(&aoe_net_changed, 1);
	an->an_in_order = in_order;
	atomic_store_rel_int(&an->an_telling, telling);
	atomic_store_rel_64(&an->an_gate, (uint64_t)with_link << 32 | ports);
}

/* Fills the interface's reserve up, as its MTU of the moment asks for. */
void
aoe_shim_net_refill(uint32_t netif)
{
	struct aoe_link link;

	aoe_shim_net_link(netif, &link);
	if (link.al_mtu != 0)
		aoe_reserve_refill(netif, AOE_LEAD + ETHER_HDR_LEN +
		    link.al_mtu);
}

int
aoe_net_init(void)
{
	struct pfil_hook_args args = {
		.pa_version = PFIL_VERSION,
		.pa_flags = PFIL_IN,
		.pa_type = PFIL_TYPE_ETHERNET,
		.pa_mbuf_chk = aoe_net_input,
		.pa_modname = "aoe",
		.pa_rulname = "default",
	};
	int error;

	error = aoe_ifnet_init();
	if (error != 0) {
		aoe_ifnet_fini();
		return (error);
	}
	aoe_port_init();
	aoe_reserve_init();
	CURVNET_SET(vnet0);
	aoe_net_hook = pfil_add_hook(&args);
	CURVNET_RESTORE();
	return (0);
}

void
aoe_net_fini(void)
{
	CURVNET_SET(vnet0);
	pfil_remove_hook(aoe_net_hook);
	CURVNET_RESTORE();
	NET_EPOCH_WAIT();
	aoe_reserve_fini();
	aoe_ifnet_fini();
}
