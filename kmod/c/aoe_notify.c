/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * What devd(8) is told, by devctl(4).
 */

#include "aoe_var.h"

#include <sys/devctl.h>

/*
 * Neither text has anything in it that devctl gives a meaning to, but what
 * Rust put there.  Does not sleep.
 */
void
aoe_shim_notify_target(const char *type, size_t type_len, const char *vars,
    size_t len)
{
	char kind[AOE_NOTICE_TYPE], text[AOE_NOTICE_MAX + 1];

	snprintf(kind, sizeof(kind), "%.*s", (int)type_len, type);
	snprintf(text, sizeof(text), "%.*s", (int)len, vars);
	devctl_notify("AOE", "TARGET", kind, text);
}
