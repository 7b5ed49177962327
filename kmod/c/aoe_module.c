/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * Loading and unloading.
 */

#include "aoe_var.h"

#include <sys/module.h>

bool aoe_module_is_loaded;

/*
 * Fetches a tunable that is a number; false when it is not set.  Getting it as
 * an int would make another number of one that is too large.
 */
static bool
aoe_module_tunable(const char *name, int64_t *value)
{
	quad_t quad;

	if (!testenv(name))
		return (false);
	*value = getenv_quad(name, &quad) ? quad : INT64_MIN;
	return (true);
}

/*
 * Points at which the module's tests let loading and unloading fail: the kernel
 * variable of this name holds the number of the point that does, counted from
 * the beginning.  In modules for kernels that check themselves, and others that
 * were built for it; everywhere else nothing fails here.
 */
#if defined(INVARIANTS) || defined(AOE_FAULT_POINTS)
static int aoe_fault_point;	/* passed since the beginning */
static int aoe_fault_wanted;

static void
aoe_fault_begin(const char *name)
{
	int64_t wanted;

	aoe_fault_point = aoe_fault_wanted = 0;
	if (aoe_module_tunable(name, &wanted))
		aoe_fault_wanted = (int)wanted;
}

/* The kernel serialises loading and unloading. */
int
aoe_shim_fault(void)
{
	char text[64];
	int len;

	if (++aoe_fault_point != aoe_fault_wanted)
		return (0);
	len = snprintf(text, sizeof(text), "point %d fails, as it was told to",
	    aoe_fault_point);
	aoe_shim_log_print(AOE_CAUSE_MODULE, text, len);
	return (EDOOFUS);
}
#else
static void
aoe_fault_begin(const char *name __unused)
{
}

int
aoe_shim_fault(void)
{
	return (0);
}
#endif

/*
 * Fetched here and not by the sysctl nodes, whose handlers would run before
 * anything else of the module is there.
 */
static void
aoe_module_tunables(struct aoe_tunables *tunables)
{
	memset(tunables, 0, sizeof(*tunables));
	tunables->at_wc = -1;
	tunables->at_beacon_secs = 60;
	tunables->at_quarantine_secs = 15;
	tunables->at_fail_on_shutdown = 1;
	tunables->at_boot_wait_secs = 30;
	tunables->at_max_targets = 1024;
	strlcpy(tunables->at_targets, "*", sizeof(tunables->at_targets));
	TUNABLE_STR_FETCH("net.aoe.iflist", tunables->at_iflist,
	    sizeof(tunables->at_iflist));
	aoe_module_tunable("net.aoe.maxwait", &tunables->at_maxwait);
	tunables->at_has_dead_secs = aoe_module_tunable("net.aoe.dead_secs",
	    &tunables->at_dead_secs);
	aoe_module_tunable("net.aoe.quarantine_secs",
	    &tunables->at_quarantine_secs);
	aoe_module_tunable("net.aoe.wc", &tunables->at_wc);
	aoe_module_tunable("net.aoe.beacon_secs", &tunables->at_beacon_secs);
	aoe_module_tunable("net.aoe.fail_on_shutdown",
	    &tunables->at_fail_on_shutdown);
	aoe_module_tunable("net.aoe.boot_wait_secs",
	    &tunables->at_boot_wait_secs);
	TUNABLE_STR_FETCH("net.aoe.boot_targets", tunables->at_boot_targets,
	    sizeof(tunables->at_boot_targets));
	TUNABLE_STR_FETCH("net.aoe.targets", tunables->at_targets,
	    sizeof(tunables->at_targets));
	aoe_module_tunable("net.aoe.max_targets", &tunables->at_max_targets);
}

static int
aoe_module_start(void)
{
	struct aoe_tunables *tunables;
	int error;

	tunables = malloc(sizeof(*tunables), M_AOE, M_WAITOK);
	aoe_module_tunables(tunables);
	error = aoe_rs_module_load(tunables);
	free(tunables, M_AOE);
	return (error);
}

static void
aoe_module_sysctl_fini(void)
{
	aoe_shim_sysctl_remove(NULL);
}

/*
 * What loading consists of, in its order.  Unloading undoes it in the opposite
 * one; so does a load of which a step fails.  A step that fails leaves nothing
 * behind itself.  The last one, Rust's, comes up with what the loader was told,
 * and is the only one that may refuse to be undone.
 */
static const struct aoe_step {
	void	(*as_begin)(void);	/* cannot fail */
	int	(*as_try)(void);	/* in the place of as_begin */
	void	(*as_undo)(void);
} aoe_steps[] = {
	{ .as_begin = aoe_mem_init, .as_undo = aoe_mem_fini },
	{ .as_begin = aoe_lock_init, .as_undo = aoe_lock_fini },
	{ .as_begin = aoe_time_init, .as_undo = aoe_time_fini },
	{ .as_begin = aoe_taste_init },
	{ .as_try = aoe_net_init, .as_undo = aoe_net_fini },
	{ .as_try = aoe_cell_init, .as_undo = aoe_cell_fini },
	{ .as_begin = aoe_sysctl_init, .as_undo = aoe_module_sysctl_fini },
	{ .as_begin = aoe_event_init, .as_undo = aoe_event_fini },
	{ .as_begin = aoe_boot_init, .as_undo = aoe_boot_fini },
	{ .as_try = aoe_module_start },
};

/* Undoes the first n steps. */
static void
aoe_module_undo(u_int n)
{
	while (n-- > 0)
		if (aoe_steps[n].as_undo != NULL)
			aoe_steps[n].as_undo();
}

static int
aoe_module_load(void)
{
	const struct aoe_step *step;
	u_int n;
	int error;

	aoe_fault_begin("debug.aoe.fail_load");
	for (n = 0; n < nitems(aoe_steps); n++) {
		step = &aoe_steps[n];
		error = aoe_shim_fault();
		if (error == 0 && step->as_try != NULL)
			error = step->as_try();
		else if (error == 0)
			step->as_begin();
		if (error != 0) {
			aoe_module_undo(n);
			return (error);
		}
	}
	aoe_module_is_loaded = true;
	return (0);
}

/*
 * Rust decides whether it may be; afterwards it has no target and no timer.
 * When it refuses, everything is as it was before.  The kernel also calls this
 * for a module that could not be loaded, of which there is nothing left.
 */
static int
aoe_module_unload(void)
{
	int error;

	if (!aoe_module_is_loaded)
		return (0);
	aoe_fault_begin("debug.aoe.fail_unload");
	error = aoe_rs_module_unload();
	if (error != 0)
		return (error);
	aoe_module_is_loaded = false;
	aoe_module_undo(nitems(aoe_steps));
	return (0);
}

static int
aoe_module_event(module_t mod __unused, int what, void *arg __unused)
{
	switch (what) {
	case MOD_LOAD:
		return (aoe_module_load());
	case MOD_QUIESCE:
		return (aoe_rs_module_check());
	case MOD_UNLOAD:
		return (aoe_module_unload());
	case MOD_SHUTDOWN:
		/* Disks stay until the last of their users has let go. */
		return (0);
	default:
		return (EOPNOTSUPP);
	}
}

static moduledata_t aoe_module = {
	"aoe",
	aoe_module_event,
	NULL
};

/*
 * The input hook needs the link-layer hook point, which comes into being at
 * SI_SUB_PROTO_IF; a preloaded module starts behind it, when the interfaces
 * that the bus found are there.
 */
DECLARE_MODULE(aoe, aoe_module, SI_SUB_PROTO_FIREWALL, SI_ORDER_ANY);
MODULE_VERSION(aoe, 1);
