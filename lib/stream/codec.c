/*
 * codec: the table of compressions.  A codec is one file and one line here.
 */
#include "stream/codec.h"

#include <string.h>
#include "base/str.h"
#include "stream/coder.h"

static struct sink *none_compress(struct arena *a, struct sink *next, int level, bool raw)
{
	return next;
}

static struct sink *none_expand(struct arena *a, struct sink *next, bool raw)
{
	return next;
}

static const struct codec_info codecs[CODEC_COUNT] = {
	[CODEC_NONE] = {"none", "", 0, 0, 0, none_compress, none_expand},
	[CODEC_GZ] = {"gz", ".gz", 6, -1, 9, gz_compress, gz_expand},
	[CODEC_LZ4] = {"lz4", ".lz4", 1, -5, 12, lz4_compress, lz4_expand},
	[CODEC_ZST] = {"zst", ".zst", 3, -7, 22, zst_compress, zst_expand},
	[CODEC_BZ2] = {"bz2", ".bz2", 9, 1, 9, bz2_compress, bz2_expand},
};

const struct codec_info *codec_info(enum codec c)
{
	return &codecs[c];
}

bool codec_by_name(const char *name, enum codec *out)
{
	for (enum codec c = CODEC_NONE; c < CODEC_COUNT; c++) {
		if (strcmp(name, codecs[c].name) == 0) {
			*out = c;
			return true;
		}
	}
	return false;
}

enum codec codec_by_suffix(const char *file_name)
{
	for (enum codec c = CODEC_NONE + 1; c < CODEC_COUNT; c++) {
		if (str_ends(file_name, codecs[c].suffix))
			return c;
	}
	return CODEC_NONE;
}

struct sink *sink_compress(struct arena *a, enum codec c, int level, bool raw, struct sink *next)
{
	return codecs[c].compress(a, next, level, raw);
}

struct sink *sink_expand(struct arena *a, enum codec c, bool raw, struct sink *next)
{
	return codecs[c].expand(a, next, raw);
}
