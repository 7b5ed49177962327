/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * The net.aoe tree.  Which nodes there are, what they are called and what they
 * mean comes from Rust, which has it from sysctl-docs/net.aoe.tsv.
 */

#include "aoe_var.h"

#include <sys/socket.h>
#include <sys/sx.h>

#define	AOE_SYSCTL_NAME		64
#define	AOE_SYSCTL_DESCR	384
/* The first try at a text; a longer one is asked for again. */
#define	AOE_SYSCTL_ROOM		2048

/*
 * sysctl(8) reads a node back after it has set it, and fails if the node has
 * gone by then, as after "remove".  Nodes that were written to stay so long.
 */
#define	AOE_SYSCTL_LINGER	(2 * hz)

/*
 * The nodes of one target.  They may outlive it, and are the next one's of the
 * same address.
 */
struct aoe_nodes {
	TAILQ_ENTRY(aoe_nodes)	an_link;	/* (t) of those without target */
	struct sysctl_ctx_list	an_ctx;		/* (t) */
	uint16_t		an_shelf;	/* (c) */
	uint8_t			an_slot;	/* (c) */
	bool			an_written;	/* an_lock, shared */
	int			an_ticks;	/* an_lock, shared: when it was */
	struct sx		an_lock;	/* handlers that run: shared */
	struct aoe_cell		*an_cell;	/* (t) writes, an_lock reads */
};

SYSCTL_DECL(_net);

static struct sysctl_ctx_list aoe_sysctl_ctx;
static TAILQ_HEAD(, aoe_nodes) aoe_sysctl_left =
    TAILQ_HEAD_INITIALIZER(aoe_sysctl_left);	/* (t) */
static struct timeout_task aoe_sysctl_task;

static int
aoe_sysctl_text(void *rs, uint32_t id, struct sysctl_req *req)
{
	char *text;
	size_t need, room;
	int error;

	for (room = AOE_SYSCTL_ROOM;; room = need + AOE_SYSCTL_ROOM) {
		text = malloc(room, M_AOE, M_WAITOK | M_ZERO);
		need = aoe_rs_sysctl_text(rs, id, text, room);
		if (need <= room)
			break;
		free(text, M_AOE);
	}
	error = SYSCTL_OUT(req, text, need);
	if (error == 0)
		error = SYSCTL_OUT(req, "", 1);
	free(text, M_AOE);
	return (error);
}

static int
aoe_sysctl_set_text(void *rs, uint32_t id, struct sysctl_req *req)
{
	char *text;
	size_t len;
	int error;

	len = req->newlen - req->newidx;
	if (len > AOE_TEXT_MAX)
		return (EINVAL);
	text = malloc(len + 1, M_AOE, M_WAITOK);
	error = SYSCTL_IN(req, text, len);
	if (error == 0) {
		text[len] = '\0';
		error = aoe_rs_sysctl_set_text(rs, id, text, strlen(text));
	}
	free(text, M_AOE);
	return (error);
}

static int
aoe_sysctl_int(void *rs, uint32_t id, struct sysctl_req *req)
{
	int64_t wide;
	int error, value;

	error = aoe_rs_sysctl_number(rs, id, &wide);
	if (error != 0)
		return (error);
	value = (int)wide;
	error = SYSCTL_OUT(req, &value, sizeof(value));
	if (error != 0 || req->newptr == NULL)
		return (error);
	error = SYSCTL_IN(req, &value, sizeof(value));
	if (error != 0)
		return (error);
	return (aoe_rs_sysctl_set_number(rs, id, value));
}

static int
aoe_sysctl_u64(void *rs, uint32_t id, struct sysctl_req *req)
{
	int64_t wide;
	uint64_t value;
	int error;

	error = aoe_rs_sysctl_number(rs, id, &wide);
	if (error != 0)
		return (error);
	value = (uint64_t)wide;
	return (SYSCTL_OUT(req, &value, sizeof(value)));
}

static int
aoe_sysctl_value(struct sysctl_oid *oidp, void *rs, uint32_t id,
    struct sysctl_req *req)
{
	int error;

	switch (oidp->oid_kind & CTLTYPE) {
	case CTLTYPE_INT:
		return (aoe_sysctl_int(rs, id, req));
	case CTLTYPE_U64:
		return (aoe_sysctl_u64(rs, id, req));
	default:
		error = aoe_sysctl_text(rs, id, req);
		if (error == 0 && req->newptr != NULL)
			error = aoe_sysctl_set_text(rs, id, req);
		return (error);
	}
}

static int
aoe_sysctl_handle(SYSCTL_HANDLER_ARGS)
{
	struct aoe_nodes *nodes = arg1;
	struct aoe_cell *cell;
	int error;

	if (nodes == NULL)
		return (aoe_sysctl_value(oidp, NULL, arg2, req));
	sx_slock(&nodes->an_lock);
	cell = atomic_load_ptr(&nodes->an_cell);
	if (cell != NULL && req->newptr != NULL) {
		nodes->an_ticks = ticks;
		nodes->an_written = true;
	}
	/* Of a target that has gone only its commands are left to be read. */
	if (cell == NULL && (oidp->oid_kind & CTLTYPE) != CTLTYPE_INT)
		error = ENOENT;
	else
		error = aoe_sysctl_value(oidp,
		    cell != NULL ? cell->ac_rs : NULL, arg2, req);
	sx_sunlock(&nodes->an_lock);
	return (error);
}

/* The nodes that a target of this address left behind, or new ones. */
static struct aoe_nodes *
aoe_sysctl_nodes(const struct aoe_cell *cell)
{
	struct aoe_nodes *nodes;

	TAILQ_FOREACH(nodes, &aoe_sysctl_left, an_link) {
		if (nodes->an_shelf == cell->ac_shelf &&
		    nodes->an_slot == cell->ac_slot) {
			TAILQ_REMOVE(&aoe_sysctl_left, nodes, an_link);
			return (nodes);
		}
	}
	nodes = malloc(sizeof(*nodes), M_AOE, M_WAITOK | M_ZERO);
	sysctl_ctx_init(&nodes->an_ctx);
	sx_init_flags(&nodes->an_lock, "aoe nodes", SX_NEW);
	nodes->an_shelf = cell->ac_shelf;
	nodes->an_slot = cell->ac_slot;
	return (nodes);
}

static void
aoe_sysctl_free(struct aoe_nodes *nodes)
{
	sysctl_ctx_free(&nodes->an_ctx);
	sx_destroy(&nodes->an_lock);
	free(nodes, M_AOE);
}

/* In the work thread: frees what has been left for long enough, or all. */
static void
aoe_sysctl_free_left(bool all)
{
	struct aoe_nodes *next, *nodes;
	int left, wait;

	wait = 0;
	TAILQ_FOREACH_SAFE(nodes, &aoe_sysctl_left, an_link, next) {
		left = AOE_SYSCTL_LINGER - (ticks - nodes->an_ticks);
		if (all || left <= 0 || left > AOE_SYSCTL_LINGER) {
			TAILQ_REMOVE(&aoe_sysctl_left, nodes, an_link);
			aoe_sysctl_free(nodes);
		} else if (wait == 0 || left < wait)
			wait = left;
	}
	if (wait != 0)
		aoe_cell_work_later(&aoe_sysctl_task, wait);
}

static void
aoe_sysctl_expire(void *arg __unused, int pending __unused)
{
	aoe_sysctl_free_left(false);
}

static struct sysctl_ctx_list *
aoe_sysctl_context(struct aoe_cell *cell)
{
	if (cell == NULL)
		return (&aoe_sysctl_ctx);
	if (cell->ac_nodes == NULL) {
		cell->ac_nodes = aoe_sysctl_nodes(cell);
		atomic_store_ptr(&cell->ac_nodes->an_cell, cell);
	}
	return (&cell->ac_nodes->an_ctx);
}

static struct sysctl_oid_list *
aoe_sysctl_parent(void *parent)
{
	if (parent == NULL)
		return (SYSCTL_STATIC_CHILDREN(_net));
	return (SYSCTL_CHILDREN((struct sysctl_oid *)parent));
}

/*
 * What was added to a context already is not added again: sysctl_add_oid()
 * would add an entry to the context each time, and what is asked for often
 * would grow it without bound.  Only one thread at a time changes a context;
 * names and parents of its oids do not change, and sysctl(9) escapes nothing
 * in these names.
 */
static struct sysctl_oid *
aoe_sysctl_find(struct sysctl_ctx_list *ctx, struct sysctl_oid_list *parent,
    const char *name)
{
	struct sysctl_ctx_entry *e;

	TAILQ_FOREACH(e, ctx, link) {
		if (e->entry->oid_parent == parent &&
		    strcmp(e->entry->oid_name, name) == 0)
			return (e->entry);
	}
	return (NULL);
}

/* A node that another context has already gets one more owner. */
void *
aoe_shim_sysctl_node(struct aoe_cell *cell, void *parent, const char *name,
    size_t len, const char *descr, size_t descr_len)
{
	char buf[AOE_SYSCTL_NAME], text[AOE_SYSCTL_DESCR];
	struct sysctl_ctx_list *ctx = aoe_sysctl_context(cell);
	struct sysctl_oid_list *above = aoe_sysctl_parent(parent);
	struct sysctl_oid *oid;

	snprintf(buf, sizeof(buf), "%.*s", (int)len, name);
	snprintf(text, sizeof(text), "%.*s", (int)descr_len, descr);
	oid = aoe_sysctl_find(ctx, above, buf);
	if (oid == NULL)
		oid = sysctl_add_oid(ctx, above, OID_AUTO, buf, CTLTYPE_NODE |
		    CTLFLAG_RD | CTLFLAG_MPSAFE, NULL, 0, NULL, "N", text,
		    NULL);
	return (oid);
}

int
aoe_shim_sysctl_leaf(struct aoe_cell *cell, void *parent, const char *name,
    size_t len, const char *descr, size_t descr_len, enum aoe_leaf_type type,
    int writable, uint32_t id)
{
	char buf[AOE_SYSCTL_NAME], text[AOE_SYSCTL_DESCR];
	struct sysctl_ctx_list *ctx = aoe_sysctl_context(cell);
	struct sysctl_oid_list *above = aoe_sysctl_parent(parent);
	struct sysctl_oid *oid;
	const char *format;
	int kind;

	switch (type) {
	case AOE_LEAF_INT:
		kind = CTLTYPE_INT;
		format = "I";
		break;
	case AOE_LEAF_U64:
		kind = CTLTYPE_U64;
		format = "QU";
		break;
	default:
		kind = CTLTYPE_STRING;
		format = "A";
		break;
	}
	snprintf(buf, sizeof(buf), "%.*s", (int)len, name);
	snprintf(text, sizeof(text), "%.*s", (int)descr_len, descr);
	oid = aoe_sysctl_find(ctx, above, buf);
	if (oid == NULL)
		oid = sysctl_add_oid(ctx, above, OID_AUTO, buf, kind |
		    CTLFLAG_MPSAFE | (writable ? CTLFLAG_RW : CTLFLAG_RD),
		    cell != NULL ? cell->ac_nodes : NULL, id,
		    aoe_sysctl_handle, format, text, NULL);
	return (oid != NULL ? 0 : ENOMEM);
}

/*
 * Waits for handlers that run: what they lock must not be held.  Afterwards
 * none of them finds the target, of which the work thread is the caller, or
 * the module, of which there are no targets any more.
 */
void
aoe_shim_sysctl_remove(struct aoe_cell *cell)
{
	struct aoe_nodes *nodes;

	if (cell == NULL) {
		aoe_cell_cancel_later(&aoe_sysctl_task);
		aoe_sysctl_free_left(true);
		sysctl_ctx_free(&aoe_sysctl_ctx);
		return;
	}
	nodes = cell->ac_nodes;
	if (nodes == NULL)
		return;
	cell->ac_nodes = NULL;
	sx_xlock(&nodes->an_lock);
	atomic_store_ptr(&nodes->an_cell, NULL);
	sx_xunlock(&nodes->an_lock);
	if (!nodes->an_written) {
		aoe_sysctl_free(nodes);
		return;
	}
	TAILQ_INSERT_TAIL(&aoe_sysctl_left, nodes, an_link);
	aoe_sysctl_free_left(false);
}

void
aoe_sysctl_init(void)
{
	sysctl_ctx_init(&aoe_sysctl_ctx);
	aoe_cell_init_later(&aoe_sysctl_task, aoe_sysctl_expire);
}
