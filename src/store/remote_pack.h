/*
 * remote_pack: what the store driver and the server say to each other, as bytes, both ways (doc/protocol.md).
 *
 * One pair of functions per thing, side by side, so that both ends cannot differ.  Packing is deterministic:
 * equal things give equal bytes.
 */
#ifndef STORE_REMOTE_PACK_H
#define STORE_REMOTE_PACK_H

#include "store/store.h"
#include "wire/pack.h"

#define REMOTE_MAJOR 1
#define REMOTE_MINOR 1
#define REMOTE_CAP_AHEAD "ahead"   /* requests before answers; not in 1.0 */
#define REMOTE_CAP_BLOCKS "blocks" /* pipe_spec.blocks; not in 1.0 */
#define REMOTE_AHEAD_MAX 256	   /* unanswered requests */
#define REMOTE_AHEAD_BYTES ((size_t)256 * 1024) /* of unanswered requests but the first */
#define REMOTE_REQUEST_MAX ((size_t)16 * 1024 * 1024) /* bytes of one request, over all of its Q frames */
#define REMOTE_PATH_MAX 4096

enum remote_verb {
	REMOTE_GET = 1, REMOTE_PUT = 2, REMOTE_LIST = 3, REMOTE_TREE = 4, REMOTE_STAT = 5, REMOTE_SYNC = 6,
	REMOTE_DB_OPEN = 10, REMOTE_DB_TIME = 11, REMOTE_DB_SEGMENT = 12, REMOTE_DB_START = 13,
	REMOTE_DB_STOP = 14, REMOTE_DB_SWITCH = 15, REMOTE_DB_DATABASES = 16, REMOTE_DB_TABLESPACES = 17,
	REMOTE_DB_PING = 18, REMOTE_DB_REPLAY = 19, REMOTE_DB_CHECKPOINT = 20, REMOTE_DB_WAL_END = 21,
};

enum remote_role { REMOTE_ROLE_ARCHIVE = 1, REMOTE_ROLE_RESTORE = 2, REMOTE_ROLE_BACKUP = 4 };

/* Places: 1..256 a repository by its key, 1000 + key a cluster by its key. */
#define REMOTE_PLACE_PG 1000u
struct remote_place {
	uint32_t number;
	const char *path;   /* for messages and to compare; the server's own */
	const char *cipher; /* repositories: "none", "aes-256-cbc"; clusters: NULL */
};

struct remote_hello {
	uint16_t major, minor;
	const char *program; /* "pgStrata 0.1.0" */
	const char *capabilities; /* separated by blanks */
	uint32_t ahead; /* most unanswered requests this side takes or sends; 0 or 1: one at a time */
	const char *stanza; /* server: the only one there is, NULL: all.  Caller: the one it is about, NULL: none */
	uint32_t roles; /* set of remote_role: server: what may be done.  Caller: what it is going to do */
	/* server only */
	bool forced; /* sshd runs what the key's line says, not what the caller asked for */
	VEC(struct remote_place) places;
	/* caller only */
	const char *exec_id;
	int64_t silence_ms; /* protocol-timeout */
	int32_t level; /* compress-level-network */
};
void remote_pack_hello(struct buf *b, const struct remote_hello *h, bool server);
int remote_unpack_hello(struct arena *a, const void *data, size_t len, bool server, struct remote_hello *out) must_check;
bool remote_can(const struct remote_hello *mine, const struct remote_hello *theirs, const char *capability);
/* "archive,restore" <-> set; NULL or -1 for a word that is none (ERR_OPTION_VALUE). */
char *remote_roles_text(struct arena *a, uint32_t roles);
int remote_roles_parse(const char *text, uint32_t *out) must_check;

/* get: all of get_opts but the callbacks; want_entry: opened is set.  opened, ctx and result are not touched by unpacking;
 * what is impossible (codec, sizes, page sizes) is bad. */
struct remote_get {
	uint32_t place;
	const char *path;
	bool want_entry;
	struct get_opts opts; /* spec lives in the arena; NULL if there was none */
};
void remote_pack_get(struct buf *b, const struct remote_get *g); /* with the verb in front, as all requests */
void remote_unpack_get(struct unpack *u, struct remote_get *out);    /* behind the verb */

/* The answer of a get: absent, or the result (of a spec; without one empty). */
void remote_pack_got(struct buf *b, bool absent, const struct pipe_spec *spec, const struct pipe_result *r);
void remote_unpack_got(struct unpack *u, const struct pipe_spec *spec, bool *absent, struct pipe_result *r);

struct remote_put {
	uint32_t place;
	const char *path;
	bool create_new; /* and atomic in any case */
	bool replace;	 /* asks to replace: a server that permits none refuses */
};
void remote_pack_put(struct buf *b, const struct remote_put *p);
void remote_unpack_put(struct unpack *u, struct remote_put *out);

/* list, tree, stat, sync: place and path. */
void remote_pack_path(struct buf *b, enum remote_verb verb, uint32_t place, const char *path);
void remote_unpack_path(struct unpack *u, uint32_t *place, const char **path);

/* An entry, target_entry with it.  The number at the end of a listing's answer proves that none was lost. */
void remote_pack_entry(struct buf *b, const struct store_entry *e);
void remote_unpack_entry(struct unpack *u, struct store_entry *out);

#endif
