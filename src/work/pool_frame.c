/*
 * pool_frame: bytes and waiting, for both sides of the pool.
 */
#include "work/pool_intern.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include "base/clock.h"
#include "base/sig.h"

/* Signals are blocked between the look at the flag and the wait, where ppoll lets them in again. */
bool pool_wait(struct pollfd *v, size_t n, int64_t ms)
{
	struct deadline d = deadline_in(ms);
	sigset_t block, before;
	int ready = 0;

	sigemptyset(&block);
	sigaddset(&block, SIGHUP);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, &before);
	while (sig_pending() == 0 && ready <= 0) {
		int64_t left = ms < 0 ? 0 : deadline_left(d);
		const struct timespec ts = { .tv_sec = left / 1000,
			.tv_nsec = left % 1000 * 1000000 };

		ready = ppoll(v, n, ms < 0 ? NULL : &ts, &before);
		if (ready < 0 && errno != EINTR)
			break;
		if (ready == 0 && ms >= 0 && deadline_left(d) == 0)
			break;
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return ready > 0;
}

bool pool_send(int fd, const void *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = send(fd, (const char *)data + done, len - done, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0)
			done += (size_t)n;
	}
	return true;
}

void pool_pack_failure(struct buf *b)
{
	const int32_t code = (int32_t)err_code();

	buf_add(b, &code, sizeof(code));
	buf_add(b, err_msg(), strlen(err_msg()) + 1);
	buf_add(b, err_hints(), strlen(err_hints()) + 1);
}

void pool_unpack_failure(const char *data, size_t len)
{
	int32_t code;
	const char *msg = data + sizeof(code), *end = data + len;
	const char *msg_end = len <= sizeof(code) ? NULL :
		memchr(msg, '\0', (size_t)(end - msg));

	if (msg_end == NULL || msg_end + 1 == end || end[-1] != '\0') {
		err_set(ERR_PROTOCOL, "a worker's failure report is malformed");
		return;
	}
	memcpy(&code, data, sizeof(code));
	const struct err_value v = { .code = (enum err_code)code, .msg = msg,
		.hints = msg_end + 1 };
	err_restore(&v);
}
