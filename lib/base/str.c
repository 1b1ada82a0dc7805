/*
 * str: small text helpers; sizes and durations both ways.  No function looks at the locale.
 */
#include "base/str.h"

#include <string.h>
#include <strings.h>
#include "base/buf.h"
#include "base/enc.h"

#define BLANKS " \t\n\v\f\r"

bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
	size_t len = strlen(s), tail = strlen(suffix);

	return len >= tail && memcmp(s + len - tail, suffix, tail) == 0;
}

bool str_all(const char *s, size_t len, const char *set)
{
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\0' || strchr(set, s[i]) == NULL)
			return false;
	}
	return len > 0;
}

char *str_trim(struct arena *a, const char *s)
{
	s += strspn(s, BLANKS);
	size_t len = strlen(s);
	while (len > 0 && strchr(BLANKS, s[len - 1]) != NULL)
		len--;
	return arena_strndup(a, s, len);
}

strvec str_split(struct arena *a, const char *s, char sep)
{
	strvec parts;

	vec_init(&parts, a);
	for (;;) {
		const char *end = strchrnul(s, sep);

		vec_push(&parts, arena_strndup(a, s, (size_t)(end - s)));
		if (*end == '\0')
			return parts;
		s = end + 1;
	}
}

char *str_join(struct arena *a, const strvec *parts, const char *sep)
{
	struct buf b;

	buf_init(&b, a);
	for (size_t i = 0; i < parts->n; i++) {
		if (i > 0)
			buf_adds(&b, sep);
		buf_adds(&b, parts->v[i]);
	}
	return b.data;
}

/* The digits at the start of s, at least one; *end is behind them.  False on overflow too. */
static bool leading_number(const char *s, const char **end, uint64_t *out)
{
	uint64_t n = 0;
	const char *p = s;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(n, 10U, &n) ||
			__builtin_add_overflow(n, (uint64_t)(*p - '0'), &n))
			return false;
	}
	*end = p;
	*out = n;
	return p > s;
}

/* As leading_number, with an optional sign. */
static bool leading_signed(const char *s, const char **end, int64_t *out)
{
	bool negative = s[0] == '-';
	uint64_t n;

	if (!leading_number(s + (s[0] == '-' || s[0] == '+'), end, &n) ||
		n > (uint64_t)INT64_MAX + negative)
		return false;
	*out = negative ? (int64_t)(0 - n) : (int64_t)n;
	return true;
}

bool str_to_i64(const char *s, int64_t *out)
{
	const char *end;
	int64_t n;

	if (!leading_signed(s, &end, &n) || *end != '\0')
		return false;
	*out = n;
	return true;
}

bool str_to_u64(const char *s, uint64_t *out)
{
	const char *end;
	uint64_t n;

	if (!leading_number(s, &end, &n) || *end != '\0')
		return false;
	*out = n;
	return true;
}

bool str_hex_to_u64(const char *s, size_t len, uint64_t *out)
{
	char padded[16];
	unsigned char bytes[8];
	uint64_t n = 0;

	if (len == 0 || len > sizeof(padded))
		return false;
	memset(padded, '0', sizeof(padded));
	memcpy(padded + sizeof(padded) - len, s, len);
	if (!hex_decode(padded, bytes, sizeof(bytes)))
		return false;
	for (size_t i = 0; i < sizeof(bytes); i++)
		n = n << 8 | bytes[i];
	*out = n;
	return true;
}

bool str_to_size(const char *s, uint64_t *bytes)
{
	static const char units[] = "bkmgtp";
	const char *unit;
	uint64_t n;

	if (!leading_number(s, &unit, &n) || n > INT64_MAX)
		return false;
	if (unit[0] != '\0') {
		const char *at = strchr(units, unit[0] | 0x20);
		const char *rest = unit + 1;

		if (at == NULL || *at == '\0')
			return false;
		bool plain = rest[0] == '\0';
		bool suffixed = strcasecmp(rest, "b") == 0 || strcasecmp(rest, "ib") == 0;
		if (!plain && (at == units || !suffixed))
			return false;
		unsigned shift = (unsigned)(at - units) * 10;
		if (n > (uint64_t)INT64_MAX >> shift)
			return false;
		n <<= shift;
	}
	*bytes = n;
	return true;
}

bool str_to_duration(const char *s, int64_t *ms)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000},
		{"d", 86400000}, {"w", 604800000}};
	const char *unit;
	int64_t n;

	if (!leading_signed(s, &unit, &n))
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcasecmp(unit, units[i].name) == 0)
			return !__builtin_mul_overflow(n, units[i].ms, ms);
	}
	return false;
}

char *str_size(struct arena *a, uint64_t bytes)
{
	static const char *const units[] = {"B", "KB", "MB", "GB"};
	unsigned u = 0;

	while (u < 3 && bytes >> (u * 10) >= 1024)
		u++;
	uint64_t unit = UINT64_C(1) << (u * 10);
	unsigned long long whole = bytes / unit;
	unsigned tenth = (unsigned)((bytes % unit * 10 + unit / 2) / unit);
	if (tenth == 10)
		whole++;
	if (tenth % 10 == 0)
		return arena_printf(a, "%llu%s", whole, units[u]);
	return arena_printf(a, "%llu.%u%s", whole, tenth, units[u]);
}

int str_cmp_ptr(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}
