/*
 * wal: names, LSNs, the header of a segment.
 *
 * A name is three numbers of eight hex digits: timeline, LSN / 2^32, segment within these 2^32
 * bytes.  Hex digits in names are upper case, as PostgreSQL writes them: two spellings of one
 * segment must not pass.
 */
#include "pg/wal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"

enum { HEADER_LONG = 0x0002 };

static const uint32_t SEGMENT_MIN = 1u << 20, SEGMENT_MAX = 1u << 30;

bool wal_segment_size_is_valid(uint32_t size)
{
	return size >= SEGMENT_MIN && size <= SEGMENT_MAX && (size & (size - 1)) == 0;
}

/* False also if the text ends before. */
static bool is_upper_hex(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!(s[i] >= '0' && s[i] <= '9') && !(s[i] >= 'A' && s[i] <= 'F'))
			return false;
	return true;
}

enum wal_kind wal_kind(const char *name)
{
	if (is_upper_hex(name, WAL_NAME)) {
		const char *rest = name + WAL_NAME;

		if (rest[0] == '\0')
			return WAL_SEGMENT;
		if (strcmp(rest, ".partial") == 0)
			return WAL_PARTIAL;
		if (rest[0] == '.' && is_upper_hex(rest + 1, 8) && strcmp(rest + 9, ".backup") == 0)
			return WAL_BACKUP;
		return WAL_OTHER;
	}
	if (is_upper_hex(name, 8) && strcmp(name + 8, ".history") == 0)
		return WAL_HISTORY;
	return WAL_OTHER;
}

static uint64_t per_log(uint32_t segment_size)
{
	return (UINT64_C(1) << 32) / segment_size;
}

bool wal_parse(const char *name, uint32_t segment_size, struct wal_pos *out)
{
	uint64_t timeline, log, within;

	if (!wal_segment_size_is_valid(segment_size) || !is_upper_hex(name, WAL_NAME))
		return false;
	if (!str_hex_to_u64(name, 8, &timeline) || !str_hex_to_u64(name + 8, 8, &log) ||
		!str_hex_to_u64(name + 16, 8, &within) || within >= per_log(segment_size))
		return false;
	out->timeline = (uint32_t)timeline;
	out->segment = log * per_log(segment_size) + within;
	return true;
}

void wal_name(struct wal_pos pos, uint32_t segment_size, char out[WAL_NAME + 1])
{
	snprintf(out, WAL_NAME + 1, "%08" PRIX32 "%08" PRIX32 "%08" PRIX32, pos.timeline,
		(uint32_t)(pos.segment / per_log(segment_size)),
		(uint32_t)(pos.segment % per_log(segment_size)));
}

uint64_t wal_segment_of(uint64_t lsn, uint32_t segment_size)
{
	return lsn / segment_size;
}

uint64_t wal_segment_before(uint64_t lsn, uint32_t segment_size)
{
	return lsn == 0 ? 0 : (lsn - 1) / segment_size;
}

bool lsn_parse(const char *text, uint64_t *out)
{
	const char *slash = strchr(text, '/');
	uint64_t high, low;

	if (slash == NULL)
		return false;
	size_t high_len = (size_t)(slash - text), low_len = strlen(slash + 1);
	if (high_len < 1 || high_len > 8 || low_len < 1 || low_len > 8)
		return false;
	if (!str_hex_to_u64(text, high_len, &high) || !str_hex_to_u64(slash + 1, low_len, &low))
		return false;
	*out = high << 32 | low;
	return true;
}

void lsn_print(uint64_t lsn, char out[24])
{
	snprintf(out, 24, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
}

int wal_header_parse(const uint8_t *bytes, struct wal_header *out)
{
	struct wal_header h = {0};
	uint16_t flags;

	/* native order: the segment comes from a cluster of this host */
	memcpy(&h.magic, bytes, 2);
	memcpy(&flags, bytes + 2, 2);
	memcpy(&h.timeline, bytes + 4, 4);
	memcpy(&h.page_addr, bytes + 8, 8);
	memcpy(&h.system_id, bytes + 24, 8);
	memcpy(&h.segment_size, bytes + 32, 4);
	if ((flags & HEADER_LONG) == 0)
		return err_set(ERR_FORMAT,
			"first page header in WAL file is expected to be in long format");
	h.version = pg_version_by_magic(h.magic);
	if (h.version == NULL) {
		err_set(ERR_VERSION_NOT_SUPPORTED, "unexpected WAL magic %u", h.magic);
		return err_hint("is this version of PostgreSQL supported?");
	}
	if (!wal_segment_size_is_valid(h.segment_size))
		return err_set(ERR_FORMAT,
			"WAL segment size is %u but must be a power of two from 1 MiB to 1 GiB",
			h.segment_size);
	*out = h;
	return 0;
}
