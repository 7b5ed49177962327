/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * The locks.  Order: config (sx), initiator, one target.
 */

#include "aoe_var.h"

#include <sys/epoch.h>
#include <sys/socket.h>
#include <sys/sx.h>

#include <net/if.h>
#include <net/if_var.h>

static struct sx aoe_config_lock;
static struct mtx aoe_initiator_lock;

void
aoe_lock_init(void)
{
	sx_init(&aoe_config_lock, "aoe config");
	mtx_init(&aoe_initiator_lock, "aoe initiator", NULL, MTX_DEF);
}

void
aoe_lock_fini(void)
{
	mtx_destroy(&aoe_initiator_lock);
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
