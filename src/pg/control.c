/*
 * control: pg_control read and made invalid.
 *
 * Numbers are in native order: pg_control is only read where its cluster can run.  Nothing behind
 * the identification is believed before the CRC was found right.
 */
#include "pg/control.h"

#include <string.h>
#include "pg/wal.h"

enum { AT_SYSTEM_ID = 0, AT_CONTROL = 8, AT_CATALOG = 12, AT_CHECKPOINT = 32 };

/* Of the reflected polynomial 0x82F63B78, a nibble at a time: pg_control has but 300 bytes. */
static const uint32_t nibbles[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
	0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
	0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t crc32c(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t crc = 0xFFFFFFFF;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		crc = (crc >> 4) ^ nibbles[crc & 15];
		crc = (crc >> 4) ^ nibbles[crc & 15];
	}
	return ~crc;
}

static uint32_t get_u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t get_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static bool crc_fits(const uint8_t *bytes, const struct pg_version *v)
{
	return crc32c(bytes, v->at_crc) == get_u32(bytes + v->at_crc);
}

static int unknown_version(const uint8_t *bytes)
{
	err_set(ERR_VERSION_NOT_SUPPORTED,
		"unexpected control version = %u and catalog version = %u",
		get_u32(bytes + AT_CONTROL), get_u32(bytes + AT_CATALOG));
	return err_hint("is this version of PostgreSQL supported?");
}

static int wrong_crc(const uint8_t *bytes, const struct pg_version *v)
{
	err_set(ERR_CHECKSUM, "calculated pg_control checksum does not match expected value");
	err_hint("calculated 0x%x but expected value is 0x%x", crc32c(bytes, v->at_crc),
		get_u32(bytes + v->at_crc));
	err_hint("is pg_control corrupt?");
	return err_hint("does pg_control have a different layout than expected?");
}

static bool page_size_is_valid(uint32_t size)
{
	return size >= 1024 && size <= 32768 && (size & (size - 1)) == 0;
}

static int check_sizes(const struct pg_control *c)
{
	if (!wal_segment_size_is_valid(c->wal_segment_size))
		return err_set(ERR_FORMAT,
			"WAL segment size is %u but must be a power of two from 1 MiB to 1 GiB",
			c->wal_segment_size);
	if (!page_size_is_valid(c->page_size))
		return err_set(ERR_FORMAT,
			"page size is %u but must be a power of two from 1 KiB to 32 KiB",
			c->page_size);
	return 0;
}

/* 0 is off, 1 on.  19 added 2 and 3 for clusters on the way to one or the other: some of their
 * pages have no checksum yet or no more, so none can be relied on. */
static int read_checksums(uint32_t value, struct pg_control *c)
{
	uint32_t last = c->version->num < 190000 ? 1 : 3;

	if (value > last)
		return err_set(ERR_FORMAT, "data checksum version is %u but must be at most %u",
			value, last);
	c->checksums = value == 1;
	return 0;
}

int pg_control_parse(const uint8_t *bytes, const struct pg_version *forced, struct pg_control *out)
{
	struct pg_control c = {
		.system_id = get_u64(bytes + AT_SYSTEM_ID),
		.control_version = get_u32(bytes + AT_CONTROL),
		.catalog_version = get_u32(bytes + AT_CATALOG),
		.checkpoint = get_u64(bytes + AT_CHECKPOINT),
	};
	const struct pg_version *v = forced;

	if (v == NULL)
		v = pg_version_by_control(c.control_version, c.catalog_version);
	if (v == NULL)
		return unknown_version(bytes);
	if (!crc_fits(bytes, v))
		return wrong_crc(bytes, v);
	c.version = v;
	c.timeline = get_u32(bytes + v->at_timeline);
	c.page_size = get_u32(bytes + v->at_page_size);
	c.wal_segment_size = get_u32(bytes + v->at_segment_size);
	if (check_sizes(&c) != 0 || read_checksums(get_u32(bytes + v->at_checksum), &c) != 0)
		return -1;
	*out = c;
	return 0;
}

/* For a fork that pg-version-force admitted: the CRC itself tells where it stands. */
static const struct pg_version *version_by_crc(const uint8_t *bytes)
{
	const struct pg_version *v;

	for (unsigned i = 0; (v = pg_version_at(i)) != NULL; i++)
		if (crc_fits(bytes, v))
			return v;
	return NULL;
}

int pg_control_invalidate(uint8_t *bytes)
{
	const struct pg_version *v =
		pg_version_by_control(get_u32(bytes + AT_CONTROL), get_u32(bytes + AT_CATALOG));
	uint64_t invalid = PG_CHECKPOINT_INVALID;
	uint32_t crc;

	if (v == NULL)
		v = version_by_crc(bytes);
	if (v == NULL)
		return unknown_version(bytes);
	if (!crc_fits(bytes, v))
		return wrong_crc(bytes, v);
	memcpy(bytes + AT_CHECKPOINT, &invalid, sizeof(invalid));
	crc = crc32c(bytes, v->at_crc);
	memcpy(bytes + v->at_crc, &crc, sizeof(crc));
	return 0;
}
