/*
 * authorize: the line for authorized_keys with which the holder of a key may have what its roles say of one stanza,
 * and nothing else of this host.
 *
 * The line must mean the same to everybody who reads it: the command is quoted for a shell, then for sshd; the key is
 * one line of a type that we know, and nothing but the key, because options in front of it would be the other side's
 * word.
 */
#include "cmd/cmd.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/enc.h"
#include "base/file.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "config/load.h"
#include "config/values.h"
#include "store/remote_pack.h"
#include "stream/sink.h"

#define KEY_FILE_MAX ((size_t)64 * 1024)
#define KEY_MIN 64 /* characters of the shortest key */
#define BASE64 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

struct key {
	const char *type, *body, *comment; /* comment: "" if none */
};

/* --- the key --- */

static bool is_type(const char *word)
{
	static const char *const types[] = { "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
		"ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com" };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(word, types[i]) == 0)
			return true;
	return false;
}

/* A key begins with the length and the name of its type. */
static bool is_body_of(struct arena *a, const char *body, const char *type)
{
	size_t len = strlen(type), head = (sizeof(uint32_t) + len) / 3 * 3;
	uint8_t *bytes = arena_zalloc(a, sizeof(uint32_t) + len);
	char *text = arena_zalloc(a, BASE64_SIZE(head));
	size_t chars = strspn(body, BASE64), padding = strspn(body + chars, "=");

	bytes[3] = (uint8_t)len;
	memcpy(bytes + sizeof(uint32_t), type, len);
	base64_encode(bytes, head, text);
	return str_starts(body, text) && body[chars + padding] == '\0' && padding <= 2 &&
		(chars + padding) % 4 == 0 && chars >= KEY_MIN;
}

static bool is_plain_text(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return false;
	return true;
}

static int refuse(const char *name, const char *why)
{
	(void)err_set(ERR_FORMAT, "'%s' %s", name, why);
	return err_hint("what is needed is the public key of the other host, as ~/.ssh/id_ed25519.pub has it.");
}

static int parse_line(struct arena *a, const char *name, char *line, struct key *out)
{
	char *rest = line;

	out->type = strsep(&rest, " \t");
	if (!is_type(out->type)) {
		if (strstr(rest ? rest : "", "ssh-") || strstr(rest ? rest : "", "ecdsa-"))
			return refuse(name, "has something in front of the key: options are not for who wants to be let "
				"in to choose");
		return refuse(name, "is not a public key of OpenSSH of a type that pgStrata knows");
	}
	while (rest && (*rest == ' ' || *rest == '\t'))
		rest++;
	out->body = rest ? strsep(&rest, " \t") : "";
	out->comment = rest ? str_trim(a, rest) : "";
	if (!is_body_of(a, out->body, out->type))
		return refuse(name, "is not a whole public key");
	return is_plain_text(out->comment) ? 0 : refuse(name, "has a comment that is no plain text");
}

static int parse_key(struct arena *a, const char *name, const struct buf *text, struct key *out)
{
	const strvec lines = str_split(a, text->data, '\n');
	char *line = NULL;

	if (strlen(text->data) != text->len)
		return refuse(name, "is not a text");
	if (strstr(text->data, "PRIVATE KEY"))
		return refuse(name, "is a private key, which must not leave the host it belongs to");
	for (size_t i = 0; i < lines.n; i++) {
		char *one = str_trim(a, lines.v[i]);

		if (*one == '\0' || *one == '#')
			continue;
		if (line != NULL)
			return refuse(name, "has more than one line with a key");
		line = one;
	}
	return line != NULL ? parse_line(a, name, line, out) : refuse(name, "is empty");
}

static int read_key(struct arena *a, const char *name, struct key *out)
{
	struct buf text;

	buf_init(&text, a);
	if (strcmp(name, "-") != 0)
		return file_read(name, KEY_FILE_MAX, &text) != 0 ? -1 : parse_key(a, name, &text, out);
	buf_reserve(&text, KEY_FILE_MAX);

	ssize_t n = sys_read_full(STDIN_FILENO, text.data, KEY_FILE_MAX);

	if (n < 0)
		return err_sys(ERR_FILE_READ, "unable to read the key from standard input");
	text.len = (size_t)n;
	text.data[n] = '\0';
	return parse_key(a, "standard input", &text, out);
}

/* --- the command --- */

/* sshd's shell may look for programs elsewhere than the one that this program was called from. */
static int find_program(struct arena *a, const struct config *cfg, const char **out)
{
	const char *name = cfg->values->program, *path = getenv("PATH");
	const strvec dirs = str_split(a, path ? path : "", ':');
	char self[4096];

	*out = name;
	if (*name == '/')
		return 0;
	for (size_t i = 0; i < dirs.n; i++) {
		*out = path_join(a, dirs.v[i], name);
		if (dirs.v[i][0] == '/' && access(*out, X_OK) == 0)
			return 0;
	}

	ssize_t n = readlink("/proc/self/exe", self, sizeof(self));

	if (n <= 0 || (size_t)n == sizeof(self))
		return err_sys(ERR_EXECUTE, "unable to tell where the program '%s' is", name);
	*out = arena_strndup(a, self, (size_t)n);
	return 0;
}

static int add_command(struct arena *a, const struct config *cfg, struct buf *out)
{
	struct buf command;
	const char *program;

	if (find_program(a, cfg, &program) != 0)
		return -1;
	buf_init(&command, a);
	buf_add_shell(&command, program);
	buf_addf(&command, " %s serve", config_pass_on(a, cfg, CMD_SERVE));
	if (!is_plain_text(command.data))
		return err_set(ERR_OPTION_VALUE, "authorized_keys cannot hold a line feed or another control character: %s",
			command.data);
	for (const char *s = command.data; *s != '\0'; s++) {
		if (*s == '"')
			buf_addc(out, '\\');
		buf_addc(out, *s);
	}
	return 0;
}

static void say_where(void)
{
	const struct passwd *me = getpwuid(geteuid());

	fprintf(stderr, "append this line to %s/.ssh/authorized_keys of user %s on this host\n", me ? me->pw_dir : "~",
		me ? me->pw_name : "who owns its files");
}

int cmd_authorize(struct arena *a, const struct config *cfg)
{
	struct buf line;
	struct key key;
	uint32_t roles;

	if (cfg->params.n == 0) {
		(void)err_set(ERR_PARAM_REQUIRED, "a file with the public key of the other host must be named");
		return err_hint("'-' reads it from standard input.");
	}
	if (cfg->params.n > 1)
		return err_set(ERR_PARAM_INVALID, "one key at a time");
	if (remote_roles_parse(cfg->role, &roles) != 0 || read_key(a, cfg->params.v[0], &key) != 0)
		return -1;
	buf_init(&line, a);
	buf_adds(&line, "restrict,command=\"");
	if (add_command(a, cfg, &line) != 0)
		return -1;
	buf_addf(&line, "\" %s %s%s%s\n", key.type, key.body, *key.comment ? " " : "", key.comment);
	if (sink_write(sink_fd(a, STDOUT_FILENO, "standard output"), line.data, line.len) != 0)
		return -1;
	say_where();
	return 0;
}
