/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * The C halves of the targets, and the threads that work for them.
 *
 * Three task queues.  The "send" threads go on sending where a thread that has
 * other things to do left off.  The single "work" thread does what may wait
 * for memory: disks, sysctl nodes, drivers.  The single "netif" thread looks
 * after the interfaces and the reserve of mbufs, and never waits for memory.
 */

#include "aoe_var.h"

#include <sys/epoch.h>
#include <sys/priority.h>
#include <sys/smp.h>

/* One target has one sender at a time. */
#define	AOE_SEND_THREADS	4

static struct taskqueue *aoe_send_queue;
static struct taskqueue *aoe_work_queue;
static struct taskqueue *aoe_netif_queue;

static struct mtx aoe_work_lock;
static TAILQ_HEAD(, aoe_cell) aoe_work_cells =
    TAILQ_HEAD_INITIALIZER(aoe_work_cells);	/* aoe_work_lock */
static u_int aoe_cells;				/* aoe_work_lock */
static struct task aoe_work_task;
static struct task aoe_module_task;
static struct task aoe_netif_task;

/*
 * A cell is off the list while it is worked on, so that the work may end in
 * its destruction.
 */
static void
aoe_cell_work(void *arg __unused, int pending __unused)
{
	struct aoe_cell *cell;

	mtx_lock(&aoe_work_lock);
	while ((cell = TAILQ_FIRST(&aoe_work_cells)) != NULL) {
		TAILQ_REMOVE(&aoe_work_cells, cell, ac_work_link);
		cell->ac_work_queued = false;
		mtx_unlock(&aoe_work_lock);
		aoe_rs_target_work(cell->ac_rs);
		mtx_lock(&aoe_work_lock);
	}
	mtx_unlock(&aoe_work_lock);
}

static void
aoe_cell_send(void *arg, int pending __unused)
{
	struct epoch_tracker et;
	struct aoe_cell *cell = arg;

	NET_EPOCH_ENTER(et);
	aoe_rs_target_send(cell->ac_rs);
	NET_EPOCH_EXIT(et);
}

static void
aoe_cell_module_work(void *arg __unused, int pending __unused)
{
	aoe_rs_module_work();
}

static void
aoe_cell_netif_work(void *arg __unused, int pending __unused)
{
	aoe_rs_netif_work();
}

int
aoe_cell_init(void)
{
	int error;

	error = aoe_done_init();
	if (error != 0)
		return (error);
	mtx_init(&aoe_work_lock, "aoe work", NULL, MTX_DEF);
	TASK_INIT(&aoe_work_task, 0, aoe_cell_work, NULL);
	TASK_INIT(&aoe_module_task, 0, aoe_cell_module_work, NULL);
	TASK_INIT(&aoe_netif_task, 0, aoe_cell_netif_work, NULL);
	aoe_send_queue = taskqueue_create("aoe_send", M_WAITOK,
	    taskqueue_thread_enqueue, &aoe_send_queue);
	aoe_work_queue = taskqueue_create("aoe_work", M_WAITOK,
	    taskqueue_thread_enqueue, &aoe_work_queue);
	aoe_netif_queue = taskqueue_create("aoe_netif", M_WAITOK,
	    taskqueue_thread_enqueue, &aoe_netif_queue);
	error = aoe_shim_fault();
	if (error == 0)
		error = taskqueue_start_threads(&aoe_send_queue,
		    MIN(mp_ncpus, AOE_SEND_THREADS), PRIBIO, "aoe send");
	if (error == 0)
		error = aoe_shim_fault();
	if (error == 0)
		error = taskqueue_start_threads(&aoe_work_queue, 1, PWAIT,
		    "aoe work");
	if (error == 0)
		error = aoe_shim_fault();
	if (error == 0)
		error = taskqueue_start_threads(&aoe_netif_queue, 1, PWAIT,
		    "aoe netif");
	if (error != 0)
		aoe_cell_fini();
	return (error);
}

void
aoe_cell_fini(void)
{
	taskqueue_free(aoe_netif_queue);
	taskqueue_free(aoe_work_queue);
	taskqueue_free(aoe_send_queue);
	mtx_destroy(&aoe_work_lock);
	aoe_done_fini();
}

struct aoe_cell *
aoe_shim_cell_create(void *rs, uint16_t shelf, uint8_t slot)
{
	struct aoe_cell *cell;

	cell = malloc(sizeof(*cell), M_AOE, M_NOWAIT | M_ZERO);
	if (cell == NULL)
		return (NULL);
	cell->ac_rs = rs;
	cell->ac_shelf = shelf;
	cell->ac_slot = slot;
	mtx_init(&cell->ac_mtx, "aoe target", NULL, MTX_DEF | MTX_NEW);
	callout_init(&cell->ac_callout, 1);
	TASK_INIT(&cell->ac_send_task, 0, aoe_cell_send, cell);
	bioq_init(&cell->ac_waitq);
	TAILQ_INIT(&cell->ac_done);
	mtx_lock(&aoe_work_lock);
	aoe_cells++;
	mtx_unlock(&aoe_work_lock);
	return (cell);
}

/*
 * Waits until nothing of the cell runs any more.  The caller has made sure
 * that nobody finds it, and that its timer is not armed again.
 */
void
aoe_shim_cell_drain(struct aoe_cell *cell)
{
	callout_drain(&cell->ac_callout);
	taskqueue_drain(aoe_send_queue, &cell->ac_send_task);
	mtx_lock(&aoe_work_lock);
	if (cell->ac_work_queued) {
		TAILQ_REMOVE(&aoe_work_cells, cell, ac_work_link);
		cell->ac_work_queued = false;
	}
	mtx_unlock(&aoe_work_lock);
}

void
aoe_shim_cell_destroy(struct aoe_cell *cell)
{
	KASSERT(bioq_first(&cell->ac_waitq) == NULL &&
	    TAILQ_EMPTY(&cell->ac_done), ("aoe: requests left"));
	KASSERT(cell->ac_disk == NULL, ("aoe: disk left"));
	mtx_destroy(&cell->ac_mtx);
	free(cell, M_AOE);
	mtx_lock(&aoe_work_lock);
	if (--aoe_cells == 0)
		wakeup(&aoe_cells);
	mtx_unlock(&aoe_work_lock);
}

/* Waits until every cell is destroyed; EWOULDBLOCK when that takes too long. */
int
aoe_shim_cell_wait_none(int seconds)
{
	int error;

	error = 0;
	mtx_lock(&aoe_work_lock);
	while (aoe_cells != 0 && error == 0)
		error = mtx_sleep(&aoe_cells, &aoe_work_lock, 0, "aoegone",
		    seconds * hz);
	mtx_unlock(&aoe_work_lock);
	return (error);
}

/* Lets a thread call aoe_rs_target_send().  Does not sleep. */
void
aoe_shim_cell_send(struct aoe_cell *cell)
{
	taskqueue_enqueue(aoe_send_queue, &cell->ac_send_task);
}

/* Lets the work thread call aoe_rs_target_work().  Does not sleep. */
void
aoe_shim_cell_work(struct aoe_cell *cell)
{
	mtx_lock(&aoe_work_lock);
	if (!cell->ac_work_queued) {
		cell->ac_work_queued = true;
		TAILQ_INSERT_TAIL(&aoe_work_cells, cell, ac_work_link);
	}
	mtx_unlock(&aoe_work_lock);
	taskqueue_enqueue(aoe_work_queue, &aoe_work_task);
}

/* Lets the work thread call aoe_rs_module_work().  Does not sleep. */
void
aoe_shim_module_work(void)
{
	taskqueue_enqueue(aoe_work_queue, &aoe_module_task);
}

/* Lets the netif thread call aoe_rs_netif_work().  Does not sleep. */
void
aoe_shim_netif_work(void)
{
	taskqueue_enqueue(aoe_netif_queue, &aoe_netif_task);
}

/* Work for the work thread, some time from now. */
void
aoe_cell_init_later(struct timeout_task *task, task_fn_t *work)
{
	TIMEOUT_TASK_INIT(aoe_work_queue, task, 0, work, NULL);
}

void
aoe_cell_work_later(struct timeout_task *task, int ticks)
{
	taskqueue_enqueue_timeout(aoe_work_queue, task, ticks);
}

/* Waits for it if it is being done. */
void
aoe_cell_cancel_later(struct timeout_task *task)
{
	while (taskqueue_cancel_timeout(aoe_work_queue, task, NULL) != 0)
		taskqueue_drain_timeout(aoe_work_queue, task);
}

void
aoe_shim_pause(uint32_t msecs)
{
	pause_sbt("aoewait", SBT_1MS * msecs, 0, 0);
}
