/*
 * log: forms each line in one static buffer and writes it with one write(2) to each destination.
 *
 * Plain write(2), not the sys table: logging is no part of what fault tests count, and a log that
 * cannot be written must never change what the program does.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"

#define MESSAGE_MAX 32768
#define PREFIX_MAX 64
#define PROGRESS_INTERVAL_MS 100
#define BANNER "-------------------PROCESS START-------------------\n"
#define CLEAR_LINE "\r\033[K"

static struct {
	struct log_config config;
	unsigned process;
	int file; /* -1 if none */
	bool banner_due;
	bool progress_shown;
	int64_t progress_next_ms;
} logger = {
	.config = {.stderr_level = LOG_WARN, .process_width = 2},
	.file = -1,
};

/* A line being formed; one byte is always left for the line feed. */
struct line {
	char s[MESSAGE_MAX];
	size_t len;
};

static const char *const level_names[] = {
	"OFF", "ERROR", "WARN", "INFO", "DETAIL", "DEBUG", "TRACE"};

void log_configure(const struct log_config *cfg)
{
	logger.config = *cfg;
}

void log_process(unsigned number)
{
	logger.process = number;
}

bool log_wants(enum log_level level)
{
	const struct log_config *c = &logger.config;

	if (level == LOG_OFF)
		return false;
	return level <= c->console || level <= c->stderr_level ||
	       (level <= c->file && logger.file >= 0);
}

static void write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
}

static void line_add(struct line *l, const char *s, size_t len)
{
	size_t room = MESSAGE_MAX - 1 - l->len;

	if (len > room)
		len = room;
	memcpy(l->s + l->len, s, len);
	l->len += len;
}

/* The text, whose further lines start below the column where the first did. */
static void line_add_text(struct line *l, const char *text, size_t indent)
{
	static const char blanks[PREFIX_MAX + 1] =
		"                                                                ";

	for (;;) {
		size_t len = strcspn(text, "\n");

		line_add(l, text, len);
		if (text[len] == '\0')
			return;
		line_add(l, "\n", 1);
		line_add(l, blanks, indent);
		text += len + 1;
	}
}

/* "2026-11-20 11:30:47.722 P00   INFO: " */
static size_t form_prefix(char *out, enum log_level level, int64_t now_ms)
{
	const struct log_config *c = &logger.config;
	size_t len = 0;

	if (c->timestamp) {
		time_t seconds = now_ms / 1000;
		struct tm tm = {0};

		localtime_r(&seconds, &tm);
		len = strftime(out, PREFIX_MAX, "%Y-%m-%d %H:%M:%S", &tm);
		len += (size_t)snprintf(
			out + len, PREFIX_MAX - len, ".%03d ", (int)(now_ms % 1000));
	}
	len += (size_t)snprintf(out + len, PREFIX_MAX - len, "P%0*u %6s: ", (int)c->process_width,
		logger.process, level_names[level]);
	return len < PREFIX_MAX ? len : PREFIX_MAX - 1;
}

static void write_line(int fd, const char *prefix, size_t prefix_len, const char *text)
{
	static struct line l;

	l.len = 0;
	line_add(&l, prefix, prefix_len);
	line_add_text(&l, text, prefix_len);
	l.s[l.len++] = '\n';
	write_all(fd, l.s, l.len);
}

static void clear_progress(void)
{
	if (!logger.progress_shown)
		return;
	write_all(2, CLEAR_LINE, sizeof(CLEAR_LINE) - 1);
	logger.progress_shown = false;
}

static void write_banner(void)
{
	static const char banner[] = "\n" BANNER;
	struct stat st;
	bool has_content = fstat(logger.file, &st) == 0 && st.st_size > 0;

	write_all(logger.file, banner + !has_content, sizeof(banner) - 1 - !has_content);
	logger.banner_due = false;
}

/* Send a complete text (code and dry-run mark included) where its level is wanted. */
static void deliver(enum log_level level, const char *text)
{
	const struct log_config *c = &logger.config;
	char prefix[PREFIX_MAX];
	size_t len;

	clear_progress();
	if (level <= c->stderr_level) {
		len = (size_t)snprintf(prefix, sizeof(prefix), "%s: ", level_names[level]);
		write_line(2, prefix, len, text);
	}
	len = form_prefix(prefix, level, clock_now_ms());
	if (level > c->stderr_level && level <= c->console)
		write_line(1, prefix, len, text);
	if (level <= c->file && logger.file >= 0) {
		if (logger.banner_due)
			write_banner();
		write_line(logger.file, prefix, len, text);
	}
}

static void vprint(enum log_level level, const char *code, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));
static void vprint(enum log_level level, const char *code, const char *fmt, va_list ap)
{
	static char text[MESSAGE_MAX];
	int extra = level == LOG_DEBUG ? 4 : level == LOG_TRACE ? 8 : 0;

	int len = snprintf(text, sizeof(text), "%s%s%*s", code,
		logger.config.dry_run ? "[DRY-RUN] " : "", extra, "");
	vsnprintf(text + len, sizeof(text) - (size_t)len, fmt, ap);
	deliver(level, text);
}

void log_print(enum log_level level, const char *fmt, ...)
{
	int number = errno;
	va_list ap;

	if (!log_wants(level))
		return;
	va_start(ap, fmt);
	vprint(level, "", fmt, ap);
	va_end(ap);
	errno = number;
}

static void print_coded(const char *code, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void print_coded(const char *code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprint(LOG_ERROR, code, fmt, ap);
	va_end(ap);
}

void log_failure(void)
{
	char code[16];
	const char *hints = err_hints();

	if (!log_wants(LOG_ERROR))
		return;
	snprintf(code, sizeof(code), "[%03d]: ", (int)err_code());
	print_coded(code, "%s%s%s", err_msg(), hints[0] == '\0' ? "" : "\n", hints);
}

void log_file_open(const char *path)
{
	log_file_close();
	logger.file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	logger.banner_due = true;
	if (logger.file < 0)
		log_warn("unable to open log file '%s': %s\n"
			 "NOTE: process will continue without log file.",
			path, strerror(errno));
}

void log_file_close(void)
{
	if (logger.file >= 0)
		close(logger.file);
	logger.file = -1;
}

int log_file_descriptor(void)
{
	return logger.file;
}

static size_t terminal_width(void)
{
	struct winsize size;

	if (ioctl(2, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
		return 80;
	return size.ws_col;
}

void log_progress(const char *fmt, ...)
{
	char text[512] = CLEAR_LINE;
	const size_t start = sizeof(CLEAR_LINE) - 1;
	int64_t now = clock_mono_ms();
	va_list ap;

	if (fmt == NULL) {
		clear_progress();
		logger.progress_next_ms = 0;
		return;
	}
	if (now < logger.progress_next_ms || !isatty(2))
		return;
	logger.progress_next_ms = now + PROGRESS_INTERVAL_MS;
	va_start(ap, fmt);
	vsnprintf(text + start, sizeof(text) - start, fmt, ap);
	va_end(ap);
	/* a line that wraps could not be rewritten; the last column stays free */
	write_all(2, text, start + strnlen(text + start, terminal_width() - 1));
	logger.progress_shown = true;
}

int log_level_parse(const char *word)
{
	static const char *const words[] = {
		"off", "error", "warn", "info", "detail", "debug", "trace"};

	for (int i = LOG_OFF; i <= LOG_TRACE; i++) {
		if (strcmp(word, words[i]) == 0)
			return i;
	}
	return -1;
}
