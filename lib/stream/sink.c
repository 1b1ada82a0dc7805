/*
 * sink: the small ends and filters: memory, null, count, limit, append, descriptor.
 */
#include "stream/sink.h"
#include "base/sys.h"

struct buf_sink {
	struct sink sink;
	struct buf *buf;
};

struct count_sink {
	struct sink sink;
	struct sink *next;
	uint64_t *count;
};

struct limit_sink {
	struct sink sink;
	struct sink *next;
	uint64_t left;
	enum err_code code;
	const char *text;
};

struct append_sink {
	struct sink sink;
	struct sink *next;
};

struct fd_sink {
	struct sink sink;
	int fd;
	const char *what;
};

static int drop_write(struct sink *s, const void *data, size_t len)
{
	return 0;
}

static int end_finish(struct sink *s)
{
	return 0;
}

static int buf_write(struct sink *s, const void *data, size_t len)
{
	if (len > 0)
		buf_add(((struct buf_sink *)s)->buf, data, len);
	return 0;
}

struct sink *sink_buf(struct arena *a, struct buf *b)
{
	struct buf_sink *s = arena_new_object(a, struct buf_sink);

	s->sink = (struct sink){buf_write, end_finish};
	s->buf = b;
	return &s->sink;
}

struct sink *sink_null(struct arena *a)
{
	struct sink *s = arena_new_object(a, struct sink);

	*s = (struct sink){drop_write, end_finish};
	return s;
}

static int count_write(struct sink *s, const void *data, size_t len)
{
	struct count_sink *c = (struct count_sink *)s;

	*c->count += len;
	return sink_write(c->next, data, len);
}

static int count_finish(struct sink *s)
{
	return sink_finish(((struct count_sink *)s)->next);
}

struct sink *sink_count(struct arena *a, struct sink *next, uint64_t *count)
{
	struct count_sink *c = arena_new_object(a, struct count_sink);

	c->sink = (struct sink){count_write, count_finish};
	c->next = next;
	c->count = count;
	return &c->sink;
}

static int limit_write(struct sink *s, const void *data, size_t len)
{
	struct limit_sink *l = (struct limit_sink *)s;

	if (len > l->left)
		return err_set(l->code, "%s", l->text);
	l->left -= len;
	return sink_write(l->next, data, len);
}

static int limit_finish(struct sink *s)
{
	return sink_finish(((struct limit_sink *)s)->next);
}

struct sink *sink_limit(
	struct arena *a, struct sink *next, uint64_t max, enum err_code code, const char *text)
{
	struct limit_sink *l = arena_new_object(a, struct limit_sink);

	l->sink = (struct sink){limit_write, limit_finish};
	l->next = next;
	l->left = max;
	l->code = code;
	l->text = text;
	return &l->sink;
}

static int append_write(struct sink *s, const void *data, size_t len)
{
	return sink_write(((struct append_sink *)s)->next, data, len);
}

struct sink *sink_append(struct arena *a, struct sink *next)
{
	struct append_sink *s = arena_new_object(a, struct append_sink);

	s->sink = (struct sink){append_write, end_finish};
	s->next = next;
	return &s->sink;
}

static int fd_write(struct sink *s, const void *data, size_t len)
{
	struct fd_sink *f = (struct fd_sink *)s;

	if (sys_write_full(f->fd, data, len) != 0)
		return err_sys(ERR_FILE_WRITE, "unable to write '%s'", f->what);
	return 0;
}

struct sink *sink_fd(struct arena *a, int fd, const char *what)
{
	struct fd_sink *f = arena_new_object(a, struct fd_sink);

	f->sink = (struct sink){fd_write, end_finish};
	f->fd = fd;
	f->what = arena_strdup(a, what);
	return &f->sink;
}
