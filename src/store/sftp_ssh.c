/*
 * sftp_ssh: connect, know the host, show the key, start the server's SFTP subsystem.
 *
 * libssh2 never blocks here.  It has one rule that its callers must keep: a packet that was sent in part must be
 * finished by the same call before any other is made (stuck).  Always true: the process that forked from the one that
 * connected sends nothing, not even a farewell; it only closes its copy of the socket.
 */
#include "store/sftp_ssh.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/file.h"
#include "base/lazy.h"
#include "base/path.h"
#include "base/sys.h"

#define WINDOW (4u * 1024 * 1024) /* bytes the server may send before we have taken them */
#define PACKET 32768u

struct ssh2 ssh2;

#define SYMBOL(name) {"libssh2_" #name, (void **)(void *)&ssh2.name},
static const struct lazy_symbol symbols[] = {SSH_FUNCTIONS(SYMBOL){NULL, NULL}};
#undef SYMBOL

enum stuck { STUCK_NOT, STUCK_READ, STUCK_WRITE };

struct ssh_link {
	struct sftp_link link;
	const struct sftp_server *server;
	LIBSSH2_SESSION *session;
	LIBSSH2_CHANNEL *channel;
	int fd;
	pid_t pid;
	enum stuck stuck;
};

const char *sftp_home_path(struct arena *a, const char *path)
{
	const char *home = getenv("HOME");

	if (strncmp(path, "~/", 2) != 0)
		return path;
	if (home == NULL || home[0] == '\0') {
		const struct passwd *pw = getpwuid(geteuid());
		home = pw == NULL ? "/" : pw->pw_dir;
	}
	return path_join(a, home, path + 2);
}

/* What libssh2 says about the last failure. */
static const char *cause(const struct ssh_link *l)
{
	char *text = NULL;
	int rc = ssh2.session_last_error(l->session, &text, NULL, 0);

	return rc == 0 || text == NULL || text[0] == '\0' ? "the connection was closed" : text;
}

static short directions(const struct ssh_link *l)
{
	int blocked = ssh2.session_block_directions(l->session);
	short events = (short)((blocked & LIBSSH2_SESSION_BLOCK_INBOUND ? POLLIN : 0) |
		(blocked & LIBSSH2_SESSION_BLOCK_OUTBOUND ? POLLOUT : 0));

	return events == 0 ? POLLIN : events;
}

/* While the connection is made: repeat what would block. */
static int again(struct ssh_link *l, struct deadline d)
{
	int ready = sftp_poll(l->fd, directions(l), d);

	if (ready == 0)
		return err_set(ERR_SERVICE, "timeout connecting to SFTP server '%s'", l->link.peer);
	return ready > 0 ? 0 : -1;
}

#define SETTLE(rc, l, d, call) \
	do \
		(rc) = (call); \
	while ((rc) == LIBSSH2_ERROR_EAGAIN && again((l), (d)) == 0)

static ssize_t lost(const struct ssh_link *l)
{
	return err_set(ERR_SERVICE, "connection to SFTP server '%s' lost: %s", l->link.peer, cause(l));
}

static bool blocked_sending(const struct ssh_link *l)
{
	return (ssh2.session_block_directions(l->session) & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0;
}

static ssize_t ssh_read(struct sftp_link *link, void *data, size_t len)
{
	struct ssh_link *l = (struct ssh_link *)link;

	if (l->stuck == STUCK_WRITE || len == 0)
		return 0;
	ssize_t n = ssh2.channel_read_ex(l->channel, 0, data, len);
	l->stuck = n == LIBSSH2_ERROR_EAGAIN && blocked_sending(l) ? STUCK_READ : STUCK_NOT;
	if (n == LIBSSH2_ERROR_EAGAIN)
		return 0;
	if (n == 0 && ssh2.channel_eof(l->channel) != 0)
		return err_set(ERR_SERVICE, "connection to SFTP server '%s' lost: the server ended it", link->peer);
	return n < 0 ? lost(l) : n;
}

static ssize_t ssh_write(struct sftp_link *link, const void *data, size_t len)
{
	struct ssh_link *l = (struct ssh_link *)link;

	if (l->stuck == STUCK_READ)
		return 0;
	ssize_t n = ssh2.channel_write_ex(l->channel, 0, data, len);
	l->stuck = n == LIBSSH2_ERROR_EAGAIN && blocked_sending(l) ? STUCK_WRITE : STUCK_NOT;
	if (n == LIBSSH2_ERROR_EAGAIN)
		return 0;
	return n < 0 ? lost(l) : n;
}

static int ssh_wait(struct sftp_link *link, bool writing, struct deadline d)
{
	struct ssh_link *l = (struct ssh_link *)link;

	return sftp_poll(l->fd, directions(l), d);
}

/* The socket goes first: libssh2 would wait for the server's farewell otherwise. */
static void shut(void *ctx)
{
	struct ssh_link *l = ctx;
	bool ours = l->pid == getpid();

	if (ours && l->session != NULL && l->stuck == STUCK_NOT)
		ssh2.session_disconnect_ex(l->session, SSH_DISCONNECT_BY_APPLICATION, "", "");
	if (l->fd >= 0)
		close(l->fd);
	if (ours && l->session != NULL)
		ssh2.session_free(l->session);
	l->session = NULL;
	l->fd = -1;
}

static int connect_one(struct ssh_link *l, const struct addrinfo *to, struct deadline d)
{
	int number = 0;
	socklen_t size = sizeof(number);

	l->fd = socket(to->ai_family, to->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, to->ai_protocol);
	if (l->fd < 0)
		return err_sys(ERR_HOST_CONNECT, "unable to connect to '%s'", l->link.peer);
	if (connect(l->fd, to->ai_addr, to->ai_addrlen) == 0)
		return 0;
	if (errno == EINPROGRESS) {
		int ready = sftp_poll(l->fd, POLLOUT, d);
		if (ready <= 0)
			return ready < 0 ? -1 : err_set(ERR_HOST_CONNECT, "timeout connecting to '%s'", l->link.peer);
		if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &number, &size) == 0)
			errno = number;
	}
	return errno == 0 ? 0 : err_sys(ERR_HOST_CONNECT, "unable to connect to '%s'", l->link.peer);
}

static int connect_any(struct ssh_link *l, struct deadline d)
{
	const struct addrinfo want = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found;
	char port[16];

	snprintf(port, sizeof(port), "%u", l->server->port);
	int rc = getaddrinfo(l->server->host, port, &want, &found);
	if (rc != 0) {
		(void)err_set(ERR_HOST_CONNECT, "unable to get address for '%s': [%d] %s", l->server->host, rc,
			gai_strerror(rc));
		return err_hint("is 'repo-sftp-host' right?");
	}
	rc = -1;
	for (const struct addrinfo *to = found; to != NULL && rc != 0; to = to->ai_next) {
		if (l->fd >= 0)
			close(l->fd);
		rc = connect_one(l, to, d);
		if (err_code() == ERR_TERM)
			break;
	}
	freeaddrinfo(found);
	if (rc != 0)
		return -1;
	err_clear(); /* of an address that did not answer */
	return 0;
}

/* Requests are small and each is waited for; and a connection that a router forgot ends some day. */
static void tune(const struct ssh_link *l)
{
	const int on = 1, idle = 60;

	(void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(l->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(l->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
}

static int greet(struct arena *a, struct ssh_link *l, struct deadline d)
{
	struct host_keys *keys;
	int rc;

	l->session = ssh2.session_init_ex(NULL, NULL, NULL, NULL);
	if (l->session == NULL)
		arena_out_of_memory();
	ssh2.session_set_blocking(l->session, 0);
	keys = host_keys_new(a, l->session, l->server);
	if (host_keys_prefer(keys) != 0)
		return -1;
	SETTLE(rc, l, d, ssh2.session_handshake(l->session, l->fd));
	if (rc == LIBSSH2_ERROR_EAGAIN)
		return -1;
	if (rc != 0) {
		(void)err_set(ERR_SERVICE, "unable to begin an SSH session with '%s': [%d] %s", l->link.peer, rc, cause(l));
		return err_hint("is it an SSH server, and does it have an algorithm in common with libssh2 (man 3 "
			"libssh2_session_method_pref)?");
	}
	return host_keys_check(keys);
}

static int readable(struct arena *a, const char *option, const char **file)
{
	*file = sftp_home_path(a, *file);
	int fd = sys.open(*file, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);

	if (fd < 0)
		return err_sys(errno == ENOENT ? ERR_FILE_MISSING : ERR_FILE_OPEN, "unable to open %s '%s'", option, *file);
	close(fd);
	return 0;
}

static int key_refused(const struct ssh_link *l, const char *file, int rc)
{
	const struct sftp_server *o = l->server;

	(void)err_set(ERR_SERVICE, "unable to log in to '%s' as user '%s' with private key '%s': [%d] %s", l->link.peer,
		o->user, file, rc, cause(l));
	if (rc == LIBSSH2_ERROR_FILE || rc == LIBSSH2_ERROR_KEYFILE_AUTH_FAILED)
		return err_hint(o->passphrase == NULL ? "does the key need repo-sftp-private-key-passphrase?" :
			"is repo-sftp-private-key-passphrase right?");
	(void)err_hint("is the public key in the user's authorized_keys on the server?");
	return err_hint("libssh2 before 1.11 has no RSA signatures that current servers accept: take an ed25519 or ECDSA "
		"key.");
}

static int log_in(struct arena *a, struct ssh_link *l, struct deadline d)
{
	const struct sftp_server *o = l->server;
	const char *private_key = o->private_key, *public_key = o->public_key;
	int rc;

	if (readable(a, "private key", &private_key) != 0 ||
		(public_key != NULL && readable(a, "public key", &public_key) != 0))
		return -1;
	/* without a passphrase libssh2 gets an empty one, so that nothing asks the terminal */
	SETTLE(rc, l, d, ssh2.userauth_publickey_fromfile_ex(l->session, o->user, (unsigned)strlen(o->user), public_key,
		private_key, o->passphrase == NULL ? "" : o->passphrase));
	if (rc == LIBSSH2_ERROR_EAGAIN)
		return -1;
	return rc == 0 ? 0 : key_refused(l, private_key, rc);
}

static int start_sftp(struct ssh_link *l, struct deadline d)
{
	int rc = LIBSSH2_ERROR_EAGAIN;

	while ((l->channel = ssh2.channel_open_ex(l->session, "session", strlen("session"), WINDOW, PACKET, NULL, 0)) ==
		NULL) {
		rc = ssh2.session_last_error(l->session, NULL, NULL, 0);
		if (rc != LIBSSH2_ERROR_EAGAIN)
			return err_set(ERR_SERVICE, "unable to open a channel to '%s': [%d] %s", l->link.peer, rc, cause(l));
		if (again(l, d) != 0)
			return -1;
	}
	SETTLE(rc, l, d, ssh2.channel_process_startup(l->channel, "subsystem", strlen("subsystem"), "sftp", strlen("sftp")));
	if (rc == LIBSSH2_ERROR_EAGAIN)
		return -1;
	if (rc != 0)
		return err_set(ERR_SERVICE, "unable to start SFTP on '%s': [%d] %s", l->link.peer, rc, cause(l));
	/* what it says on stderr would fill the window */
	SETTLE(rc, l, d, ssh2.channel_handle_extended_data2(l->channel, LIBSSH2_CHANNEL_EXTENDED_DATA_IGNORE));
	return rc == LIBSSH2_ERROR_EAGAIN ? -1 : 0;
}

struct sftp_link *sftp_ssh_open(struct arena *a, void *ctx, struct deadline d)
{
	const struct sftp_server *server = ctx;
	struct ssh_link *l = arena_new_object(a, struct ssh_link);

	if (lazy_load("libssh2.so.1", "libssh2-1", symbols) != 0)
		return NULL;
	if (ssh2.init(0) != 0)
		return err_null(ERR_SERVICE, "unable to initialise libssh2");
	*l = (struct ssh_link){
		.link = { .peer = arena_printf(a, "%s:%u", server->host, server->port), .read = ssh_read,
			.write = ssh_write, .wait = ssh_wait },
		.server = server,
		.fd = -1,
		.pid = getpid(),
	};
	arena_defer(a, shut, l);
	if (connect_any(l, d) != 0)
		return NULL;
	tune(l);
	if (greet(a, l, d) != 0 || log_in(a, l, d) != 0 || start_sftp(l, d) != 0)
		return NULL;
	return &l->link;
}
