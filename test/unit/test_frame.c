/*
 * frame: what was sent arrives; whatever else arrives is refused, in bounded memory and time.
 *
 * Most of it needs no descriptors: what a wire writes is caught, and what it reads is given to it, in pieces of any
 * size.  Where two sides wait for each other they are two processes with pipes between them.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>
#include <cmocka.h>

#include "base/sig.h"
#include "base/sys.h"
#include "wire/frame.h"

#define LONG_MS (60 * 1000)
#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* ---- bytes without descriptors ---- */

static struct {
	const uint8_t *data;
	size_t len, at, piece;
	struct buf out;
} plug;

static ssize_t plug_read(int fd, void *data, size_t len)
{
	size_t n = plug.len - plug.at;

	assert_true(len > 0);
	n = n < len ? n : len;
	n = n < plug.piece ? n : plug.piece;
	memcpy(data, plug.data + plug.at, n);
	plug.at += n;
	return (ssize_t)n;
}

static ssize_t plug_write(int fd, const void *data, size_t len)
{
	buf_add(&plug.out, data, len);
	return (ssize_t)len;
}

static struct sys_calls real;

static int teardown(void **state)
{
	sys = real;
	err_clear();
	return 0;
}

static int setup(void **state)
{
	real = sys;
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

/* A wire whose output is caught in plug.out. */
static struct wire *writer(struct arena *a)
{
	sys.write = plug_write;
	buf_init(&plug.out, a);
	return wire_new(a, -1, -1, "host 'x'", LONG_MS);
}

/* A wire that reads these bytes, and then the end. */
static struct wire *reader(struct arena *a, const void *data, size_t len, size_t piece)
{
	sys.read = plug_read;
	plug.data = data;
	plug.len = len;
	plug.at = 0;
	plug.piece = piece;
	return wire_new(a, -1, -1, "host 'x'", LONG_MS);
}

static uint32_t noise = 1;

static uint32_t chance(uint32_t below)
{
	noise ^= noise << 13;
	noise ^= noise >> 17;
	noise ^= noise << 5;
	return noise % below;
}

static uint8_t *text(struct arena *a, size_t len)
{
	uint8_t *p = arena_alloc(a, len + 1);

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)"abcdefgh"[i / 7 % 8];
	return p;
}

static uint8_t *random_bytes(struct arena *a, size_t len)
{
	uint8_t *p = arena_alloc(a, len + 1);

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)chance(256);
	return p;
}

/* ---- there and back ---- */

static const struct {
	enum wire_type type;
	unsigned flags;
	uint32_t request;
	size_t len;
} some[] = {
	{ WIRE_HELLO, WIRE_LAST, 0, 100 }, { WIRE_REQUEST, 0, 1, 1000 }, { WIRE_REQUEST, WIRE_LAST, 1, 0 },
	{ WIRE_DATA, 0, 1, 3 }, { WIRE_DATA, WIRE_LAST, 1, 0 }, { WIRE_FINISH, WIRE_LAST, 1, 20 },
	{ WIRE_ENTRY, WIRE_LAST, 2, 70 }, { WIRE_WARNING, 0, 2, 9 }, { WIRE_CANCEL, 0, 0xfedcba98, 0 },
	{ WIRE_PING, 0, 0, 0 }, { WIRE_ANSWER, WIRE_LAST, 2, 1 }, { WIRE_FAILURE, 0, 0, 8 },
	{ WIRE_FAILURE, 0, 9, 8 }, { WIRE_PING, WIRE_LAST, 0, 0 }, { WIRE_GOODBYE, WIRE_LAST, 0, 0 },
};

enum { SOME = sizeof(some) / sizeof(some[0]) };

static struct buf some_frames(struct arena *a)
{
	struct wire *w = writer(a);

	for (size_t i = 0; i < SOME; i++)
		assert_int_equal(wire_send(w, some[i].type, some[i].flags, some[i].request, text(a, some[i].len),
			some[i].len), 0);
	assert_int_equal(plug.out.len, 0); /* queued */
	assert_int_equal(wire_flush(w), 0);
	return plug.out;
}

static void there_and_back(void **state)
{
	static const size_t pieces[] = { 1, 7, 1 << 20 };

	for (size_t k = 0; k < 3; k++) {
		SCOPED_ARENA(a);
		struct buf b = some_frames(a);
		struct wire *w = reader(a, b.data, b.len, pieces[k]);
		struct wire_frame f;

		for (size_t i = 0; i < SOME; i++) {
			if (some[i].type == WIRE_PING)
				continue;
			assert_int_equal(wire_receive(w, &f), 0);
			assert_int_equal(f.type, some[i].type);
			assert_int_equal(f.last, (some[i].flags & WIRE_LAST) != 0);
			assert_int_equal(f.request, some[i].request);
			assert_int_equal(f.len, some[i].len);
			assert_memory_equal(f.data, text(a, f.len), f.len);
			assert_false(wire_dead(w));
		}
		assert_int_equal(wire_receive(w, &f), 1);
		assert_true(wire_dead(w));
		assert_int_equal(wire_receive(w, &f), -1);
		assert_int_equal(err_code(), ERR_SERVICE);
	}
}

static void bytes_of_a_head(void **state)
{
	SCOPED_ARENA(a);
	struct wire *w = writer(a);

	assert_int_equal(wire_send_magic(w), 0);
	assert_int_equal(wire_send(w, WIRE_ANSWER, WIRE_LAST, 0x04030201, "ab", 2), 0);
	assert_int_equal(wire_flush(w), 0);
	assert_int_equal(plug.out.len, 22);
	assert_memory_equal(plug.out.data, "PGSTRATA\2\0\0\0A\1\0\0\1\2\3\4ab", 22);
}

static void truncated_everywhere(void **state)
{
	SCOPED_ARENA(a);
	struct buf b = some_frames(a);
	size_t ends[SOME], whole = 0;

	for (size_t i = 0, at = 0; i < SOME; i++)
		ends[i] = at += WIRE_HEAD + some[i].len;
	for (size_t n = 0; n < b.len; n++) {
		SCOPED_ARENA(one);
		struct wire *w = reader(one, b.data, n, 64 * KIB);
		struct wire_frame f;
		size_t got = 0, pings = 0;
		int rc;

		while (whole < SOME && ends[whole] <= n)
			whole++;
		for (size_t i = 0; i < whole; i++)
			pings += some[i].type == WIRE_PING;
		while ((rc = wire_receive(w, &f)) == 0)
			got++;
		assert_int_equal(got, whole - pings);
		assert_int_equal(rc, n == (whole == 0 ? 0 : ends[whole - 1]) ? 1 : -1);
		if (rc < 0)
			assert_int_equal(err_code(), ERR_SERVICE);
	}
}

/* ---- what may not be ---- */

static struct buf raw(struct arena *a, size_t len, int type, int flags, int zero, uint32_t request)
{
	struct buf b;
	const uint8_t head[WIRE_HEAD] = { (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16),
		(uint8_t)(len >> 24), (uint8_t)type, (uint8_t)flags, (uint8_t)zero, (uint8_t)(zero >> 8),
		(uint8_t)request, 0, 0, 0 };

	buf_init(&b, a);
	buf_add(&b, head, sizeof(head));
	return b;
}

static int receive_one(struct arena *a, const struct buf *b, struct wire_frame *f)
{
	return wire_receive(reader(a, b->data, b->len, 1 << 20), f);
}

/* The head alone is enough: nothing is waited for, and no memory taken, for what may not come. */
static void heads_that_may_not_be(void **state)
{
	static const struct {
		size_t len;
		int type, flags, zero;
		uint32_t request;
	} bad[] = {
		{ 0, 'X', 0, 0, 1 }, { 0, 0, 0, 0, 1 }, { 0, 'q', 0, 0, 1 }, { 0, 0xff, 0, 0, 1 },
		{ 0, 'Q', 4, 0, 1 }, { 0, 'D', 4, 0, 1 }, { 0, 'Q', 0x80, 0, 1 }, { 9, 'Q', WIRE_PACKED, 0, 1 },
		{ 9, 'A', WIRE_PACKED, 0, 1 }, { 0, 'Q', 0, 1, 1 }, { 0, 'Q', 0, 0x100, 1 },
		{ WIRE_FRAME_MAX + 1, 'D', 0, 0, 1 }, { 0xffffffff, 'D', 0, 0, 1 }, { 0x80000000, 'Q', 0, 0, 1 },
		{ WIRE_HELLO_MAX + 1, 'H', 0, 0, 0 }, { 1, 'P', 0, 0, 0 }, { 1, 'G', 0, 0, 0 }, { 1, 'C', 0, 0, 1 },
		{ 0, 'Q', 0, 0, 0 }, { 0, 'D', 0, 0, 0 }, { 0, 'A', 0, 0, 0 }, { 0, 'W', 0, 0, 0 }, { 0, 'C', 0, 0, 0 },
		{ 0, 'F', 0, 0, 0 }, { 0, 'O', 0, 0, 0 }, { 0, 'H', 0, 0, 1 }, { 0, 'P', 0, 0, 1 }, { 0, 'G', 0, 0, 1 },
		{ 4, 'D', WIRE_PACKED, 0, 1 }, { 0, 'D', WIRE_PACKED, 0, 1 },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		SCOPED_ARENA(a);
		struct buf b = raw(a, bad[i].len, bad[i].type, bad[i].flags, bad[i].zero, bad[i].request);
		struct wire_frame f;

		assert_int_equal(receive_one(a, &b, &f), -1);
		assert_int_equal(err_code(), ERR_PROTOCOL);
		assert_non_null(strstr(err_msg(), "host 'x'"));
	}
}

static void what_is_refused_is_not_sent(void **state)
{
	SCOPED_ARENA(a);
	struct wire *w = writer(a);

	assert_int_equal(wire_send(w, WIRE_REQUEST, 0, 0, "", 0), -1);
	assert_int_equal(err_code(), ERR_ASSERT);
	assert_int_equal(wire_send(w, WIRE_ANSWER, 0, 1, text(a, MIB + 1), MIB + 1), -1);
	assert_int_equal(err_code(), ERR_ASSERT);
	assert_int_equal(wire_send(w, WIRE_ANSWER, WIRE_PACKED, 1, "", 0), -1);
	assert_int_equal(wire_send(w, 'x', 0, 1, "", 0), -1);
	assert_int_equal(wire_flush(w), 0);
	assert_int_equal(plug.out.len, 0);
}

/* ---- packed ---- */

static struct buf packed(struct arena *a, uint32_t said, const void *z, size_t len)
{
	struct buf b = raw(a, 4 + len, 'D', WIRE_PACKED, 0, 1);
	const uint8_t size[4] = { (uint8_t)said, (uint8_t)(said >> 8), (uint8_t)(said >> 16), (uint8_t)(said >> 24) };

	buf_add(&b, size, 4);
	buf_add(&b, z, len);
	return b;
}

static int receive_packed(uint32_t said, const void *z, size_t len)
{
	SCOPED_ARENA(a);
	struct buf b = packed(a, said, z, len);
	struct wire_frame f;
	int rc = receive_one(a, &b, &f);

	if (rc == 0)
		assert_int_equal(f.len, said);
	else
		assert_int_equal(err_code(), ERR_PROTOCOL);
	return rc;
}

static void packed_that_lies(void **state)
{
	SCOPED_ARENA(a);
	const size_t plain = MIB;
	char *z = arena_alloc(a, 256 * KIB), *zeros = arena_zalloc(a, 8 * MIB);
	size_t len = ZSTD_compress(z, 256 * KIB, zeros, plain, 3);

	assert_int_equal(receive_packed(MIB, z, len), 0);
	assert_int_equal(receive_packed(MIB - 1, z, len), -1);
	assert_int_equal(receive_packed(MIB + 1, z, len), -1);
	assert_int_equal(receive_packed(1, z, len), -1);
	assert_int_equal(receive_packed(0, z, len), -1);
	assert_int_equal(receive_packed(0xffffffff, z, len), -1);
	for (size_t n = 1; n < len; n++)
		assert_int_equal(receive_packed(MIB, z, n), -1);
	z[len] = 0;
	assert_int_equal(receive_packed(MIB, z, len + 1), -1);
	/* a bomb, and one that says so */
	len = ZSTD_compress(z, 256 * KIB, zeros, 8 * MIB, 3);
	assert_int_equal(receive_packed(MIB, z, len), -1);
	assert_int_equal(receive_packed(8 * MIB, z, len), -1);
	/* two frames that together are as long as said; one that is skipped */
	len = ZSTD_compress(z, 256 * KIB, zeros, 500, 3);
	assert_int_equal(receive_packed(500, z, len), 0);
	memcpy(z + len, z, len);
	assert_int_equal(receive_packed(1000, z, 2 * len), -1);
	assert_int_equal(receive_packed(500, "\x50\x2a\x4d\x18\1\0\0\0x", 9), -1);
	assert_int_equal(receive_packed(3, "abc", 3), -1);
}

/* Frame by frame what was sent: plain bytes again, and how each crossed. */
static size_t flags_of(const struct buf *b, unsigned *flags, size_t max)
{
	size_t n = 0;

	for (size_t at = 0; at < b->len; n++) {
		const uint8_t *p = (const uint8_t *)b->data + at;

		assert_true(n < max);
		flags[n] = p[5];
		at += WIRE_HEAD + (size_t)(p[0] | p[1] << 8 | p[2] << 16);
	}
	return n;
}

static void check_data(struct arena *a, const struct buf *sent, const uint8_t *data, size_t len)
{
	struct wire *w = reader(a, sent->data, sent->len, 100 * KIB);
	struct wire_frame f;
	size_t at = 0;

	while (wire_receive(w, &f) == 0) {
		assert_int_equal(f.type, WIRE_DATA);
		assert_true(f.len <= 256 * KIB && f.len <= len - at);
		assert_memory_equal(f.data, data + at, f.len);
		at += f.len;
		assert_int_equal(f.last, at == len);
	}
	assert_int_equal(err_code(), ERR_NONE);
	assert_int_equal(at, len);
}

static void data_is_packed_where_it_helps(void **state)
{
	SCOPED_ARENA(a);
	const size_t len = MIB + 1;
	const uint8_t *soft = text(a, len), *hard = random_bytes(a, len);
	unsigned flags[8];
	struct wire *w = writer(a);

	assert_int_equal(wire_send_data(w, 1, soft, len, 1, true), 0);
	assert_int_equal(wire_flush(w), 0);
	assert_int_equal(flags_of(&plug.out, flags, 8), 5);
	for (int i = 0; i < 4; i++)
		assert_int_equal(flags[i], WIRE_PACKED);
	assert_int_equal(flags[4], WIRE_LAST); /* one byte */
	assert_true(plug.out.len < len / 10);
	check_data(a, &plug.out, soft, len);

	w = writer(a);
	assert_int_equal(wire_send_data(w, 1, soft, len, WIRE_NO_PACK, true), 0);
	assert_int_equal(wire_flush(w), 0);
	assert_int_equal(plug.out.len, len + 5 * WIRE_HEAD);
	check_data(a, &plug.out, soft, len);

	w = writer(a);
	assert_int_equal(wire_send_data(w, 1, hard, len, 1, true), 0);
	assert_int_equal(wire_flush(w), 0);
	assert_int_equal(plug.out.len, len + 5 * WIRE_HEAD);
	check_data(a, &plug.out, hard, len);

	w = writer(a);
	assert_int_equal(wire_send_data(w, 1, "", 0, 1, false), 0);
	assert_int_equal(wire_flush(w), 0);
	assert_int_equal(plug.out.len, 0);
	assert_int_equal(wire_send_data(w, 1, "", 0, 1, true), 0);
	assert_int_equal(wire_flush(w), 0);
	assert_int_equal(plug.out.len, WIRE_HEAD);
	assert_int_equal(plug.out.data[5], WIRE_LAST);
}

/* Random bytes make it try only now and then; a new request is a new file. */
static void packing_is_given_up_for_a_while(void **state)
{
	SCOPED_ARENA(a);
	const uint8_t *soft = text(a, 4 * KIB), *hard = random_bytes(a, 4 * KIB);
	struct wire *w = writer(a);
	unsigned flags[64];

	assert_int_equal(wire_send_data(w, 1, hard, 4 * KIB, 1, false), 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(wire_send_data(w, 1, soft, 4 * KIB, 1, false), 0);
	assert_int_equal(wire_send_data(w, 1, hard, 4 * KIB, 1, false), 0);
	assert_int_equal(wire_send_data(w, 2, soft, 4 * KIB, 1, false), 0);
	assert_int_equal(wire_flush(w), 0);
	assert_int_equal(flags_of(&plug.out, flags, 64), 23);
	for (int i = 0; i < 23; i++)
		assert_int_equal(flags[i], (i >= 16 && i != 21) ? WIRE_PACKED : 0);
}

/* ---- anything ---- */

static struct buf base_frames(struct arena *a)
{
	struct buf all = some_frames(a);
	struct wire *w = writer(a);
	struct buf more;

	assert_int_equal(wire_send_data(w, 3, text(a, 5000), 5000, 1, true), 0);
	assert_int_equal(wire_send(w, WIRE_ANSWER, WIRE_LAST, 3, "abc", 3), 0);
	assert_int_equal(wire_flush(w), 0);
	more = plug.out;
	buf_add(&more, all.data, all.len);
	return more;
}

static void mutate(struct buf *b)
{
	for (uint32_t n = 1 + chance(3); n > 0; n--) {
		/* heads are where it matters: they stand at the beginning, and everywhere */
		size_t at = chance(chance(2) == 0 ? 60 : (uint32_t)b->len);

		switch (chance(4)) {
		case 0:
			b->data[at] = (char)chance(256);
			break;
		case 1:
			b->data[at] ^= (char)(1u << chance(8));
			break;
		case 2:
			memmove(b->data + at, b->data + at + 1, b->len - at - 1);
			break;
		default:
			memmove(b->data + at + 1, b->data + at, b->len - at - 1);
			b->data[at] = (char)chance(256);
		}
	}
}

static void anything(void **state)
{
	SCOPED_ARENA(a);
	const struct buf good = base_frames(a);
	struct buf b;
	unsigned ends = 0, cuts = 0, refused = 0;

	buf_init(&b, a);
	for (int i = 0; i < 8000; i++) {
		SCOPED_ARENA(one);
		struct wire *w;
		struct wire_frame f;
		unsigned frames = 0, sum = 0;
		int rc;

		buf_reset(&b);
		buf_add(&b, good.data, good.len);
		mutate(&b);
		w = reader(one, b.data, 1 + chance((uint32_t)b.len), 1 + chance(3000));
		while ((rc = wire_receive(w, &f)) == 0) {
			assert_true(f.len <= WIRE_FRAME_MAX);
			for (size_t k = 0; k < f.len; k++)
				sum += f.data[k];
			frames++;
		}
		assert_true(frames <= b.len / WIRE_HEAD && sum < UINT32_MAX);
		ends += rc == 1;
		cuts += rc < 0 && err_code() == ERR_SERVICE;
		refused += rc < 0 && err_code() == ERR_PROTOCOL;
		err_clear();
	}
	assert_int_equal(ends + cuts + refused, 8000);
	assert_true(ends > 0 && cuts > 100 && refused > 1000);
}

static void noise_only(void **state)
{
	for (int i = 0; i < 3000; i++) {
		SCOPED_ARENA(a);
		struct wire_frame f;
		uint8_t *bytes = random_bytes(a, 200);

		bytes[4] = (uint8_t)"HQDOFCAEWPG"[chance(11)];
		bytes[5] &= 3;
		bytes[6] = bytes[7] = 0;
		bytes[1] = bytes[2] = bytes[3] = 0;
		struct wire *w = reader(a, bytes, 200, 50);
		int rc;
		while ((rc = wire_receive(w, &f)) == 0)
			;
		assert_true(rc == 1 || err_code() == ERR_PROTOCOL || err_code() == ERR_SERVICE);
		err_clear();
	}
}

/* ---- two processes ---- */

struct two {
	struct wire *w;
	pid_t pid;
};

static void make_pipe(int fds[2])
{
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
}

/* The other side runs fn and says with its exit code whether all was well. */
static struct two start(struct arena *a, int (*fn)(struct wire *w), int64_t silence_ms)
{
	int there[2], back[2];
	struct two t;

	make_pipe(there);
	make_pipe(back);
	t.pid = fork();
	assert_true(t.pid >= 0);
	if (t.pid == 0) {
		struct arena *own = arena_new();

		close(there[1]);
		close(back[0]);
		_exit(fn(wire_new(own, there[0], back[1], "the parent", LONG_MS)));
	}
	close(there[0]);
	close(back[1]);
	t.w = wire_new(a, back[0], there[1], "the child", silence_ms);
	return t;
}

static int end(const struct two *t)
{
	int status;

	assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

#define ROUND (960 * KIB)
enum { ROUNDS = 5 };

/* Both say ROUND bytes before either listens, again and again; a frame is held meanwhile. */
static int say_and_listen(struct wire *w)
{
	SCOPED_ARENA(a);
	uint8_t *mine = text(a, ROUND), first[1000];
	struct wire_frame f;

	if (wire_send(w, WIRE_REQUEST, 0, 1, text(a, 1000), 1000) != 0 || wire_receive(w, &f) != 0 || f.len != 1000)
		return 1;
	memcpy(first, f.data, sizeof(first));
	for (int i = 0; i < ROUNDS; i++) {
		size_t got = 0;

		if (wire_send_data(w, 1, mine, ROUND, WIRE_NO_PACK, true) != 0 || wire_flush(w) != 0)
			return 2;
		if (i == 0 && memcmp(first, f.data, sizeof(first)) != 0)
			return 3;
		for (bool last = false; !last; last = f.last) {
			if (wire_receive(w, &f) != 0 || memcmp(f.data, mine + got, f.len) != 0)
				return 4;
			got += f.len;
		}
		if (got != ROUND)
			return 5;
	}
	return 0;
}

static void both_say_much_at_once(void **state)
{
	SCOPED_ARENA(a);
	struct two t = start(a, say_and_listen, LONG_MS);

	assert_int_equal(say_and_listen(t.w), 0);
	assert_int_equal(end(&t), 0);
}

static int say_without_end(struct wire *w)
{
	SCOPED_ARENA(a);
	uint8_t *mine = text(a, MIB);

	for (;;) {
		if (wire_send_data(w, 1, mine, MIB, WIRE_NO_PACK, false) != 0)
			return err_code() == ERR_SERVICE ? 0 : 1;
	}
}

static size_t taken;

static ssize_t counting_read(int fd, void *data, size_t len)
{
	ssize_t n = real.read(fd, data, len);

	taken += n > 0 ? (size_t)n : 0;
	return n;
}

/* Neither listens: no more than the bound is taken in, and it ends. */
static void who_does_not_listen_is_given_up(void **state)
{
	SCOPED_ARENA(a);
	int there[2], back[2];
	struct arena *own = arena_new();

	make_pipe(there);
	make_pipe(back);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(there[0]);
		close(back[0]);
		close(back[1]);
		uint8_t *much = text(a, 4 * MIB);
		_exit(sys_write_full(there[1], much, 4 * MIB) != 0 && errno == EPIPE ? 0 : 1);
	}
	close(there[1]);
	struct wire *w = wire_new(own, there[0], back[1], "the child", 300);
	taken = 0;
	sys.read = counting_read;
	assert_int_equal(say_without_end(w), 0);
	assert_true(wire_dead(w));
	assert_non_null(strstr(err_msg(), "has taken nothing for 300 ms"));
	assert_int_equal(taken, MIB);
	assert_int_equal(wire_send(w, WIRE_PING, 0, 0, NULL, 0), -1);
	sys.read = real.read;
	close(there[0]);
	close(back[0]);
	close(back[1]);
	arena_free(own);
	assert_int_equal(end(&(struct two){ .pid = pid }), 0);
}

static int say_nothing(struct wire *w)
{
	struct wire_frame f;

	return wire_receive(w, &f) == 0 && f.type == WIRE_GOODBYE ? 0 : 1;
}

static void silence_ends(void **state)
{
	SCOPED_ARENA(a);
	struct two t = start(a, say_nothing, 50);
	struct wire_frame f;

	assert_false(wire_ready(t.w, 0));
	assert_false(wire_ready(t.w, 10));
	assert_int_equal(wire_receive(t.w, &f), -1);
	assert_int_equal(err_code(), ERR_SERVICE);
	assert_non_null(strstr(err_msg(), "the child has been silent for 50 ms"));
	assert_non_null(strstr(err_hints(), "protocol-timeout"));
	/* a last word is possible */
	assert_int_equal(wire_send(t.w, WIRE_GOODBYE, 0, 0, NULL, 0), 0);
	assert_int_equal(wire_flush(t.w), 0);
	assert_int_equal(end(&t), 0);
}

/* Pings are nothing to receive, and a frame behind them is found. */
static int ping_and_speak(struct wire *w)
{
	struct wire_frame f;

	for (int i = 0; i < 3; i++) {
		if (wire_send(w, WIRE_PING, 0, 0, NULL, 0) != 0 || wire_flush(w) != 0)
			return 1;
	}
	if (wire_receive(w, &f) != 0)
		return 2;
	return wire_send(w, WIRE_ANSWER, 0, 1, "x", 1) != 0 || wire_flush(w) != 0 ? 3 : 0;
}

static void pings_show_life_only(void **state)
{
	SCOPED_ARENA(a);
	struct two t = start(a, ping_and_speak, LONG_MS);
	struct wire_frame f;

	assert_false(wire_ready(t.w, 50));
	assert_int_equal(wire_send(t.w, WIRE_REQUEST, WIRE_LAST, 1, "q", 1), 0);
	assert_int_equal(wire_flush(t.w), 0);
	assert_true(wire_ready(t.w, LONG_MS));
	assert_int_equal(wire_receive(t.w, &f), 0);
	assert_int_equal(f.type, WIRE_ANSWER);
	assert_true(wire_ready(t.w, LONG_MS)); /* the end */
	assert_int_equal(wire_receive(t.w, &f), 1);
	assert_true(wire_ready(t.w, LONG_MS));
	assert_int_equal(end(&t), 0);
}

static int refuse_and_go(struct wire *w)
{
	err_set(ERR_ACCESS, "access denied");
	struct buf b;
	struct arena *own = arena_new();

	buf_init(&b, own);
	wire_pack_failure(&b);
	return wire_send(w, WIRE_FAILURE, WIRE_LAST, 0, b.data, b.len) != 0 || wire_flush(w) != 0;
}

/* Who is gone has perhaps said why. */
static void a_broken_pipe_does_not_hide_the_reason(void **state)
{
	SCOPED_ARENA(a);
	struct two t = start(a, refuse_and_go, LONG_MS);
	struct wire_frame f;

	assert_int_equal(end(&t), 0);
	assert_int_equal(wire_send(t.w, WIRE_REQUEST, WIRE_LAST, 1, "q", 1), 0);
	assert_int_equal(wire_receive(t.w, &f), 0);
	assert_int_equal(wire_unpack_failure(&f, "host 'x'"), -1);
	assert_int_equal(err_code(), ERR_ACCESS);
	assert_string_equal(err_msg(), "host 'x': access denied");
	err_clear();
	assert_true(wire_dead(t.w));
	assert_int_equal(wire_receive(t.w, &f), 1);

	struct two again = start(a, refuse_and_go, LONG_MS);
	assert_int_equal(end(&again), 0);
	assert_int_equal(wire_send(again.w, WIRE_REQUEST, WIRE_LAST, 1, "q", 1), 0);
	assert_int_equal(wire_flush(again.w), -1);
	assert_int_equal(err_code(), ERR_SERVICE);
	assert_non_null(strstr(err_msg(), "the child has closed the connection"));
	assert_int_equal(wire_receive(again.w, &f), 0);
	assert_int_equal(f.type, WIRE_FAILURE);
}

/* The flag of a signal stays, so a process of its own looks at it. */
static int receive_on_signal(struct wire *w)
{
	struct wire_frame f;

	sig_init();
	raise(SIGTERM);
	if (wire_receive(w, &f) != -1 || err_code() != ERR_TERM)
		return 1;
	return wire_send(w, WIRE_GOODBYE, 0, 0, NULL, 0) != 0 || wire_flush(w) != 0 ? 2 : 0;
}

static void a_signal_ends_the_wait(void **state)
{
	SCOPED_ARENA(a);
	struct two t = start(a, receive_on_signal, LONG_MS);
	struct wire_frame f;

	assert_int_equal(wire_receive(t.w, &f), 0);
	assert_int_equal(f.type, WIRE_GOODBYE);
	assert_int_equal(end(&t), 0);
}

/* ---- the magic ---- */

static int greet_with(struct arena *a, const char *bytes, size_t piece, const char **got)
{
	int there[2];

	/* what waits has a descriptor that is always ready */
	make_pipe(there);
	close(there[1]);
	sys.read = plug_read;
	plug.data = (const uint8_t *)bytes;
	plug.len = strlen(bytes);
	plug.at = 0;
	plug.piece = piece;
	struct wire *w = wire_new(a, there[0], -1, "host 'x'", LONG_MS);
	int rc = wire_expect_magic(w, LONG_MS, got);
	close(there[0]);
	if (rc != 0)
		assert_true(wire_dead(w));
	return rc;
}

static void magic(void **state)
{
	SCOPED_ARENA(a);
	const char *got;
	char long_text[1000];

	assert_int_equal(greet_with(a, "PGSTRATA", 100, &got), 0);
	assert_int_equal(greet_with(a, "PGSTRATA", 1, &got), 0);
	assert_int_equal(greet_with(a, "PGSTRATAmore", 3, &got), 0);
	assert_int_equal(greet_with(a, "sh: 1: pgstrata:\r\n\x1b[1mnot found\n", 5, &got), -1);
	assert_int_equal(err_code(), ERR_PROTOCOL);
	assert_string_equal(got, "sh: 1: pgstrata:   [1mnot found ");
	assert_int_equal(greet_with(a, "PGSTRAT", 5, &got), -1);
	assert_string_equal(got, "PGSTRAT");
	assert_int_equal(greet_with(a, "PGSTRATUM", 5, &got), -1);
	assert_string_equal(got, "PGSTRATUM");
	assert_int_equal(greet_with(a, "", 5, &got), -1);
	assert_int_equal(err_code(), ERR_PROTOCOL);
	assert_string_equal(got, "");
	assert_non_null(strstr(err_msg(), "closed the connection"));
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	assert_int_equal(greet_with(a, long_text, 1000, &got), -1);
	assert_int_equal(strlen(got), 200);
}

static void no_magic_in_time(void **state)
{
	SCOPED_ARENA(a);
	struct two t = start(a, say_nothing, LONG_MS);
	const char *got;

	assert_int_equal(wire_expect_magic(t.w, 30, &got), -1);
	assert_int_equal(err_code(), ERR_PROTOCOL);
	assert_string_equal(got, "");
	assert_non_null(strstr(err_msg(), "has not greeted for 30 ms"));
	assert_int_equal(wire_send(t.w, WIRE_GOODBYE, 0, 0, NULL, 0), 0);
	assert_int_equal(wire_flush(t.w), 0);
	assert_int_equal(end(&t), 0);
}

/* ---- failures ---- */

static struct buf failure_bytes(struct arena *a)
{
	struct buf b;

	buf_init(&b, a);
	wire_pack_failure(&b);
	err_clear();
	return b;
}

static int unpack_bytes_of(const struct buf *b)
{
	const struct wire_frame f = { .type = WIRE_FAILURE, .data = (const uint8_t *)b->data, .len = b->len };

	return wire_unpack_failure(&f, "host 'x'");
}

static void failures_cross_whole(void **state)
{
	SCOPED_ARENA(a);
	struct buf b;

	err_set(ERR_FILE_MISSING, "unable to open '%s'", "x");
	err_hint("look there");
	err_hint("or there");
	b = failure_bytes(a);
	assert_int_equal(unpack_bytes_of(&b), -1);
	assert_int_equal(err_code(), ERR_FILE_MISSING);
	assert_string_equal(err_msg(), "host 'x': unable to open 'x'");
	assert_string_equal(err_hints(), "HINT: look there\nHINT: or there");
	/* no code that the list does not have, and never none */
	b.data[0] = 0;
	assert_int_equal(unpack_bytes_of(&b), -1);
	assert_int_equal(err_code(), ERR_UNKNOWN);
	b.data[1] = 77;
	assert_int_equal(unpack_bytes_of(&b), -1);
	assert_int_equal(err_code(), ERR_UNKNOWN);
	err_clear();
	err_set(ERR_ACCESS, "a\x1b[2Jb\nc");
	b = failure_bytes(a);
	assert_int_equal(unpack_bytes_of(&b), -1);
	assert_string_equal(err_msg(), "host 'x': a?[2Jb\nc");
	for (size_t n = b.len; n-- > 0;) {
		b.len = n;
		assert_int_equal(unpack_bytes_of(&b), -1);
		assert_int_equal(err_code(), ERR_PROTOCOL);
	}
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(there_and_back),
		TEST(bytes_of_a_head),
		TEST(truncated_everywhere),
		TEST(heads_that_may_not_be),
		TEST(what_is_refused_is_not_sent),
		TEST(packed_that_lies),
		TEST(data_is_packed_where_it_helps),
		TEST(packing_is_given_up_for_a_while),
		TEST(anything),
		TEST(noise_only),
		TEST(both_say_much_at_once),
		TEST(who_does_not_listen_is_given_up),
		TEST(silence_ends),
		TEST(pings_show_life_only),
		TEST(a_broken_pipe_does_not_hide_the_reason),
		TEST(a_signal_ends_the_wait),
		TEST(magic),
		TEST(no_magic_in_time),
		TEST(failures_cross_whole),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
