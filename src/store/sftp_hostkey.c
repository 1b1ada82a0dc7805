/*
 * sftp_hostkey: is it the host that is meant?
 *
 * strict: its key stands in a known hosts file.  accept-new: the same, but a host that no file knows is written down.
 * fingerprint: a hash of its key is the configured one.  none: whoever answers.  Always true: a host that is known with
 * another key is refused, except by none and fingerprint, which do not look.
 */
#include "store/sftp_ssh.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/enc.h"
#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"

#define FILE_MAX ((size_t)16 * 1024 * 1024)

struct host_keys {
	struct arena *arena;
	LIBSSH2_SESSION *session;
	const struct sftp_server *server;
	LIBSSH2_KNOWNHOSTS *known;
	strvec files; /* as paths */
};

static const struct kind {
	int type;   /* of libssh2_session_hostkey */
	int mask;   /* of libssh2_knownhost_checkp */
	const char *methods;
} kinds[] = {
	{ LIBSSH2_HOSTKEY_TYPE_ED25519, LIBSSH2_KNOWNHOST_KEY_ED25519, "ssh-ed25519" },
	{ LIBSSH2_HOSTKEY_TYPE_ECDSA_256, LIBSSH2_KNOWNHOST_KEY_ECDSA_256, "ecdsa-sha2-nistp256" },
	{ LIBSSH2_HOSTKEY_TYPE_ECDSA_384, LIBSSH2_KNOWNHOST_KEY_ECDSA_384, "ecdsa-sha2-nistp384" },
	{ LIBSSH2_HOSTKEY_TYPE_ECDSA_521, LIBSSH2_KNOWNHOST_KEY_ECDSA_521, "ecdsa-sha2-nistp521" },
	{ LIBSSH2_HOSTKEY_TYPE_RSA, LIBSSH2_KNOWNHOST_KEY_SSHRSA, "rsa-sha2-512,rsa-sha2-256,ssh-rsa" },
};
#define KINDS (sizeof(kinds) / sizeof(*kinds))

static bool looks_at_files(const struct host_keys *k)
{
	return k->server->check == SFTP_CHECK_STRICT || k->server->check == SFTP_CHECK_ACCEPT_NEW;
}

static void free_known(void *ctx)
{
	ssh2.knownhost_free(ctx);
}

struct host_keys *host_keys_new(struct arena *a, LIBSSH2_SESSION *session, const struct sftp_server *server)
{
	static const char *const usual[] = { "~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts",
		"/etc/ssh/ssh_known_hosts2" };
	struct host_keys *k = arena_new_object(a, struct host_keys);

	k->arena = a;
	k->session = session;
	k->server = server;
	vec_init(&k->files, a);
	for (size_t i = 0; i < server->known_hosts.n; i++)
		vec_push(&k->files, sftp_home_path(a, server->known_hosts.v[i]));
	for (size_t i = 0; server->known_hosts.n == 0 && i < sizeof(usual) / sizeof(*usual); i++)
		vec_push(&k->files, sftp_home_path(a, usual[i]));
	return k;
}

static int checkp(struct host_keys *k, const char *key, size_t len, int how)
{
	return ssh2.knownhost_checkp(k->known, k->server->host, (int)k->server->port, key, len,
		LIBSSH2_KNOWNHOST_TYPE_PLAIN | how, NULL);
}

/* Line by line, because libssh2 takes a line that it does not understand for the end of the file. */
static int read_known(struct host_keys *k, const char *file)
{
	SCOPED_ARENA(a);
	struct buf b;

	buf_init(&b, a);
	if (file_read(file, FILE_MAX, &b) != 0) {
		if (err_code() != ERR_FILE_MISSING)
			return -1;
		err_clear();
		return 0;
	}
	const strvec lines = str_split(a, b.data, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		/* what is meant for authorities and revocations says nothing about a key that we could use */
		if (lines.v[i][0] != '@' && lines.v[i][0] != '#')
			(void)ssh2.knownhost_readline(k->known, lines.v[i], strlen(lines.v[i]),
				LIBSSH2_KNOWNHOST_FILE_OPENSSH);
	}
	return 0;
}

/* A key that cannot be: where the host is known by one of that kind, it is another one. */
static bool known_by(struct host_keys *k, const struct kind *kind)
{
	return checkp(k, "AAAA", 0, LIBSSH2_KNOWNHOST_KEYENC_BASE64 | kind->mask) == LIBSSH2_KNOWNHOST_CHECK_MISMATCH;
}

int host_keys_prefer(struct host_keys *k)
{
	struct buf methods;

	if (!looks_at_files(k))
		return 0;
	k->known = ssh2.knownhost_init(k->session);
	if (k->known == NULL)
		arena_out_of_memory();
	arena_defer(k->arena, free_known, k->known);
	for (size_t i = 0; i < k->files.n; i++)
		if (read_known(k, k->files.v[i]) != 0)
			return -1;
	buf_init(&methods, k->arena);
	for (size_t i = 0; i < KINDS; i++)
		if (known_by(k, &kinds[i]))
			buf_addf(&methods, "%s%s", methods.len == 0 ? "" : ",", kinds[i].methods);
	/* it leaves out what it does not have; with nothing left its own order remains */
	if (methods.len > 0)
		(void)ssh2.session_method_pref(k->session, LIBSSH2_METHOD_HOSTKEY, methods.data);
	return 0;
}

static int add_line(const char *file, const char *line)
{
	int fd = sys.open(file, O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY, 0600);

	if (fd < 0)
		return -1;
	int rc = sys_write_full(fd, line, strlen(line));
	return sys.close(fd) != 0 ? -1 : rc;
}

/* As ssh does.  Not being able to is no reason not to work; the next run will say the same again. */
static void remember(struct host_keys *k, const char *key, size_t len)
{
	const struct sftp_server *o = k->server;
	const unsigned char *p = (const unsigned char *)key;
	size_t name_len = len < 4 ? 0 : (size_t)p[2] << 8 | p[3];
	char *base64 = arena_alloc(k->arena, BASE64_SIZE(len));
	const char *file = k->files.v[0];

	if (len < 4 || name_len > len - 4)
		return;
	base64_encode(key, len, base64);
	const char *host = o->port == 22 ? o->host : arena_printf(k->arena, "[%s]:%u", o->host, o->port);
	const char *line = arena_printf(k->arena, "%s %.*s %s\n", host, (int)name_len, key + 4, base64);
	int rc = add_line(file, line);
	if (rc != 0 && errno == ENOENT && dir_make(path_parent(k->arena, file), 0700) == 0)
		rc = add_line(file, line);
	if (rc == 0) {
		log_info("SFTP host '%s' is new and was added to '%s'", host, file);
		return;
	}
	log_warn("unable to add SFTP host '%s' to '%s': %s", host, file, err_code() == ERR_NONE ? strerror(errno) : err_msg());
	err_clear();
}

static int check_files(struct host_keys *k)
{
	const struct sftp_server *o = k->server;
	size_t len = 0;
	int type = 0, mask = LIBSSH2_KNOWNHOST_KEY_UNKNOWN;
	const char *key = ssh2.session_hostkey(k->session, &len, &type);

	if (key == NULL)
		return err_set(ERR_SERVICE, "SFTP host '%s:%u' has shown no key", o->host, o->port);
	for (size_t i = 0; i < KINDS; i++)
		if (kinds[i].type == type)
			mask = kinds[i].mask;
	int found = checkp(k, key, len, LIBSSH2_KNOWNHOST_KEYENC_RAW | mask);
	if (found == LIBSSH2_KNOWNHOST_CHECK_MATCH)
		return 0;
	if (found == LIBSSH2_KNOWNHOST_CHECK_NOTFOUND && o->check == SFTP_CHECK_ACCEPT_NEW) {
		remember(k, key, len);
		return 0;
	}
	const char *where = str_join(k->arena, &k->files, "', '");
	if (found == LIBSSH2_KNOWNHOST_CHECK_MISMATCH) {
		(void)err_set(ERR_SERVICE, "the key of SFTP host '%s:%u' is not the one in known hosts files '%s'", o->host, o->port,
			where);
		return err_hint("was the host set up anew, or is somebody else answering in its place?");
	}
	(void)err_set(ERR_SERVICE, "SFTP host '%s:%u' was not found in known hosts files '%s'", o->host, o->port, where);
	return err_hint("add its key with ssh-keyscan, after checking it, or use repo-sftp-host-key-check-type=accept-new.");
}

/* "aa:bb" and "AABB" are the same. */
static bool same_hex(const char *given, const char *hex)
{
	for (; *given != '\0'; given++) {
		if (*given == ':' || *given == ' ')
			continue;
		if (tolower((unsigned char)*given) != *hex++)
			return false;
	}
	return *hex == '\0';
}

static bool same_base64(const char *given, const char *base64)
{
	size_t len = strcspn(base64, "=");

	return strncasecmp(given, "SHA256:", 7) == 0 && strcspn(given + 7, "=") == len &&
		strncmp(given + 7, base64, len) == 0;
}

static int check_fingerprint(struct host_keys *k)
{
	const struct sftp_server *o = k->server;
	bool sha256 = strcmp(o->hash, "sha256") == 0, md5 = strcmp(o->hash, "md5") == 0;
	size_t len = sha256 ? 32 : md5 ? 16 : 20;
	char hex[65], base64[BASE64_SIZE(32)];
	const char *sum = ssh2.hostkey_hash(k->session, sha256 ? LIBSSH2_HOSTKEY_HASH_SHA256 :
		md5 ? LIBSSH2_HOSTKEY_HASH_MD5 : LIBSSH2_HOSTKEY_HASH_SHA1);

	if (sum == NULL)
		return err_set(ERR_SERVICE, "unable to get the %s hash of the key of SFTP host '%s:%u'", o->hash, o->host, o->port);
	hex_encode(sum, len, hex);
	base64_encode(sum, len, base64);
	if (same_hex(o->fingerprint, hex) || (sha256 && same_base64(o->fingerprint, base64)))
		return 0;
	(void)err_set(ERR_SERVICE, "the key of SFTP host '%s:%u' has the %s fingerprint '%s', not '%s' as configured", o->host,
		o->port, o->hash, hex, o->fingerprint);
	return err_hint("is 'repo-sftp-host-fingerprint' right, and of the kind that 'repo-sftp-host-key-hash-type' names?");
}

int host_keys_check(struct host_keys *k)
{
	if (k->server->check == SFTP_CHECK_FINGERPRINT)
		return check_fingerprint(k);
	return looks_at_files(k) ? check_files(k) : 0;
}
