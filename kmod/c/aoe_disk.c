/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * The disks, disk(9), and their requests, struct bio.
 */

#include "aoe_var.h"

#include <sys/disk.h>
#include <sys/epoch.h>
#include <sys/mbuf.h>
#include <sys/memdesc.h>
#include <sys/sf_buf.h>

#include <vm/vm.h>
#include <vm/vm_page.h>

#include <geom/geom.h>
#include <geom/geom_disk.h>

#include <net/if.h>
#include <net/if_var.h>

/*
 * GEOM cuts longer requests into pieces.  The engine takes any length; this
 * only has to be more than what file systems ask for at a time.
 */
#define	AOE_DISK_MAXSIZE	(16 * 1024 * 1024)

static struct bio *
aoe_disk_bio(uint64_t token)
{
	return ((struct bio *)(uintptr_t)token);
}

/*
 * Requests that go as one: each names the next, and the first one the last.
 */
static struct bio **
aoe_disk_next(struct bio *bp)
{
	return ((struct bio **)&bp->bio_driver1);
}

static struct bio **
aoe_disk_last(struct bio *bp)
{
	return ((struct bio **)&bp->bio_driver2);
}

static void
aoe_disk_describe(struct bio *bp, struct aoe_request *request)
{
	request->ar_bio = (uintptr_t)bp;
	request->ar_offset = bp->bio_offset;
	request->ar_length = bp->bio_length;
	request->ar_cmd = bp->bio_cmd;
	request->ar_flags = bp->bio_flags;
	request->ar_taste = aoe_taste_is_marked(bp);
}

static void
aoe_disk_result(struct bio *bp, int error)
{
	bp->bio_error = error;
	bp->bio_resid = 0;
	if (error != 0) {
		bp->bio_flags |= BIO_ERROR;
		bp->bio_resid = bp->bio_bcount;
	}
}

/*
 * The epoch keeps the target in memory: the request may have ended, and the
 * disk may be gone, before Rust is through with what the request let it send.
 */
static void
aoe_disk_strategy(struct bio *bp)
{
	struct epoch_tracker et;
	struct aoe_cell *cell = bp->bio_disk->d_drv1;
	struct aoe_request request;

	/* After a panic no answer will be heard. */
	if (SCHEDULER_STOPPED()) {
		aoe_disk_result(bp, ENXIO);
		biodone(bp);
		return;
	}
	SDT_PROBE3(aoe, , , submit, bp, cell->ac_shelf, cell->ac_slot);
	aoe_taste_mark(bp);
	aoe_disk_describe(bp, &request);
	NET_EPOCH_ENTER(et);
	aoe_rs_disk_submit(cell->ac_rs, &request);
	NET_EPOCH_EXIT(et);
}

static int
aoe_disk_open(struct disk *dp)
{
	struct aoe_cell *cell = dp->d_drv1;

	return (aoe_rs_disk_open(cell->ac_rs));
}

static int
aoe_disk_close(struct disk *dp)
{
	struct aoe_cell *cell = dp->d_drv1;

	aoe_rs_disk_close(cell->ac_rs);
	aoe_taste_closed(cell);
	return (0);
}

static void
aoe_disk_gone(struct disk *dp)
{
	struct aoe_cell *cell = dp->d_drv1;

	aoe_rs_disk_gone(cell->ac_rs);
}

/*
 * Called for BIO_GETATTR, and directly, with a bio that has no provider, by
 * GEOM when it describes its configuration: the answer is stored here, never
 * delivered.  -1 leaves an attribute to geom_disk.
 */
static int
aoe_disk_getattr(struct bio *bp)
{
	struct aoe_cell *cell = bp->bio_disk->d_drv1;
	const char *attribute = bp->bio_attribute, *prefix, *value;
	int len;

	prefix = "";
	value = cell->ac_lunid;
	if (strcmp(attribute, "GEOM::physpath") == 0)
		value = cell->ac_physpath;
	else if (strcmp(attribute, "GEOM::lunname") == 0)
		prefix = "naa.";	/* as SCSI writes such a name */
	else if (strcmp(attribute, "GEOM::lunid") != 0)
		return (-1);
	if (value[0] == '\0')
		return (-1);
	if (bp->bio_length <= 0)
		return (EFAULT);
	memset(bp->bio_data, 0, bp->bio_length);
	len = snprintf(bp->bio_data, bp->bio_length, "%s%s", prefix, value);
	if (len >= bp->bio_length)
		return (EFAULT);
	bp->bio_completed = bp->bio_length;
	return (0);
}

int
aoe_shim_disk_create(struct aoe_cell *cell,
    const struct aoe_disk_params *params)
{
	struct disk *dp;

	strlcpy(cell->ac_name, params->ad_name, sizeof(cell->ac_name));
	strlcpy(cell->ac_physpath, params->ad_physpath,
	    sizeof(cell->ac_physpath));
	strlcpy(cell->ac_lunid, params->ad_lunid, sizeof(cell->ac_lunid));
	dp = disk_alloc();
	dp->d_open = aoe_disk_open;
	dp->d_close = aoe_disk_close;
	dp->d_strategy = aoe_disk_strategy;
	dp->d_getattr = aoe_disk_getattr;
	dp->d_gone = aoe_disk_gone;
	dp->d_drv1 = cell;
	dp->d_name = cell->ac_name;
	dp->d_unit = params->ad_unit;
	dp->d_sectorsize = DEV_BSIZE;
	dp->d_mediasize = params->ad_mediasize;
	dp->d_stripesize = params->ad_stripesize;
	dp->d_stripeoffset = params->ad_stripeoffset;
	dp->d_maxsize = AOE_DISK_MAXSIZE;
	dp->d_delmaxsize = params->ad_delmaxsize;
	dp->d_rotation_rate = params->ad_rotation_rate;
	dp->d_flags = DISKFLAG_UNMAPPED_BIO | DISKFLAG_DIRECT_COMPLETION;
	if (params->ad_can_flush)
		dp->d_flags |= DISKFLAG_CANFLUSHCACHE;
	if (params->ad_can_delete)
		dp->d_flags |= DISKFLAG_CANDELETE;
	strlcpy(dp->d_ident, params->ad_ident, sizeof(dp->d_ident));
	strlcpy(dp->d_descr, params->ad_descr, sizeof(dp->d_descr));
	strlcpy(dp->d_attachment, "aoe", sizeof(dp->d_attachment));
	disk_add_alias(dp, params->ad_alias);
	if (params->ad_old_alias[0] != '\0')
		disk_add_alias(dp, params->ad_old_alias);
	cell->ac_disk = dp;
	disk_create(dp, DISK_VERSION);
	return (0);
}

void
aoe_shim_disk_resize(struct aoe_cell *cell, int64_t mediasize)
{
	cell->ac_disk->d_mediasize = mediasize;
	disk_resize(cell->ac_disk, M_WAITOK);
}

/*
 * What a target announced and then refused is not asked of it any more.  GEOM
 * changes the flags of a disk, too, under the topology lock; the caller holds
 * none.  Who asked for an attribute before is told that it is another now; the
 * flush has no attribute.
 */
void
aoe_shim_disk_restrict(struct aoe_cell *cell, int can_flush, int can_delete)
{
	struct disk *dp = cell->ac_disk;

	g_topology_lock();
	if (!can_flush)
		dp->d_flags &= ~DISKFLAG_CANFLUSHCACHE;
	if (!can_delete && (dp->d_flags & DISKFLAG_CANDELETE) != 0) {
		dp->d_flags &= ~DISKFLAG_CANDELETE;
		disk_attr_changed(dp, "GEOM::candelete", M_NOWAIT);
	}
	g_topology_unlock();
}

/* aoe_rs_disk_gone() follows once nobody has the disk open any more. */
void
aoe_shim_disk_gone(struct aoe_cell *cell)
{
	disk_gone(cell->ac_disk);
}

/*
 * Called by GEOM, with the topology locked: it looks at the flag when a disk
 * that nobody has open is opened for writing.
 */
static void
aoe_disk_protect(void *arg, int flag)
{
	struct disk *dp = arg;

	if (flag != EV_CANCEL)
		dp->d_flags |= DISKFLAG_WRITE_PROTECT;
}

static void
aoe_disk_unprotect(void *arg, int flag)
{
	struct disk *dp = arg;

	if (flag != EV_CANCEL)
		dp->d_flags &= ~DISKFLAG_WRITE_PROTECT;
}

/* Whether an open for writing gives EROFS from now on. */
void
aoe_shim_disk_set_read_only(struct aoe_cell *cell, int on)
{
	g_post_event(on ? aoe_disk_protect : aoe_disk_unprotect, cell->ac_disk,
	    M_WAITOK, cell->ac_disk, NULL);
}

/*
 * Waits until nobody is in the functions above by which GEOM opens, closes and
 * lets go of a disk: it calls them with the topology locked.  The caller has
 * made sure that none is called any more.
 */
void
aoe_shim_disk_wait_calls(void)
{
	g_topology_lock();
	g_topology_unlock();
}

/* Only after aoe_rs_disk_gone(). */
void
aoe_shim_disk_destroy(struct aoe_cell *cell)
{
	disk_destroy(cell->ac_disk);
	cell->ac_disk = NULL;
}

/*
 * The end of a request.  GEOM is told afterwards: here the target lock is
 * held, and there may be more of them.
 */
void
aoe_shim_bio_done(struct aoe_cell *cell, uint64_t bio, int error)
{
	struct bio *bp = aoe_disk_bio(bio);

	mtx_assert(&cell->ac_mtx, MA_OWNED);
	aoe_disk_result(bp, error);
	SDT_PROBE4(aoe, , , complete, bp, cell->ac_shelf, cell->ac_slot, error);
	TAILQ_INSERT_TAIL(&cell->ac_done, bp, bio_queue);
}

/*
 * Tells GEOM of all these, and gives the lock of their queue up for it.  The
 * caller holds no other lock.
 */
void
aoe_disk_tell(struct bio_queue *ended, struct mtx *lock)
{
	struct bio_queue bios = TAILQ_HEAD_INITIALIZER(bios);
	struct bio *bp;

	mtx_assert(lock, MA_OWNED);
	TAILQ_CONCAT(&bios, ended, bio_queue);
	mtx_unlock(lock);
	while ((bp = TAILQ_FIRST(&bios)) != NULL) {
		TAILQ_REMOVE(&bios, bp, bio_queue);
		biodone(bp);
	}
}

void
aoe_shim_bio_tell(struct aoe_cell *cell)
{
	aoe_disk_tell(&cell->ac_done, &cell->ac_mtx);
}

/* The second one goes behind the first, and those that do so already. */
void
aoe_shim_bio_join(struct aoe_cell *cell, uint64_t first, uint64_t bio)
{
	struct bio *bp = aoe_disk_bio(first), *last;

	mtx_assert(&cell->ac_mtx, MA_OWNED);
	last = *aoe_disk_last(bp) != NULL ? *aoe_disk_last(bp) : bp;
	*aoe_disk_next(last) = *aoe_disk_last(bp) = aoe_disk_bio(bio);
}

/* The length of a request, and the one that was joined to it, or 0. */
uint64_t
aoe_shim_bio_next(struct aoe_cell *cell, uint64_t bio, uint64_t *length)
{
	struct bio *bp = aoe_disk_bio(bio);

	mtx_assert(&cell->ac_mtx, MA_OWNED);
	*length = bp->bio_length;
	return ((uintptr_t)*aoe_disk_next(bp));
}

/* The requests that found the engine full, in their order. */
void
aoe_shim_bio_wait(struct aoe_cell *cell, uint64_t bio)
{
	mtx_assert(&cell->ac_mtx, MA_OWNED);
	bioq_insert_tail(&cell->ac_waitq, aoe_disk_bio(bio));
}

int
aoe_shim_bio_first(struct aoe_cell *cell, struct aoe_request *request)
{
	struct bio *bp;

	mtx_assert(&cell->ac_mtx, MA_OWNED);
	bp = bioq_first(&cell->ac_waitq);
	if (bp == NULL)
		return (0);
	aoe_disk_describe(bp, request);
	return (1);
}

void
aoe_shim_bio_take(struct aoe_cell *cell)
{
	mtx_assert(&cell->ac_mtx, MA_OWNED);
	bioq_takefirst(&cell->ac_waitq);
}

/*
 * The data of a request at an offset, and how much of the length wanted lies
 * in a row there.  NULL where that is for memdesc(9) to find out: in lists, in
 * pages that are not memory, and without a direct map.
 */
static char *
aoe_disk_data(const struct bio *bp, u_int offset, u_int *len)
{
#ifndef SFBUF
	vm_page_t page;
#endif

	if ((bp->bio_flags & BIO_VLIST) != 0)
		return (NULL);
	if ((bp->bio_flags & BIO_UNMAPPED) == 0)
		return (bp->bio_data + offset);
#ifndef SFBUF
	offset += bp->bio_ma_offset;
	page = bp->bio_ma[offset / PAGE_SIZE];
	offset %= PAGE_SIZE;
	if ((page->flags & PG_FICTITIOUS) == 0) {
		*len = MIN(*len, PAGE_SIZE - offset);
		return ((char *)sf_buf_kva(sf_buf_alloc(page, SFB_NOWAIT)) +
		    offset);
	}
#endif
	return (NULL);
}

static void
aoe_disk_copy_slowly(struct bio *bp, u_int offset, u_int len, char *memory,
    bool in)
{
	struct memdesc mem;

	mem = memdesc_bio(bp);
	/* memdesc_bio() does not know that GEOM cuts lists in a segment. */
	if ((bp->bio_flags & BIO_VLIST) != 0)
		offset += bp->bio_ma_offset;
	if (in)
		memdesc_copyback(&mem, offset, len, memory);
	else
		memdesc_copydata(&mem, offset, len, memory);
}

/*
 * Copies between memory and the data of a request, those of the joined ones
 * behind it.  The caller has checked all lengths.
 */
static void
aoe_disk_copy(uint64_t bio, u_int offset, u_int len, char *memory, bool in)
{
	struct bio *bp = aoe_disk_bio(bio);
	char *data;
	u_int n;

	for (; len > 0; memory += n, offset += n, len -= n) {
		while (offset >= bp->bio_length) {
			offset -= bp->bio_length;
			bp = *aoe_disk_next(bp);
		}
		n = MIN(len, bp->bio_length - offset);
		data = aoe_disk_data(bp, offset, &n);
		if (data == NULL)
			aoe_disk_copy_slowly(bp, offset, n, memory, in);
		else if (in)
			memcpy(data, memory, n);
		else
			memcpy(memory, data, n);
	}
}

/* From a request into a frame. */
void
aoe_disk_read(uint64_t bio, u_int offset, u_int len, char *to)
{
	aoe_disk_copy(bio, offset, len, to, false);
}

struct aoe_disk_place {
	uint64_t	bio;
	u_int		offset;
};

static int
aoe_disk_write_part(void *arg, void *data, u_int len)
{
	struct aoe_disk_place *to = arg;

	aoe_disk_copy(to->bio, to->offset, len, data, true);
	to->offset += len;
	return (0);
}

/* From a frame to a request. */
void
aoe_shim_bio_copy(uint64_t bio, uint32_t offset, struct mbuf *m, uint32_t from,
    uint32_t len)
{
	struct aoe_disk_place to = { .bio = bio, .offset = offset };

	m_apply(m, from, len, aoe_disk_write_part, &to);
}
