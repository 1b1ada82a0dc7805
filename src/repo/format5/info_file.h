/*
 * info_file: what archive.info, backup.info and backup.manifest have in common: a main file and its
 * copy, a checked format number, a checksum, sections that a field table describes.
 */
#ifndef REPO_FORMAT5_INFO_FILE_H
#define REPO_FORMAT5_INFO_FILE_H

#include "form/fields.h"
#include "form/ini.h"
#include "store/store.h"

#define INFO_FORMAT 5

/* What the file says of itself; the strings live in info_load's arena. */
struct info_head {
	const char *program;	 /* "" if it does not say */
	/* [cipher] (8.2); NULL if it was loaded without a pass, unless the store opens what it gives */
	const char *cipher_pass;
};

struct info_parser {
	void (*begin)(void *ctx); /* before each file: forget what was delivered so far */
	ini_fn *entry;		  /* all sections except [backrest] and [cipher] */
	/* format and checksum are right: complete it */
	int (*end)(void *ctx, const struct info_head *head);
};

/*
 * Main file, then its copy: 0, STORE_ABSENT if both are proven absent, -1 with both reasons.  A
 * main file that is there but of no use is a warning if the copy serves.  pass: the file is
 * encrypted with it; NULL: it is plain.
 *
 * Files that are sound but not for this program as it is set up (format 6, encrypted without a pass,
 * plain in spite of one) are refused at once: a copy that a migration left behind must not pass for
 * the truth, or the next save would undo the migration.  What does not come out as text with this
 * passphrase is ERR_CRYPTO, never a failure of the text and never "absent".
 */
int info_load(struct arena *a, struct store *repo, const char *path, const char *pass,
	const struct info_parser *parser, void *ctx) must_check;

/* Main file, then the copy, each atomically and durable; the same stored bytes in both (2.8), encrypted if
 * there is a pass. */
int info_save(struct store *repo, const char *path, const char *pass, const struct buf *text) must_check;

/* Before a save: a file is encrypted if and only if it names the passphrase of what depends on it. */
int info_check_keys(const char *pass, const char *cipher_pass) must_check;

/* An entry's value as a tree. */
struct json *info_value(struct arena *a, const char *value, size_t len) must_check;

/* The key of a [db:history] line; ERR_FORMAT if it is no history id. */
int info_history_id(const char *key, uint32_t *out) must_check;

/* A version stands in paths (archive ids), so nothing but "15" or "9.6" is let in; NULL neither. */
int info_check_version(const char *version) must_check;

/* A section whose keys are the members of one struct: collected entry by entry, then read as a
 * whole. */
struct info_section {
	struct json object;
	struct json *last;
};
int info_section_add(struct arena *a, struct info_section *s, const char *key, const char *value,
	size_t len) must_check;

/* Writing.  A failure sticks: the calls after it do nothing and info_out_finish reports it. */
struct info_out {
	struct ini_writer *ini;
	struct buf value;
	struct json_out json; /* of the value that is being made */
	bool failed;
};

/* Starts with the [backrest] section. */
void info_out_begin(struct info_out *o, struct arena *a, struct sink *to, const char *program);
void info_out_section(struct info_out *o, const char *name);
/* [cipher]; nothing for NULL. */
void info_out_cipher(struct info_out *o, const char *cipher_pass);
/* Make a value through the writer that value gives, then name it. */
struct json_out *info_out_value(struct info_out *o);
void info_out_entry(struct info_out *o, const char *key);
/* One line key={...} from a table. */
void info_out_row(
	struct info_out *o, const char *key, const struct field *fields, const void *object);
/* One line key=value per member of a table. */
void info_out_fields(struct info_out *o, const struct field *fields, const void *object);
int info_out_finish(struct info_out *o) must_check;

#endif
