/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * What the C files of the module share among themselves.
 */

#ifndef _AOE_VAR_H_
#define	_AOE_VAR_H_

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/bio.h>
#include <sys/callout.h>
#include <sys/kernel.h>
#include <sys/lock.h>
#include <sys/malloc.h>
#include <sys/mutex.h>
#include <sys/queue.h>
#include <sys/sdt.h>
#include <sys/sysctl.h>
#include <sys/taskqueue.h>

#include "aoe_compat.h"
#include "aoe_shim.h"

MALLOC_DECLARE(M_AOE);

struct aoe_nodes;
struct disk;

/*
 * The C half of one target.  Locks:
 *	c	constant from creation to destruction
 *	m	ac_mtx
 *	w	the lock of the work list (aoe_cell.c)
 *	t	only the work thread touches it
 *	g	GEOM's topology lock
 *	s	its own lock
 */
struct aoe_cell {
	void			*ac_rs;		/* (c) the Rust half */
	uint16_t		ac_shelf;	/* (c) its address */
	uint8_t			ac_slot;	/* (c) */
	struct mtx		ac_mtx;		/* (s) the target lock */
	struct callout		ac_callout;	/* (s) its one deadline */
	struct task		ac_send_task;	/* (s) goes on sending */
	struct bio_queue_head	ac_waitq;	/* (m) the engine is full */
	struct bio_queue	ac_done;	/* (m) ended, not yet told */
	TAILQ_ENTRY(aoe_cell)	ac_work_link;	/* (w) */
	bool			ac_work_queued;	/* (w) */
	struct aoe_nodes	*ac_nodes;	/* (t) its sysctl nodes */
	struct disk		*ac_disk;	/* (t) set, and valid for GEOM */
	bool			ac_retaste;	/* (g) once it is closed */
	char			ac_name[AOE_DISK_NAME];		/* (t) */
	char			ac_physpath[AOE_DISK_NAME];	/* (t) */
	char			ac_lunid[AOE_DISK_NAME];	/* (t) */
};

/* aoe_boot.c */
void	aoe_boot_init(void);
void	aoe_boot_fini(void);

/* aoe_cell.c */
int	aoe_cell_init(void);
void	aoe_cell_fini(void);
void	aoe_cell_init_later(struct timeout_task *task, task_fn_t *work);
void	aoe_cell_work_later(struct timeout_task *task, int ticks);
void	aoe_cell_cancel_later(struct timeout_task *task);

/* aoe_disk.c */
void	aoe_disk_read(uint64_t bio, u_int offset, u_int len, char *to);
void	aoe_disk_tell(struct bio_queue *ended, struct mtx *lock);

/* aoe_done.c */
int	aoe_done_init(void);
void	aoe_done_fini(void);

/* aoe_event.c */
void	aoe_event_init(void);
void	aoe_event_fini(void);

/* aoe_ifnet.c */
int	aoe_ifnet_init(void);
void	aoe_ifnet_fini(void);
void	aoe_ifnet_enqueue(struct task *task);
struct ifnet *aoe_ifnet_enter(volatile uintptr_t *where);
void	aoe_ifnet_leave(void);
void	aoe_ifnet_wait(struct ifnet *ifp);
void	aoe_ifnet_qflush(struct ifnet *ifp);
void	aoe_ifnet_reinit(struct ifnet *ifp);
bool	aoe_ifnet_is_iflib(struct ifnet *ifp);
bool	aoe_ifnet_is_deaf(struct ifnet *ifp);
bool	aoe_ifnet_is_device(struct ifnet *ifp);
bool	aoe_ifnet_is_there(struct ifnet *ifp);
bool	aoe_ifnet_is_lagg(struct ifnet *ifp);
enum aoe_sharing aoe_ifnet_lagg_sharing(struct ifnet *ifp);
struct ifnet *aoe_ifnet_member(struct ifnet *ifp, bool bridge,
	    struct ifnet *after);

/* aoe_lock.c */
void	aoe_lock_init(void);
void	aoe_lock_fini(void);

/* aoe_mem.c */
void	aoe_mem_init(void);
void	aoe_mem_fini(void);

/* aoe_module.c */
extern bool aoe_module_is_loaded;	/* Rust may be called */

/* aoe_net.c */
int	aoe_net_init(void);
void	aoe_net_fini(void);

/* aoe_port.c */
void	aoe_port_init(void);
void	aoe_port_list(struct ifnet *ifp, struct aoe_stack *stack);
uint32_t aoe_port_with_link(uint32_t ports);

/* aoe_probe.c */
SDT_PROVIDER_DECLARE(aoe);
SDT_PROBE_DECLARE(aoe, , , submit);
SDT_PROBE_DECLARE(aoe, , , complete);
SDT_PROBE_DECLARE(aoe, , , frame__sent);
SDT_PROBE_DECLARE(aoe, , , frame__retransmitted);
SDT_PROBE_DECLARE(aoe, , , frame__received);

/* aoe_reserve.c */
void	aoe_reserve_init(void);
void	aoe_reserve_fini(void);
struct mbuf *aoe_reserve_take(u_int netif, int len);
void	aoe_reserve_refill(u_int netif, int room);
void	aoe_reserve_empty(u_int netif);

/* aoe_sysctl.c */
void	aoe_sysctl_init(void);

/* aoe_taste.c */
void	aoe_taste_init(void);
void	aoe_taste_mark(struct bio *bp);
bool	aoe_taste_is_marked(const struct bio *bp);
void	aoe_taste_closed(struct aoe_cell *cell);

/* aoe_time.c */
void	aoe_time_init(void);
void	aoe_time_fini(void);
callout_func_t aoe_time_cell;

#endif /* !_AOE_VAR_H_ */
