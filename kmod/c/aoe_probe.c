/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * Statically defined tracing, SDT(9): the provider "aoe" and its probes.  A
 * probe that is off costs a no-op or the test of one flag; in a kernel without
 * KDTRACE_HOOKS there is nothing.  aoe(4) describes the probes: a test holds
 * names and arguments there against these lines.
 *
 * Frames are named by interface, shelf, slot, tag and length.
 */

#include "aoe_var.h"

SDT_PROVIDER_DEFINE(aoe);

/* A request comes from GEOM. */
SDT_PROBE_DEFINE3(aoe, , , submit, "struct bio *", "uint16_t", "uint8_t");
/* A request ends, with this errno. */
SDT_PROBE_DEFINE4(aoe, , , complete, "struct bio *", "uint16_t", "uint8_t",
    "int");
/* A frame is handed to an interface. */
SDT_PROBE_DEFINE5(aoe, , , frame__sent, "const char *", "uint16_t", "uint8_t",
    "uint32_t", "uint32_t");
/* The same, when an earlier copy of it was sent. */
SDT_PROBE_DEFINE5(aoe, , , frame__retransmitted, "const char *", "uint16_t",
    "uint8_t", "uint32_t", "uint32_t");
/* An AoE frame came in by a listed interface. */
SDT_PROBE_DEFINE5(aoe, , , frame__received, "const char *", "uint16_t",
    "uint8_t", "uint32_t", "uint32_t");
/* A target goes from one state to another. */
SDT_PROBE_DEFINE4(aoe, , , state__change, "uint16_t", "uint8_t",
    "const char *", "const char *");

/* Longer than the name of any state. */
#define	AOE_PROBE_STATE		16

void
aoe_shim_probe_state(const struct aoe_cell *cell, const char *from,
    size_t from_len, const char *to, size_t to_len)
{
	char old[AOE_PROBE_STATE], new[AOE_PROBE_STATE];

	if (!SDT_PROBES_ENABLED())
		return;
	snprintf(old, sizeof(old), "%.*s", (int)from_len, from);
	snprintf(new, sizeof(new), "%.*s", (int)to_len, to);
	SDT_PROBE4(aoe, , , state__change, cell->ac_shelf, cell->ac_slot, old,
	    new);
}
