/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * The locks, in their order:
 *
 *	aoe config	sx	settings, disks coming and going
 *	aoe netifs	sx	the list of interfaces
 *	aoe initiator	mtx	discovery
 *	aoe target	mtx	one target; each has its own
 *
 * The holder of the config lock may wait for memory: geom_disk(4) and
 * sysctl(9) do.  The holder of the netifs lock never does, and never takes the
 * config lock.  A host that pages to an AoE disk may have no memory until a
 * write has been answered; the write may need a change of link to be seen, and
 * the reserve of mbufs to be filled.  Both are done with the netifs lock.  Its
 * holder may wait for the net epoch and for the mutexes of a driver.
 *
 * The kernel calls the handler of ifnet_departure_event, which takes the
 * netifs lock, with ifnet_detach_sxlock held: nothing that takes that one may
 * be called with the netifs lock.
 */

#include "aoe_var.h"

#include <sys/epoch.h>
#include <sys/socket.h>
#include <sys/sx.h>

#include <net/if.h>
#include <net/if_var.h>

static struct sx aoe_config_lock;
static struct sx aoe_netifs_lock;
static struct mtx aoe_initiator_lock;

void
aoe_lock_init(void)
{
	sx_init(&aoe_config_lock, "aoe config");
	sx_init(&aoe_netifs_lock, "aoe netifs");
	mtx_init(&aoe_initiator_lock, "aoe initiator", NULL, MTX_DEF);
}

void
aoe_lock_fini(void)
{
	mtx_destroy(&aoe_initiator_lock);
	sx_destroy(&aoe_netifs_lock);
	sx_destroy(&aoe_config_lock);
}

void
aoe_shim_lock_config(void)
{
	sx_xlock(&aoe_config_lock);
}

void
aoe_shim_unlock_config(void)
{
	sx_xunlock(&aoe_config_lock);
}

void
aoe_shim_lock_netifs(void)
{
	sx_xlock(&aoe_netifs_lock);
}

void
aoe_shim_unlock_netifs(void)
{
	sx_xunlock(&aoe_netifs_lock);
}

void
aoe_shim_lock_initiator(void)
{
	mtx_lock(&aoe_initiator_lock);
}

void
aoe_shim_unlock_initiator(void)
{
	mtx_unlock(&aoe_initiator_lock);
}

void
aoe_shim_lock_cell(struct aoe_cell *cell)
{
	mtx_lock(&cell->ac_mtx);
}

void
aoe_shim_unlock_cell(struct aoe_cell *cell)
{
	mtx_unlock(&cell->ac_mtx);
}

/* Returns when nobody who is inside the net epoch now is there any more. */
void
aoe_shim_epoch_wait(void)
{
	NET_EPOCH_WAIT();
}

/* Calls the function in the net epoch. */
void
aoe_shim_epoch_run(void (*function)(void *), void *arg)
{
	struct epoch_tracker et;

	NET_EPOCH_ENTER(et);
	function(arg);
	NET_EPOCH_EXIT(et);
}
