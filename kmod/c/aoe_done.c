/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * Threads that complete requests, one for each processor.  A driver may call
 * the input hook with the lock of its receive queue held, as vtnet(4) and
 * mlx5en(4) do.  biodone(9) must not run then: GEOM and the file systems above
 * it take locks of their own.  The request is queued to the thread of the same
 * processor then, so that no other processor has to be woken.  The thread has
 * the priority of soft interrupts: it runs when the interrupt is through with
 * all that it brought, and before everything else.
 */

#include "aoe_var.h"

#include <sys/cpuset.h>
#include <sys/pcpu.h>
#include <sys/priority.h>
#include <sys/smp.h>

struct aoe_done {
	struct mtx		ad_lock;
	struct bio_queue	ad_bios;	/* ad_lock */
	struct taskqueue	*ad_queue;
	struct task		ad_task;
} __aligned(CACHE_LINE_SIZE);

static struct aoe_done *aoe_done;		/* by processor */

static void
aoe_done_tell(void *arg, int pending __unused)
{
	struct aoe_done *done = arg;

	mtx_lock(&done->ad_lock);
	aoe_disk_tell(&done->ad_bios, &done->ad_lock);
}

/* Called with the target lock. */
void
aoe_shim_bio_tell_later(struct aoe_cell *cell)
{
	struct aoe_done *done = &aoe_done[curcpu];
	bool idle;

	mtx_assert(&cell->ac_mtx, MA_OWNED);
	mtx_lock(&done->ad_lock);
	idle = TAILQ_EMPTY(&done->ad_bios);
	TAILQ_CONCAT(&done->ad_bios, &cell->ac_done, bio_queue);
	mtx_unlock(&done->ad_lock);
	if (idle)
		taskqueue_enqueue(done->ad_queue, &done->ad_task);
}

int
aoe_done_init(void)
{
	struct aoe_done *done;
	cpuset_t mask;
	int cpu, error;

	aoe_done = malloc_aligned((mp_maxid + 1) * sizeof(*aoe_done),
	    CACHE_LINE_SIZE, M_AOE, M_WAITOK | M_ZERO);
	error = 0;
	CPU_FOREACH(cpu) {
		done = &aoe_done[cpu];
		mtx_init(&done->ad_lock, "aoe done", NULL, MTX_DEF);
		TAILQ_INIT(&done->ad_bios);
		TASK_INIT(&done->ad_task, 0, aoe_done_tell, done);
		done->ad_queue = taskqueue_create("aoe_done", M_WAITOK,
		    taskqueue_thread_enqueue, &done->ad_queue);
		CPU_SETOF(cpu, &mask);
		error = aoe_shim_fault();
		if (error == 0)
			error = taskqueue_start_threads_cpuset(
			    &done->ad_queue, 1, PI_SOFT, &mask, "aoe done %d",
			    cpu);
		if (error != 0)
			break;
	}
	if (error != 0)
		aoe_done_fini();
	return (error);
}

/* Nobody asks any more. */
void
aoe_done_fini(void)
{
	int cpu;

	CPU_FOREACH(cpu) {
		if (aoe_done[cpu].ad_queue == NULL)
			continue;
		taskqueue_free(aoe_done[cpu].ad_queue);
		mtx_destroy(&aoe_done[cpu].ad_lock);
	}
	free(aoe_done, M_AOE);
}
