/*
 * pool_frame: bytes, for both sides of the pool.
 */
#include "work/pool_intern.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

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
