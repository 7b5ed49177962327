/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * The clock and the timers.  A clock tick is 10 ms in many guests: deadlines
 * are given to the event timer itself.
 */

#include "aoe_var.h"

#include <sys/epoch.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <net/if.h>
#include <net/if_var.h>

/* Deadlines may be late by this much, so that close ones share an interrupt. */
#define	AOE_PRECISION	(100 * SBT_1US)

static struct callout aoe_initiator_callout;

void
aoe_time_init(void)
{
	callout_init(&aoe_initiator_callout, 1);
}

uint64_t
aoe_shim_time_now(void)
{
	return (sbttons(sbinuptime()));
}

void
aoe_time_cell(void *arg)
{
	struct epoch_tracker et;
	struct aoe_cell *cell = arg;

	NET_EPOCH_ENTER(et);
	aoe_rs_target_timeout(cell->ac_rs);
	NET_EPOCH_EXIT(et);
}

static void
aoe_time_initiator(void *arg __unused)
{
	struct epoch_tracker et;

	NET_EPOCH_ENTER(et);
	aoe_rs_initiator_timeout();
	NET_EPOCH_EXIT(et);
}

void
aoe_shim_time_arm_cell(struct aoe_cell *cell, uint64_t at)
{
	callout_reset_sbt(&cell->ac_callout, nstosbt(at), AOE_PRECISION,
	    aoe_time_cell, cell, C_ABSOLUTE);
}

void
aoe_shim_time_arm_initiator(uint64_t at)
{
	callout_reset_sbt(&aoe_initiator_callout, nstosbt(at), AOE_PRECISION,
	    aoe_time_initiator, NULL, C_ABSOLUTE);
}

/* The caller has made sure that it is not armed again. */
void
aoe_shim_time_stop_initiator(void)
{
	callout_drain(&aoe_initiator_callout);
}
