/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * Memory, counters, random numbers and the console.
 */

#include "aoe_var.h"

#include <sys/counter.h>
#include <sys/libkern.h>
#include <sys/time.h>

/* Messages of one cause a second; what is beyond is not printed. */
#define	AOE_MESSAGES_PER_SECOND	5

MALLOC_DEFINE(M_AOE, "aoe", "ATA over Ethernet");

static counter_u64_t aoe_counters[AOE_COUNT_END];

/*
 * The state of the rate limits.  Unlocked, as ppsratecheck(9) allows: a race
 * lets a message more or less through.
 */
static struct {
	struct timeval	last;
	int		count;
} aoe_log_rates[AOE_CAUSE_END];

void
aoe_mem_init(void)
{
	COUNTER_ARRAY_ALLOC(aoe_counters, AOE_COUNT_END, M_WAITOK);
}

void
aoe_mem_fini(void)
{
	COUNTER_ARRAY_FREE(aoe_counters, AOE_COUNT_END);
}

void *
aoe_shim_mem_alloc(size_t size, int wait)
{
	return (malloc(size, M_AOE, M_ZERO | (wait ? M_WAITOK : M_NOWAIT)));
}

void
aoe_shim_mem_free(void *p)
{
	free(p, M_AOE);
}

uint64_t
aoe_shim_mem_random(void)
{
	uint64_t value;

	arc4rand(&value, sizeof(value), 0);
	return (value);
}

void
aoe_shim_counter_add(uint32_t counter, uint64_t n)
{
	if (counter < AOE_COUNT_END)
		counter_u64_add(aoe_counters[counter], n);
}

uint64_t
aoe_shim_counter_fetch(uint32_t counter)
{
	return (counter < AOE_COUNT_END ?
	    counter_u64_fetch(aoe_counters[counter]) : 0);
}

void
aoe_shim_log_print(uint32_t cause, const char *text, size_t len)
{
	if (cause >= AOE_CAUSE_END)
		return;
	if (cause != AOE_CAUSE_TUNABLE &&
	    !ppsratecheck(&aoe_log_rates[cause].last,
	    &aoe_log_rates[cause].count, AOE_MESSAGES_PER_SECOND))
		return;
	printf("aoe: %.*s\n", (int)len, text);
}

void
aoe_shim_panic(const char *text, size_t len)
{
	panic("aoe: %.*s", (int)len, text);
}
