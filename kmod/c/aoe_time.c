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
#include <sys/pcpu.h>
#include <sys/proc.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <net/if.h>
#include <net/if_var.h>

#include <vm/uma.h>

/* Deadlines may be late by this much, so that close ones share an interrupt. */
#define	AOE_PRECISION	(100 * SBT_1US)

/*
 * An sbintime_t has 31 bits for seconds; nstosbt() of more is negative, a time
 * that has passed long ago.  What is due later than 68 years after the machine
 * started is due then.
 */
#define	AOE_TIME_MAX	(INT32_MAX * UINT64_C(1000000000))

static struct callout aoe_initiator_callout;

/*
 * A timecounter can cost microseconds to read: HPET and ACPI do, above all in
 * a virtual machine.  The count of a processor costs nothing, but may change
 * its pace, differ from those of others, or stop while the processor is idle.
 * So it only bridges the gaps between readings, AOE_CLOCK_SPAN at most, on the
 * processor that read.  What a count that stopped has missed is found by the
 * time of the last tick of the kernel.
 */
#define	AOE_CLOCK_SPAN	(200 * SBT_1US)
#define	AOE_CLOCK_SHIFT	20	/* binary places of clk_scale */

struct aoe_clock {
	sbintime_t	clk_time;	/* the last reading */
	uint64_t	clk_ticks;	/* the count then */
	uint64_t	clk_span;	/* ticks for which it may be used */
	uint64_t	clk_scale;	/* sbintime of one tick */
};

static struct aoe_clock *aoe_clocks;	/* one for each processor */

void
aoe_time_init(void)
{
	callout_init(&aoe_initiator_callout, 1);
	CTASSERT(sizeof(struct aoe_clock) == 32);
	aoe_clocks = uma_zalloc_pcpu(pcpu_zone_32, M_WAITOK | M_ZERO);
}

void
aoe_time_fini(void)
{
	uma_zfree_pcpu(pcpu_zone_32, aoe_clocks);
}

uint64_t
aoe_shim_time_now(void)
{
	struct aoe_clock *clk;
	sbintime_t now;
	uint64_t passed, rate;

	critical_enter();
	clk = zpcpu_get(aoe_clocks);
	passed = cpu_ticks() - clk->clk_ticks;
	if (passed < clk->clk_span) {
		now = clk->clk_time + (sbintime_t)((passed * clk->clk_scale) >>
		    AOE_CLOCK_SHIFT);
		now = MAX(now, getsbinuptime());
	} else {
		rate = cpu_tickrate();
		now = sbinuptime();
		clk->clk_time = now;
		clk->clk_ticks = cpu_ticks();
		clk->clk_span = rate * AOE_CLOCK_SPAN / SBT_1S;
		clk->clk_scale = rate == 0 ? 0 :
		    ((uint64_t)SBT_1S << AOE_CLOCK_SHIFT) / rate;
	}
	critical_exit();
	return (sbttons(now));
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

static sbintime_t
aoe_time_to_sbt(uint64_t at)
{
	return (nstosbt(MIN(at, AOE_TIME_MAX)));
}

/*
 * Timers are armed on the processor that arms them.  Those that no processor
 * is named for are all on the first one, which other processors interrupt to
 * set its clock anew.  Who arms a target's timer sent its frames or took its
 * answers in just now, and has the target's lock and state at hand.
 */
void
aoe_shim_time_arm_cell(struct aoe_cell *cell, uint64_t at)
{
	callout_reset_sbt_curcpu(&cell->ac_callout, aoe_time_to_sbt(at),
	    AOE_PRECISION, aoe_time_cell, cell, C_ABSOLUTE);
}

void
aoe_shim_time_arm_initiator(uint64_t at)
{
	callout_reset_sbt_curcpu(&aoe_initiator_callout, aoe_time_to_sbt(at),
	    AOE_PRECISION, aoe_time_initiator, NULL, C_ABSOLUTE);
}

/* The caller has made sure that it is not armed again. */
void
aoe_shim_time_stop_initiator(void)
{
	callout_drain(&aoe_initiator_callout);
}
