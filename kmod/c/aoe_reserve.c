/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * The reserve of mbufs.  A host that pages to an AoE disk must be able to send
 * a write when no mbuf can be had: the write is what frees memory.  So each
 * listed interface keeps chains back, each long enough for the longest frame
 * of its MTU.
 */

#include "aoe_var.h"

#include <sys/socket.h>
#include <sys/mbuf.h>

/*
 * m_pkthdr.len of a chain in reserve is the number of bytes that fit into it.
 */
static struct aoe_reserve {
	struct mtx	rv_lock;
	struct mbufq	rv_chains;	/* rv_lock */
} aoe_reserves[AOE_MAX_NETIFS];

void
aoe_reserve_init(void)
{
	struct aoe_reserve *rv;
	u_int i;

	for (i = 0; i < AOE_MAX_NETIFS; i++) {
		rv = &aoe_reserves[i];
		mtx_init(&rv->rv_lock, "aoe reserve", NULL, MTX_DEF);
		mbufq_init(&rv->rv_chains, AOE_RESERVE_FRAMES);
	}
}

void
aoe_reserve_fini(void)
{
	u_int i;

	for (i = 0; i < AOE_MAX_NETIFS; i++) {
		aoe_reserve_empty(i);
		mtx_destroy(&aoe_reserves[i].rv_lock);
	}
}

static void
aoe_reserve_remove(struct aoe_reserve *rv, struct mbuf *m)
{
	mtx_assert(&rv->rv_lock, MA_OWNED);
	STAILQ_REMOVE(&rv->rv_chains.mq_head, m, mbuf, m_stailqpkt);
	rv->rv_chains.mq_len--;
	m->m_nextpkt = NULL;
}

/* Takes a chain into which so many bytes fit, or returns NULL. */
struct mbuf *
aoe_reserve_take(u_int netif, int len)
{
	struct aoe_reserve *rv = &aoe_reserves[netif];
	struct mbuf *m;

	mtx_lock(&rv->rv_lock);
	STAILQ_FOREACH(m, &rv->rv_chains.mq_head, m_stailqpkt)
		if (m->m_pkthdr.len >= len)
			break;
	if (m != NULL)
		aoe_reserve_remove(rv, m);
	mtx_unlock(&rv->rv_lock);
	return (m);
}

/* A chain that was made for another MTU. */
static struct mbuf *
aoe_reserve_stale(struct aoe_reserve *rv, int room)
{
	struct mbuf *m;

	mtx_assert(&rv->rv_lock, MA_OWNED);
	STAILQ_FOREACH(m, &rv->rv_chains.mq_head, m_stailqpkt)
		if (m->m_pkthdr.len != room)
			break;
	return (m);
}

static bool
aoe_reserve_is_complete(struct aoe_reserve *rv, int room)
{
	bool complete;

	mtx_lock(&rv->rv_lock);
	complete = mbufq_full(&rv->rv_chains) &&
	    aoe_reserve_stale(rv, room) == NULL;
	mtx_unlock(&rv->rv_lock);
	return (complete);
}

/*
 * Puts a chain into the reserve, in the place of a stale one if the reserve is
 * full.  Returns the chain that the caller has to free, or NULL.
 */
static struct mbuf *
aoe_reserve_put(struct aoe_reserve *rv, struct mbuf *m)
{
	struct mbuf *stale;

	mtx_lock(&rv->rv_lock);
	stale = NULL;
	if (mbufq_full(&rv->rv_chains)) {
		stale = aoe_reserve_stale(rv, m->m_pkthdr.len);
		if (stale != NULL)
			aoe_reserve_remove(rv, stale);
	}
	if (!mbufq_full(&rv->rv_chains)) {
		mbufq_prepend(&rv->rv_chains, m);
		m = stale;
	}
	mtx_unlock(&rv->rv_lock);
	return (m);
}

/*
 * Fills the reserve up with chains of the given room.  Allocates nothing when
 * it is complete.  Does not wait for memory: when there is none now, the next
 * call will find some.  After a change of the MTU stale chains are exchanged
 * one by one, so that the reserve is never empty on the way.
 */
void
aoe_reserve_refill(u_int netif, int room)
{
	struct aoe_reserve *rv = &aoe_reserves[netif];
	struct mbuf *m;

	while (!aoe_reserve_is_complete(rv, room)) {
		m = m_getm2(NULL, room, M_NOWAIT, MT_DATA, M_PKTHDR);
		if (m == NULL)
			break;
		m->m_pkthdr.len = room;
		m = aoe_reserve_put(rv, m);
		if (m != NULL)
			m_freem(m);
	}
}

void
aoe_reserve_empty(u_int netif)
{
	struct aoe_reserve *rv = &aoe_reserves[netif];
	struct mbuf *m, *next;

	mtx_lock(&rv->rv_lock);
	m = mbufq_flush(&rv->rv_chains);
	mtx_unlock(&rv->rv_lock);
	for (; m != NULL; m = next) {
		next = m->m_nextpkt;
		m->m_nextpkt = NULL;
		m_freem(m);
	}
}

/* The chains in reserve, of all interfaces. */
uint64_t
aoe_shim_reserve_count(void)
{
	struct aoe_reserve *rv;
	uint64_t n;
	u_int i;

	n = 0;
	for (i = 0; i < AOE_MAX_NETIFS; i++) {
		rv = &aoe_reserves[i];
		mtx_lock(&rv->rv_lock);
		n += mbufq_len(&rv->rv_chains);
		mtx_unlock(&rv->rv_lock);
	}
	return (n);
}
