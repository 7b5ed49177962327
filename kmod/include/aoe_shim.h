/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Copyright (c) 2026 The aoe authors
 */

/*
 * The whole boundary between the C half of the module and the Rust half.
 * bindgen makes the Rust declarations from this file, with the headers and the
 * options that the C files are compiled with.
 *
 * C calls Rust as aoe_rs_<object>_<verb>, Rust calls C as
 * aoe_shim_<subsystem>_<verb>.  Functions return 0 or an errno.  Text crosses
 * as pointer and length, without a terminating zero.  Times are nanoseconds of
 * uptime.  A bio crosses as a number (its token), mbufs, interfaces and struct
 * aoe_cell as pointers to which only C looks.
 */

#ifndef _AOE_SHIM_H_
#define	_AOE_SHIM_H_

#include <sys/param.h>
#include <sys/bio.h>
#include <sys/errno.h>
#include <net/if_types.h>

struct aoe_cell;		/* the C half of one target */
struct ifnet;
struct mbuf;

#define	AOE_MAX_NETIFS		16	/* interfaces that may be listed */
#define	AOE_MAX_PORTS		32	/* NICs below them, of all together */
#define	AOE_NAME_MAX		16	/* an interface's name with its zero */
#define	AOE_HEADER_MAX		36	/* Ethernet, AoE and ATA headers */
#define	AOE_BATCH		16	/* frames handed over at a time */
#define	AOE_IDENTIFY_LEN	512
#define	AOE_RESERVE_FRAMES	64	/* frames kept back for an interface */
#define	AOE_TEXT_MAX		2048	/* longest text written to a sysctl */
#define	AOE_DISK_NAME		64	/* room for a name of a disk */
#define	AOE_BOOT_TARGETS	256	/* room for a list of addresses */
#define	AOE_TARGET_LIST		1024	/* room for a list of patterns */
#define	AOE_NOTICE_TYPE		24	/* room for the type of a notice */
#define	AOE_NOTICE_MAX		320	/* longest variables of a notice */

/* Counters of the module (counter(9)). */
enum aoe_counter {
	AOE_COUNT_FRAMES_IN,	/* frames taken from the interfaces */
	AOE_COUNT_FRAMES_OUT,	/* frames given to the interfaces */
	AOE_COUNT_SEND_ERRORS,	/* frames that an interface refused */
	AOE_COUNT_NO_INTERFACE,	/* frames whose interface had just left */
	AOE_COUNT_MBUF_FAILURES, /* frames for which no mbuf could be had */
	AOE_COUNT_RESERVE_USED,	/* frames built from the reserve */
	AOE_COUNT_NO_MEMORY,	/* targets and answers that found no memory */
	AOE_COUNT_UNSETTLED,	/* answers that came while ports changed */
	AOE_COUNT_REFUSED,	/* AoE frames passed on, not for this module */
	AOE_COUNT_DROPS,	/* the first of the engine's reasons to drop */
	AOE_COUNT_END = AOE_COUNT_DROPS + 16
};

/* How a port below a listed interface is. */
enum aoe_port_state {
	AOE_PORT_UP,		/* it sends */
	AOE_PORT_NO_LINK,	/* its ring keeps what it has */
	AOE_PORT_STOPPED	/* its driver has freed its ring */
};

/* How what a port without link keeps can be thrown away. */
enum aoe_purge {
	AOE_PURGE_NEVER,	/* by nothing that is known, or not yet */
	AOE_PURGE_FLUSH,	/* by a flush of its queues */
	AOE_PURGE_INIT		/* its driver must be initialised again */
};

/* How the ports of an interface share its frames; what says less is later. */
enum aoe_sharing {
	AOE_SHARING_FAILOVER,	/* one has all of them */
	AOE_SHARING_HASH,	/* addresses decide among those with link */
	AOE_SHARING_MIXED,	/* in an order that is not known */
	AOE_SHARING_OPAQUE	/* nobody knows what is below it */
};

/* What is below a listed interface. */
struct aoe_stack {
	uint32_t	as_ports;	/* numbers of ports, a bit each */
	uint32_t	as_blind;	/* those that get frames without link */
	enum aoe_sharing as_sharing;
	int		as_direct;	/* its one port is the interface */
	int		as_ready;	/* the interface itself could send */
};

/* A port, as it is seen at a look. */
struct aoe_port_seen {
	enum aoe_port_state ps_state;
	enum aoe_purge	ps_purge;
	int		ps_in_init;	/* being initialised again */
	char		ps_name[AOE_NAME_MAX];
};

/* What the hook does with a frame. */
enum aoe_verdict {
	AOE_PASS,		/* not for this module */
	AOE_CONSUME
};

/* The causes of console messages; each is limited in its rate by itself. */
enum aoe_cause {
	AOE_CAUSE_EVENT,	/* + the engine's event number */
	AOE_CAUSE_SHRINK = AOE_CAUSE_EVENT + 32,
	AOE_CAUSE_TARGET,
	AOE_CAUSE_REMOVED,
	AOE_CAUSE_NETIF,
	AOE_CAUSE_MODULE,
	AOE_CAUSE_REFUSED,
	AOE_CAUSE_TUNABLE,	/* not limited: there are no more than tunables */
	AOE_CAUSE_END
};

/* An interface as it is at this moment. */
struct aoe_link {
	uint32_t	al_mtu;
	uint8_t		al_mac[6];
	uint8_t		al_usable;	/* up, running, link not down */
	uint8_t		al_in_order;	/* frames of a flow keep their order */
};

/* What is wrong with an interface, as far as people can mend it. */
enum aoe_flaw {
	AOE_FLAW_NONE,
	AOE_FLAW_DOWN,		/* nobody set it up */
	AOE_FLAW_DEAF,		/* its bridge takes the frames to it */
	AOE_FLAW_PORT		/* it became a port of a lagg */
};

/* What follows the header of a frame. */
enum aoe_payload {
	AOE_PAYLOAD_NONE,
	AOE_PAYLOAD_BIO,	/* af_len bytes of a bio, from af_offset on */
	AOE_PAYLOAD_TRIM	/* one block of TRIM ranges */
};

/* A frame to send. */
struct aoe_frame {
	uint64_t	af_bio;		/* the bio's token */
	uint64_t	af_lba;		/* TRIM: first sector */
	uint64_t	af_sectors;	/* TRIM: number of sectors */
	uint32_t	af_offset;
	uint32_t	af_len;
	uint32_t	af_flow;	/* frames of one path share it */
	uint8_t		af_netif;
	uint8_t		af_payload;	/* enum aoe_payload */
	uint8_t		af_header_len;
	uint8_t		af_again;	/* an earlier copy was sent */
	uint8_t		af_header[AOE_HEADER_MAX];
};

/* A block request. */
struct aoe_request {
	uint64_t	ar_bio;		/* the bio's token */
	int64_t		ar_offset;	/* bytes */
	int64_t		ar_length;	/* bytes */
	uint16_t	ar_cmd;		/* BIO_READ ... */
	uint16_t	ar_flags;	/* BIO_ORDERED ... */
	uint8_t		ar_taste;	/* GEOM itself looks at the disk */
};

/* What a disk is made of. */
struct aoe_disk_params {
	int64_t		ad_mediasize;
	int64_t		ad_stripesize;
	int64_t		ad_stripeoffset;
	int64_t		ad_delmaxsize;
	uint32_t	ad_unit;
	uint16_t	ad_rotation_rate;
	uint8_t		ad_can_flush;
	uint8_t		ad_can_delete;
	char		ad_name[AOE_DISK_NAME];		/* "aoe7." */
	char		ad_alias[AOE_DISK_NAME];	/* "etherd/e7." */
	char		ad_old_alias[AOE_DISK_NAME];	/* "aoed7" or empty */
	char		ad_ident[AOE_DISK_NAME];
	char		ad_descr[AOE_DISK_NAME];
	char		ad_physpath[AOE_DISK_NAME];
	char		ad_lunid[AOE_DISK_NAME];	/* a WWN, or empty */
};

/* Tunables, as the loader left them.  INT64_MIN: a text that is no number. */
struct aoe_tunables {
	char		at_iflist[AOE_MAX_NETIFS * AOE_NAME_MAX];
	int64_t		at_maxwait;
	int64_t		at_dead_secs;
	int64_t		at_quarantine_secs;
	int64_t		at_wc;
	int64_t		at_beacon_secs;
	int64_t		at_fail_on_shutdown;
	int64_t		at_boot_wait_secs;
	uint8_t		at_has_dead_secs;	/* it is set, maxwait or not */
	char		at_boot_targets[AOE_BOOT_TARGETS];
	char		at_targets[AOE_TARGET_LIST];
	int64_t		at_max_targets;
};

/* How a sysctl leaf crosses. */
enum aoe_leaf_type {
	AOE_LEAF_TEXT,
	AOE_LEAF_INT,		/* int, as people write it in tunables */
	AOE_LEAF_U64
};

/*
 * C calls Rust.  `rs` is the Rust half of a target.  Whatever may send is
 * called in the net epoch.
 */
int	aoe_rs_module_load(const struct aoe_tunables *tunables);
void	aoe_rs_module_boot(void);	/* the root is about to be mounted */
void	aoe_rs_module_booted(void);	/* the root is mounted */
int	aoe_rs_module_check(void);	/* EBUSY while a disk is open */
int	aoe_rs_module_unload(void);
void	aoe_rs_module_shutdown(void);
void	aoe_rs_module_work(void);		/* may wait for memory */

void	aoe_rs_initiator_timeout(void);
void	aoe_rs_target_timeout(void *rs);
void	aoe_rs_target_send(void *rs);
void	aoe_rs_target_work(void *rs);		/* may sleep */

void	aoe_rs_disk_submit(void *rs, const struct aoe_request *request);
int	aoe_rs_disk_open(void *rs);
void	aoe_rs_disk_close(void *rs);
void	aoe_rs_disk_gone(void *rs);

/*
 * `data` are the `contiguous` first bytes of the frame, `len` is its length.
 * Frames other than ATA answers are contiguous as a whole.  `unlocked`: the
 * driver holds no lock, so GEOM may be told at once of requests that end.
 */
enum aoe_verdict aoe_rs_frame_input(uint32_t netif, const uint8_t *data,
	    size_t contiguous, size_t len, struct mbuf *m, int unlocked);
void	aoe_rs_frame_trim(uint64_t lba, uint64_t sectors, uint8_t *block);

void	aoe_rs_netif_rename(struct ifnet *ifp, const char *name,
	    size_t len);			/* sleeps, not for memory */
void	aoe_rs_netif_depart(struct ifnet *ifp);	/* sleeps, not for memory */
void	aoe_rs_netif_work(void);		/* sleeps, not for memory */

int	aoe_rs_sysctl_number(void *rs, uint32_t id, int64_t *value);
int	aoe_rs_sysctl_set_number(void *rs, uint32_t id, int64_t value);
size_t	aoe_rs_sysctl_text(void *rs, uint32_t id, char *buf, size_t room);
int	aoe_rs_sysctl_set_text(void *rs, uint32_t id, const char *text,
	    size_t len);

/*
 * Rust calls C.
 */

/* aoe_mem.c */
void	*aoe_shim_mem_alloc(size_t size, int wait);	/* zeroed */
void	aoe_shim_mem_free(void *p);
uint64_t aoe_shim_mem_random(void);
void	aoe_shim_counter_add(uint32_t counter, uint64_t n);
uint64_t aoe_shim_counter_fetch(uint32_t counter);
void	aoe_shim_log_print(uint32_t cause, const char *text, size_t len);
void	aoe_shim_panic(const char *text, size_t len) __dead2;

/* aoe_module.c */
int	aoe_shim_fault(void);	/* a step that fails for the tests' sake */

/* aoe_lock.c */
void	aoe_shim_lock_config(void);
void	aoe_shim_unlock_config(void);
void	aoe_shim_lock_netifs(void);
void	aoe_shim_unlock_netifs(void);
void	aoe_shim_lock_initiator(void);
void	aoe_shim_unlock_initiator(void);
void	aoe_shim_lock_cell(struct aoe_cell *cell);
void	aoe_shim_unlock_cell(struct aoe_cell *cell);
void	aoe_shim_epoch_wait(void);
void	aoe_shim_epoch_run(void (*function)(void *), void *arg);

/* aoe_cell.c */
struct aoe_cell *aoe_shim_cell_create(void *rs, uint16_t shelf,
	    uint8_t slot);				/* does not sleep */
void	aoe_shim_cell_drain(struct aoe_cell *cell);	/* sleeps */
void	aoe_shim_cell_destroy(struct aoe_cell *cell);
void	aoe_shim_cell_send(struct aoe_cell *cell);	/* ask for _send */
void	aoe_shim_cell_work(struct aoe_cell *cell);	/* ask for _work */
int	aoe_shim_cell_wait_none(int seconds);		/* all destroyed? */
void	aoe_shim_module_work(void);			/* ask for _work */
void	aoe_shim_netif_work(void);			/* ask for _work */
void	aoe_shim_pause(uint32_t msecs);

/* aoe_time.c */
uint64_t aoe_shim_time_now(void);
void	aoe_shim_time_arm_cell(struct aoe_cell *cell, uint64_t at);
void	aoe_shim_time_arm_initiator(uint64_t at);
void	aoe_shim_time_stop_initiator(void);

/* aoe_disk.c; the bio functions are called with the target's lock held */
int	aoe_shim_disk_create(struct aoe_cell *cell,
	    const struct aoe_disk_params *params);
void	aoe_shim_disk_resize(struct aoe_cell *cell, int64_t mediasize);
void	aoe_shim_disk_restrict(struct aoe_cell *cell, int can_flush,
	    int can_delete);				/* no lock may be held */
void	aoe_shim_disk_set_read_only(struct aoe_cell *cell, int on);
void	aoe_shim_disk_gone(struct aoe_cell *cell);
void	aoe_shim_disk_destroy(struct aoe_cell *cell);
void	aoe_shim_disk_wait_calls(void);		/* sleeps */
void	aoe_shim_bio_done(struct aoe_cell *cell, uint64_t bio, int error);
void	aoe_shim_bio_join(struct aoe_cell *cell, uint64_t first, uint64_t bio);
uint64_t aoe_shim_bio_next(struct aoe_cell *cell, uint64_t bio,
	    uint64_t *length);
void	aoe_shim_bio_tell(struct aoe_cell *cell);	/* gives the lock up */
void	aoe_shim_bio_tell_later(struct aoe_cell *cell);	/* by a thread */
void	aoe_shim_bio_wait(struct aoe_cell *cell, uint64_t bio);
int	aoe_shim_bio_first(struct aoe_cell *cell, struct aoe_request *request);
void	aoe_shim_bio_take(struct aoe_cell *cell);
void	aoe_shim_bio_copy(uint64_t bio, uint32_t offset, struct mbuf *m,
	    uint32_t from, uint32_t len);

/* aoe_taste.c */
void	aoe_shim_disk_retaste(struct aoe_cell *cell);
int	aoe_shim_bio_is_taste(uint64_t bio);

/* aoe_boot.c */
int	aoe_shim_boot_is_over(void);		/* the root is mounted */
void	aoe_shim_boot_hold(void);		/* lets the root mount wait */
void	aoe_shim_boot_release(void);
int	aoe_shim_boot_raise(struct ifnet *ifp);	/* sets it up; sleeps */

/* aoe_notify.c */
void	aoe_shim_notify_target(const char *type, size_t type_len,
	    const char *vars, size_t len);

/* aoe_probe.c */
void	aoe_shim_probe_state(const struct aoe_cell *cell, const char *from,
	    size_t from_len, const char *to, size_t to_len);

/* aoe_event.c */
int	aoe_shim_init_syncs(void);	/* init waits in sync(2): going down */

/* aoe_net.c */
struct ifnet *aoe_shim_net_find(const char *name, size_t len);	/* a ref. */
int	aoe_shim_net_type(struct ifnet *ifp);
void	aoe_shim_net_ref(struct ifnet *ifp);
void	aoe_shim_net_release(struct ifnet *ifp);
void	aoe_shim_net_attach(uint32_t netif, struct ifnet *ifp);	/* takes ref. */
void	aoe_shim_net_detach(uint32_t netif);			/* sleeps */
int	aoe_shim_net_is(uint32_t netif, const struct ifnet *ifp);
void	aoe_shim_net_link(uint32_t netif, struct aoe_link *link);
enum aoe_flaw aoe_shim_net_flaw(uint32_t netif);
void	aoe_shim_net_look(uint32_t netif, struct aoe_stack *stack);
void	aoe_shim_net_settle(uint32_t netif, uint32_t ports, uint32_t with_link,
	    int in_order, int telling);
void	aoe_shim_net_refill(uint32_t netif);	/* its reserve */
int	aoe_shim_net_hook(int on);		/* sleeps */
uint32_t aoe_shim_net_changes(void);
void	aoe_shim_net_send(const struct aoe_frame *frames, uint32_t n,
	    uint32_t changes);
void	aoe_shim_mbuf_copy(struct mbuf *m, uint32_t from, uint32_t len,
	    uint8_t *to);

/* aoe_port.c; with the netifs lock */
int	aoe_shim_port_look(uint32_t port, struct aoe_port_seen *seen);
int	aoe_shim_port_find(const struct ifnet *ifp);	/* -1: none */
void	aoe_shim_port_flush(uint32_t ports);	/* software queues; sleeps */
void	aoe_shim_port_init(uint32_t ports);	/* rings, by a thread */
void	aoe_shim_port_drop(uint32_t ports);	/* sleeps */

/* aoe_reserve.c */
uint64_t aoe_shim_reserve_count(void);	/* chains, of all interfaces */

/* aoe_sysctl.c; a node of `cell`, or of the module where it is NULL */
void	*aoe_shim_sysctl_node(struct aoe_cell *cell, void *parent,
	    const char *name, size_t len, const char *descr, size_t descr_len);
int	aoe_shim_sysctl_leaf(struct aoe_cell *cell, void *parent,
	    const char *name, size_t len, const char *descr, size_t descr_len,
	    enum aoe_leaf_type type, int writable, uint32_t id);
void	aoe_shim_sysctl_remove(struct aoe_cell *cell);	/* sleeps */

#endif /* !_AOE_SHIM_H_ */
