/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Reads or writes raw disks for some seconds and prints what it reached on all
 * of them together.  The same source runs in the FreeBSD and in the Linux
 * guest, so that a difference in the figures is a difference of the systems.
 *
 * usage: diskbench device[,device...] read|write|randread|randwrite block-bytes
 *     depth-of-each seconds bytes-of-each
 * prints: bytes-per-second operations-per-second mean-us worst-us operations
 */
#define	_GNU_SOURCE
#include <sys/types.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Linux caches block devices unless told not to; FreeBSD's are raw always. */
#ifndef O_DIRECT
#define	O_DIRECT 0
#endif
#define	MAX_DEPTH	64
#define	MAX_DISKS	16

enum mode { SEQ_READ, SEQ_WRITE, RANDOM_READ, RANDOM_WRITE };

static enum mode mode;
static size_t block;
static uint64_t blocks;
static double deadline;

struct disk {
	int		fd;
	/* The next block of a sequential run; threads take turns. */
	uint64_t	next_block;
	pthread_mutex_t	turn;
};

struct worker {
	struct disk	*disk;
	pthread_t	thread;
	uint64_t	random;
	uint64_t	operations;
	double		busy;
	double		worst;
	double		last;
};

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
}

static void
die(const char *what)
{
	fprintf(stderr, "diskbench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int
writes(void)
{
	return (mode == SEQ_WRITE || mode == RANDOM_WRITE);
}

static uint64_t
pick(struct worker *w)
{
	uint64_t b;

	if (mode == RANDOM_READ || mode == RANDOM_WRITE) {
		w->random ^= w->random << 13;
		w->random ^= w->random >> 7;
		w->random ^= w->random << 17;
		return (w->random % blocks);
	}
	pthread_mutex_lock(&w->disk->turn);
	b = w->disk->next_block++ % blocks;
	pthread_mutex_unlock(&w->disk->turn);
	return (b);
}

static void *
work(void *argument)
{
	struct worker *w = argument;
	void *buffer;
	double begin, end;
	off_t at;
	ssize_t done;

	if (posix_memalign(&buffer, 4096, block) != 0)
		die("memory");
	memset(buffer, 0x5a, block);
	for (begin = now(); begin < deadline; begin = end) {
		at = (off_t)(pick(w) * block);
		done = writes() ? pwrite(w->disk->fd, buffer, block, at) :
		    pread(w->disk->fd, buffer, block, at);
		if (done != (ssize_t)block)
			die("short or failed transfer");
		end = now();
		w->operations++;
		w->busy += end - begin;
		if (end - begin > w->worst)
			w->worst = end - begin;
		w->last = end;
	}
	free(buffer);
	return (NULL);
}

static int
parse_mode(const char *word)
{
	if (strcmp(word, "read") == 0)
		mode = SEQ_READ;
	else if (strcmp(word, "write") == 0)
		mode = SEQ_WRITE;
	else if (strcmp(word, "randread") == 0)
		mode = RANDOM_READ;
	else if (strcmp(word, "randwrite") == 0)
		mode = RANDOM_WRITE;
	else
		return (-1);
	return (0);
}

/* Opens every disk of the list; how many there are. */
static int
open_disks(struct disk *disks, char *names)
{
	char *name;
	int n = 0;

	for (name = strtok(names, ","); name != NULL; name = strtok(NULL, ",")) {
		if (n == MAX_DISKS) {
			fprintf(stderr, "diskbench: more than %d disks\n",
			    MAX_DISKS);
			exit(2);
		}
		disks[n].fd = open(name, (writes() ? O_RDWR : O_RDONLY) |
		    O_DIRECT);
		if (disks[n].fd < 0)
			die(name);
		pthread_mutex_init(&disks[n].turn, NULL);
		n++;
	}
	if (n == 0) {
		fprintf(stderr, "diskbench: no disk is named\n");
		exit(2);
	}
	return (n);
}

int
main(int argc, char **argv)
{
	static struct disk disks[MAX_DISKS];
	static struct worker workers[MAX_DISKS * MAX_DEPTH];
	double begin, busy = 0, last = 0, seconds, worst = 0;
	uint64_t operations = 0, size;
	int count, depth, i;

	if (argc != 7 || parse_mode(argv[2]) != 0 ||
	    (block = strtoul(argv[3], NULL, 10)) == 0 ||
	    (depth = atoi(argv[4])) < 1 || depth > MAX_DEPTH ||
	    (seconds = atof(argv[5])) <= 0 ||
	    (size = strtoull(argv[6], NULL, 10)) < block) {
		fprintf(stderr, "usage: diskbench device[,device...] "
		    "read|write|randread|randwrite block-bytes "
		    "depth-of-each seconds bytes-of-each\n");
		return (2);
	}
	blocks = size / block;
	count = depth * open_disks(disks, argv[1]);
	begin = now();
	deadline = begin + seconds;
	for (i = 0; i < count; i++) {
		workers[i].disk = &disks[i / depth];
		workers[i].random = 0x9e3779b97f4a7c15ULL * (uint64_t)(i + 1);
		if (pthread_create(&workers[i].thread, NULL, work,
		    &workers[i]) != 0)
			die("thread");
	}
	for (i = 0; i < count; i++) {
		pthread_join(workers[i].thread, NULL);
		operations += workers[i].operations;
		busy += workers[i].busy;
		if (workers[i].worst > worst)
			worst = workers[i].worst;
		if (workers[i].last > last)
			last = workers[i].last;
	}
	seconds = last - begin;
	printf("%.0f %.0f %.2f %.0f %.0f\n",
	    (double)operations * (double)block / seconds,
	    (double)operations / seconds,
	    busy / (double)operations * 1e6, worst * 1e6, (double)operations);
	return (0);
}
