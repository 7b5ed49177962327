/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * A plugin of qemu that counts what the guest executes, by the start of each
 * block of instructions.  Whoever connects to its socket is given what was
 * counted since the last one did, a line for each block:
 *
 *	address instructions executions
 *
 * What programs execute is one line with the address 0.  Processors of the
 * guest that execute the same block at the same moment may be counted as one.
 *
 *	qemu-system-x86_64 -plugin file=count.so,socket=PATH ...
 *
 * The interface is that of <qemu-plugin.h>, version 1, which Debian does not
 * package: QEMU's docs/devel/tcg-plugins.rst.
 */

#include <sys/socket.h>
#include <sys/un.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define	BLOCKS		(1 << 20)	/* a power of two */
#define	FULL		(BLOCKS / 4 * 3)
#define	ADD_U64		0		/* QEMU_PLUGIN_INLINE_ADD_U64 */

struct qemu_plugin_tb;
typedef uint64_t plugin_id;

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int,
    void *, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id,
    void (*)(plugin_id, struct qemu_plugin_tb *));
int qemu_plugin_install(plugin_id, const void *, int, char **);

int qemu_plugin_version = 1;

/* Never taken out, for translated code refers to it. */
static struct block {
	uint64_t	address;
	uint64_t	instructions;	/* 0: not in use */
	volatile uint64_t executions;
} blocks[BLOCKS];
static size_t used;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int listener;

/* NULL when the table is too full. */
static struct block *
find(uint64_t address, uint64_t instructions)
{
	struct block *b;
	uint64_t hash;

	hash = (address ^ instructions << 56) * UINT64_C(0x9e3779b97f4a7c15);
	for (size_t i = hash >> 44;; i = (i + 1) % BLOCKS) {
		b = &blocks[i];
		if (b->instructions == 0) {
			if (used == FULL)
				return (NULL);
			used++;
			b->address = address;
			b->instructions = instructions;
			return (b);
		}
		if (b->address == address && b->instructions == instructions)
			return (b);
	}
}

static void
translated(plugin_id id, struct qemu_plugin_tb *tb)
{
	struct block *b;
	uint64_t address;

	(void)id;
	address = qemu_plugin_tb_vaddr(tb);
	if (address >> 63 == 0)
		address = 0;
	pthread_mutex_lock(&lock);
	b = find(address, qemu_plugin_tb_n_insns(tb));
	pthread_mutex_unlock(&lock);
	if (b != NULL)
		qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64,
		    (void *)&b->executions, 1);
}

static void *
serve(void *argument)
{
	struct block *b;
	FILE *f;
	uint64_t executions;
	int s;

	(void)argument;
	while ((s = accept(listener, NULL, NULL)) >= 0) {
		if ((f = fdopen(s, "w")) == NULL) {
			close(s);
			continue;
		}
		for (b = blocks; b < blocks + BLOCKS; b++) {
			if ((executions = b->executions) == 0)
				continue;
			b->executions = 0;
			fprintf(f, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n",
			    b->address, b->instructions, executions);
		}
		fclose(f);
	}
	return (NULL);
}

int
qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	pthread_t thread;

	(void)info;
	if (argc != 1 || strncmp(argv[0], "socket=", 7) != 0 ||
	    strlen(argv[0] + 7) >= sizeof(at.sun_path)) {
		fprintf(stderr, "count: needs socket=PATH\n");
		return (-1);
	}
	strcpy(at.sun_path, argv[0] + 7);
	unlink(at.sun_path);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (listener < 0 ||
	    bind(listener, (struct sockaddr *)&at, sizeof(at)) != 0 ||
	    listen(listener, 1) != 0) {
		perror("count: socket");
		return (-1);
	}
	if (pthread_create(&thread, NULL, serve, NULL) != 0)
		return (-1);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return (0);
}
