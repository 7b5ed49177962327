/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * How many reads an AoE target answers in a second when nothing is done with
 * the answers: no disk, no copy, no request of anybody.  Each answer is
 * followed by the next read at once, from where it came in.  What an initiator
 * reaches on the same wire is measured against this.
 *
 *	sysctl debug.aoe_echo.run="IFACE MAC SHELF SLOT SECTORS DEPTH MSECS"
 *	sysctl debug.aoe_echo.answers debug.aoe_echo.usecs
 *
 * A test program.  It sends what it is told to whom it is told.
 */

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/endian.h>
#include <sys/epoch.h>
#include <sys/kernel.h>
#include <sys/lock.h>
#include <sys/mbuf.h>
#include <sys/module.h>
#include <sys/socket.h>
#include <sys/sx.h>
#include <sys/sysctl.h>

#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_dl.h>
#include <net/if_var.h>
#include <net/if_private.h>
#include <net/pfil.h>
#include <net/vnet.h>

#include <machine/atomic.h>

#ifndef ETHERTYPE_AOE
#define	ETHERTYPE_AOE		0x88a2
#endif
#define	ECHO_TAG		0x0ec00000	/* with a number below */
#define	ECHO_TAG_MASK		0xfff00000
#define	ECHO_MAX_DEPTH		512

struct echo_frame {
	struct ether_header ef_ether;
	uint8_t		ef_flags;	/* version and flags */
	uint8_t		ef_error;
	uint8_t		ef_shelf[2];
	uint8_t		ef_slot;
	uint8_t		ef_command;
	uint8_t		ef_tag[4];
	uint8_t		ef_ata_flags;
	uint8_t		ef_feature;
	uint8_t		ef_sectors;
	uint8_t		ef_ata_command;
	uint8_t		ef_lba[6];
	uint8_t		ef_reserved[2];
} __packed;

static struct sx echo_lock;		/* one run at a time */
static struct echo_frame echo_read;	/* what is sent, but for its tag */
static struct ifnet *echo_ifp;
static volatile u_int echo_on;
static volatile u_long echo_count;
static u_long echo_answers, echo_usecs;
static pfil_hook_t echo_hook;

static void
echo_send(uint32_t tag)
{
	struct echo_frame *frame;
	struct mbuf *m;

	m = m_gethdr(M_NOWAIT, MT_DATA);
	if (m == NULL)
		return;
	m->m_len = m->m_pkthdr.len = sizeof(*frame);
	m->m_pkthdr.flowid = 0;
	M_HASHTYPE_SET(m, M_HASHTYPE_OPAQUE);
	frame = mtod(m, struct echo_frame *);
	*frame = echo_read;
	be32enc(frame->ef_tag, tag);
	(void)ether_output_frame(echo_ifp, m);
}

static pfil_return_t
echo_input(struct mbuf **mp, struct ifnet *ifp, int flags __unused,
    void *ruleset __unused, struct inpcb *inp __unused)
{
	const struct echo_frame *frame;
	struct mbuf *m = *mp;
	uint32_t tag;

	if (m->m_len < (int)offsetof(struct echo_frame, ef_ata_flags))
		return (PFIL_PASS);
	frame = mtod(m, const struct echo_frame *);
	tag = be32dec(frame->ef_tag);
	if (frame->ef_ether.ether_type != htons(ETHERTYPE_AOE) ||
	    (frame->ef_flags & 0x08) == 0 ||
	    (tag & ECHO_TAG_MASK) != ECHO_TAG)
		return (PFIL_PASS);
	m_freem(m);
	*mp = NULL;
	if (atomic_load_int(&echo_on) != 0 && ifp == echo_ifp) {
		atomic_add_long(&echo_count, 1);
		echo_send(tag);
	}
	return (PFIL_CONSUMED);
}

static void
echo_run(u_int depth, u_int msecs)
{
	struct epoch_tracker et;
	sbintime_t begin;
	u_int i;

	echo_count = 0;
	atomic_store_rel_int(&echo_on, 1);
	begin = sbinuptime();
	NET_EPOCH_ENTER(et);
	CURVNET_SET(vnet0);
	for (i = 0; i < depth; i++)
		echo_send(ECHO_TAG | i);
	CURVNET_RESTORE();
	NET_EPOCH_EXIT(et);
	pause_sbt("echo", SBT_1MS * msecs, 0, 0);
	atomic_store_rel_int(&echo_on, 0);
	echo_usecs = (sbinuptime() - begin) / SBT_1US;
	echo_answers = echo_count;
	/* What is still on its way is not counted in the next run. */
	pause_sbt("echo", SBT_1MS * 200, 0, 0);
	NET_EPOCH_WAIT();
}

static int
echo_sysctl_run(SYSCTL_HANDLER_ARGS)
{
	char text[96], name[IFNAMSIZ];
	u_int mac[ETHER_ADDR_LEN], shelf, slot, sectors, depth, msecs;
	int error, i;

	text[0] = '\0';
	error = sysctl_handle_string(oidp, text, sizeof(text), req);
	if (error != 0 || req->newptr == NULL)
		return (error);
	if (sscanf(text, "%15s %x:%x:%x:%x:%x:%x %u %u %u %u %u", name,
	    &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5], &shelf,
	    &slot, &sectors, &depth, &msecs) != 12 || sectors < 1 ||
	    sectors > 255 || depth < 1 || depth > ECHO_MAX_DEPTH)
		return (EINVAL);
	sx_xlock(&echo_lock);
	CURVNET_SET(vnet0);
	echo_ifp = ifunit_ref(name);
	CURVNET_RESTORE();
	if (echo_ifp == NULL) {
		sx_xunlock(&echo_lock);
		return (ENXIO);
	}
	memset(&echo_read, 0, sizeof(echo_read));
	for (i = 0; i < ETHER_ADDR_LEN; i++)
		echo_read.ef_ether.ether_dhost[i] = mac[i];
	memcpy(echo_read.ef_ether.ether_shost,
	    LLADDR((struct sockaddr_dl *)echo_ifp->if_addr->ifa_addr),
	    ETHER_ADDR_LEN);
	echo_read.ef_ether.ether_type = htons(ETHERTYPE_AOE);
	echo_read.ef_flags = 0x10;
	be16enc(echo_read.ef_shelf, shelf);
	echo_read.ef_slot = slot;
	echo_read.ef_ata_flags = 0x40;
	echo_read.ef_sectors = sectors;
	echo_read.ef_ata_command = 0x24;	/* READ SECTOR(S) EXT */
	echo_run(depth, msecs);
	if_rele(echo_ifp);
	echo_ifp = NULL;
	sx_xunlock(&echo_lock);
	return (0);
}

static SYSCTL_NODE(_debug, OID_AUTO, aoe_echo, CTLFLAG_RW, NULL,
    "AoE round trips without a disk");
SYSCTL_PROC(_debug_aoe_echo, OID_AUTO, run,
    CTLTYPE_STRING | CTLFLAG_RW | CTLFLAG_MPSAFE, NULL, 0, echo_sysctl_run,
    "A", "Measures: interface, MAC, shelf, slot, sectors, depth, msecs");
SYSCTL_ULONG(_debug_aoe_echo, OID_AUTO, answers, CTLFLAG_RD, &echo_answers, 0,
    "Answers of the last run");
SYSCTL_ULONG(_debug_aoe_echo, OID_AUTO, usecs, CTLFLAG_RD, &echo_usecs, 0,
    "Length of the last run in microseconds");

static int
echo_link(int on)
{
	struct pfil_link_args args = {
		.pa_version = PFIL_VERSION,
		.pa_flags = PFIL_IN | PFIL_HEADPTR | PFIL_HOOKPTR |
		    (on ? 0 : PFIL_UNLINK),
		.pa_hook = echo_hook,
	};

	args.pa_head = V_link_pfil_head;
	return (pfil_link(&args));
}

static int
echo_event(module_t mod __unused, int what, void *arg __unused)
{
	struct pfil_hook_args args = {
		.pa_version = PFIL_VERSION,
		.pa_flags = PFIL_IN,
		.pa_type = PFIL_TYPE_ETHERNET,
		.pa_mbuf_chk = echo_input,
		.pa_modname = "aoe_echo",
		.pa_rulname = "default",
	};
	int error;

	error = 0;
	CURVNET_SET(vnet0);
	switch (what) {
	case MOD_LOAD:
		sx_init(&echo_lock, "aoe echo");
		echo_hook = pfil_add_hook(&args);
		error = echo_link(1);
		break;
	case MOD_UNLOAD:
		(void)echo_link(0);
		pfil_remove_hook(echo_hook);
		NET_EPOCH_WAIT();
		sx_destroy(&echo_lock);
		break;
	default:
		error = EOPNOTSUPP;
	}
	CURVNET_RESTORE();
	return (error);
}

static moduledata_t echo_module = {
	"aoe_echo",
	echo_event,
	NULL
};

DECLARE_MODULE(aoe_echo, echo_module, SI_SUB_PROTO_FIREWALL, SI_ORDER_ANY);
MODULE_VERSION(aoe_echo, 1);
