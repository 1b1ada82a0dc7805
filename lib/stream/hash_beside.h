/*
 * hash_beside: SHA-1 on another processor while the bytes are worked on here.
 *
 * Hashing a WAL segment costs as much as expanding it; done beside, it costs PostgreSQL no waiting.  For
 * programs that move one file and end; workers that fill all processors gain nothing from it.
 */
#ifndef STREAM_HASH_BESIDE_H
#define STREAM_HASH_BESIDE_H

#include "stream/hash.h"

struct hash_beside;

/* From here on this process hashes in its one thread, without copying anything. */
void hash_beside_give_up(void);

/* The thread starts with the first quarter MiB and ends with the arena.  If it cannot start, the work is done
 * by the caller. */
struct hash_beside *hash_beside_new(struct arena *a);

/* The data is copied before this returns. */
void hash_beside_add(struct hash_beside *h, const void *data, size_t len);

/* Waits for the rest. */
void hash_beside_end(struct hash_beside *h, struct sum *out);

#endif
