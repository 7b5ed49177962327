/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * GEOM looks at every new disk, and at every one that was written to and
 * closed: it "tastes" it.  One thread of GEOM does that, as it does what
 * gpart(8) and its kin ask for, and sleeps until each of its requests is done,
 * with the topology locked now and then.  Everything that waits for GEOM waits
 * with it, the mount of the root file system above all.  So its requests are
 * told from all others: they do not wait for a target for ever.
 */

#include "aoe_var.h"

#include <sys/proc.h>

#include <geom/geom.h>
#include <geom/geom_disk.h>
#include <geom/geom_int.h>

#define	AOE_TASTE	0x01	/* bio_pflags: this is such a request */

static struct thread *aoe_taste_thread;		/* constant */

void
aoe_taste_init(void)
{
	struct proc *p = g_down_td->td_proc;
	struct thread *td;

	PROC_LOCK(p);
	FOREACH_THREAD_IN_PROC(p, td)
		if (g_is_geom_thread(td) && td != g_up_td && td != g_down_td)
			aoe_taste_thread = td;
	PROC_UNLOCK(p);
}

/*
 * Whether the thread sleeps for this request, or is still on its way there.
 * While it is, nobody else asks in this manner, but for a program that begins
 * to read labels at the same moment.
 */
static bool
aoe_taste_waits(const struct bio *bp)
{
	struct thread *td = aoe_taste_thread;
	bool waits;

	if (td == NULL)
		return (false);
	thread_lock(td);
	waits = !TD_ON_SLEEPQ(td) || td->td_wchan == bp;
	thread_unlock(td);
	return (waits);
}

/*
 * Marks what was made for a request of the thread, however many classes of GEOM
 * are between the two.  Only the requests of g_read_data() and its kin have no
 * function to be called at the end: their caller sleeps for the request itself.
 */
void
aoe_taste_mark(struct bio *bp)
{
	const struct bio *origin;

	for (origin = bp; origin->bio_parent != NULL;)
		origin = origin->bio_parent;
	if (origin->bio_done == NULL && aoe_taste_waits(origin))
		bp->bio_pflags |= AOE_TASTE;
}

bool
aoe_taste_is_marked(const struct bio *bp)
{
	return ((bp->bio_pflags & AOE_TASTE) != 0);
}

/* The same for Rust; the request must not have ended. */
int
aoe_shim_bio_is_taste(uint64_t bio)
{
	return (aoe_taste_is_marked((const struct bio *)(uintptr_t)bio));
}

/*
 * Called by GEOM, with the topology locked.  What is in use stays as it is until
 * it is closed: to say that a medium was changed would take partitions away
 * from under file systems.
 */
static void
aoe_taste_again(void *arg, int flag)
{
	struct disk *dp = arg;
	struct aoe_cell *cell = dp->d_drv1;
	struct g_provider *pp;

	if (flag == EV_CANCEL || dp->d_geom == NULL)
		return;
	pp = LIST_FIRST(&dp->d_geom->provider);
	if (pp == NULL)
		return;
	cell->ac_retaste = pp->acr != 0 || pp->acw != 0 || pp->ace != 0;
	if (!cell->ac_retaste)
		disk_media_changed(dp, M_WAITOK);
}

/* What could not be read when GEOM looked at the disk can be read now. */
void
aoe_shim_disk_retaste(struct aoe_cell *cell)
{
	g_post_event(aoe_taste_again, cell->ac_disk, M_WAITOK, cell->ac_disk,
	    NULL);
}

/* The disk is being closed; with the topology locked. */
void
aoe_taste_closed(struct aoe_cell *cell)
{
	if (cell->ac_retaste)
		aoe_shim_disk_retaste(cell);
}
