/*
 * hash_beside: a ring of slots between the caller, who fills them, and a thread, which hashes them in order.
 *
 * Always true: filled - hashed <= SLOTS; the slot numbered filled % SLOTS belongs to the caller, those from
 * hashed up to filled belong to the thread.  The context is the thread's between start and end.  Without slots
 * there is no thread and never will be.
 */
#include "stream/hash_beside.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#define SLOTS 4
#define SLOT_SIZE ((size_t)256 * 1024)

struct hash_beside {
	struct sha1 *sha1;
	struct arena *arena;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool started, alone; /* alone: no thread could be had */
	bool stop;	     /* guarded by mutex, as the two below */
	unsigned long filled, hashed;
	size_t used; /* bytes in the caller's slot */
	size_t len[SLOTS];
	unsigned char *slot[SLOTS];
};

static bool given_up;

void hash_beside_give_up(void)
{
	given_up = true;
}

static void *work(void *ctx)
{
	struct hash_beside *h = ctx;

	pthread_mutex_lock(&h->mutex);
	for (;;) {
		while (h->hashed == h->filled && !h->stop)
			pthread_cond_wait(&h->changed, &h->mutex);
		if (h->hashed == h->filled)
			break;
		size_t i = h->hashed % SLOTS;
		pthread_mutex_unlock(&h->mutex);
		sha1_add(h->sha1, h->slot[i], h->len[i]);
		pthread_mutex_lock(&h->mutex);
		h->hashed++;
		pthread_cond_signal(&h->changed);
	}
	pthread_mutex_unlock(&h->mutex);
	return NULL;
}

/* Let the thread finish what it has, and end it. */
static void join(void *ctx)
{
	struct hash_beside *h = ctx;

	if (!h->started)
		return;
	pthread_mutex_lock(&h->mutex);
	h->stop = true;
	pthread_cond_signal(&h->changed);
	pthread_mutex_unlock(&h->mutex);
	pthread_join(h->thread, NULL);
	h->started = false;
}

/* Signals are the main thread's: its waits must see them. */
static bool start(struct hash_beside *h)
{
	sigset_t all, old;

	for (size_t i = 0; i < SLOTS; i++)
		if (h->slot[i] == NULL)
			h->slot[i] = arena_alloc(h->arena, SLOT_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	h->started = pthread_create(&h->thread, NULL, work, h) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	h->alone = !h->started;
	return h->started;
}

struct hash_beside *hash_beside_new(struct arena *a)
{
	struct hash_beside *h = arena_new_object(a, struct hash_beside);

	h->sha1 = sha1_new(a);
	h->arena = a;
	h->alone = given_up;
	if (given_up)
		return h;
	h->slot[0] = arena_alloc(a, SLOT_SIZE);
	pthread_mutex_init(&h->mutex, NULL);
	pthread_cond_init(&h->changed, NULL);
	arena_defer(a, join, h);
	return h;
}

/* Hand the caller's slot over and wait until the next one is free. */
static void hand_over(struct hash_beside *h)
{
	if (!h->started && (h->alone || !start(h))) {
		sha1_add(h->sha1, h->slot[h->filled % SLOTS], h->used);
		h->used = 0;
		return;
	}
	pthread_mutex_lock(&h->mutex);
	h->len[h->filled % SLOTS] = h->used;
	h->filled++;
	pthread_cond_signal(&h->changed);
	while (h->filled - h->hashed == SLOTS)
		pthread_cond_wait(&h->changed, &h->mutex);
	pthread_mutex_unlock(&h->mutex);
	h->used = 0;
}

void hash_beside_add(struct hash_beside *h, const void *data, size_t len)
{
	const unsigned char *from = data;

	if (h->slot[0] == NULL) {
		sha1_add(h->sha1, data, len);
		return;
	}
	while (len > 0) {
		size_t n = SLOT_SIZE - h->used < len ? SLOT_SIZE - h->used : len;
		memcpy(h->slot[h->filled % SLOTS] + h->used, from, n);
		h->used += n;
		from += n;
		len -= n;
		if (h->used == SLOT_SIZE)
			hand_over(h);
	}
}

void hash_beside_end(struct hash_beside *h, struct sum *out)
{
	join(h);
	if (h->used > 0)
		sha1_add(h->sha1, h->slot[h->filled % SLOTS], h->used);
	sha1_end(h->sha1, out);
}
