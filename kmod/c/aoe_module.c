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
}

static void
aoe_module_fini(void)
{
	aoe_cell_fini();
	aoe_net_fini();
	aoe_time_fini();
	aoe_lock_fini();
	aoe_mem_fini();
}

static int
aoe_module_load(void)
{
	struct aoe_tunables tunables;
	int error;

	aoe_module_tunables(&tunables);
	aoe_mem_init();
	aoe_lock_init();
	aoe_time_init();
	error = aoe_net_init();
	if (error != 0) {
		aoe_time_fini();
		aoe_lock_fini();
		aoe_mem_fini();
		return (error);
	}
	error = aoe_cell_init();
	if (error != 0) {
		aoe_net_fini();
		aoe_time_fini();
		aoe_lock_fini();
		aoe_mem_fini();
		return (error);
	}
	aoe_sysctl_init();
	aoe_event_init();
	error = aoe_rs_module_load(&tunables);
	if (error != 0) {
		aoe_event_fini();
		aoe_shim_sysctl_remove(NULL);
		aoe_module_fini();
	}
	aoe_module_is_loaded = error == 0;
	return (error);
}

/* Rust decides whether it may be; afterwards it has no target and no timer. */
static int
aoe_module_unload(void)
{
	int error;

	error = aoe_rs_module_unload();
	if (error != 0)
		return (error);
	aoe_module_is_loaded = false;
	aoe_event_fini();
	aoe_shim_sysctl_remove(NULL);
	aoe_module_fini();
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
