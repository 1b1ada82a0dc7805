/*
 * codec: the compressions of repository format 5, as one table.
 *
 * Streams are as format/blocks.md section 3 has them: gz one member (header without name, mtime 0, OS 3,
 * memory level 9), lz4 one frame with linked 64 KiB blocks and a content checksum, zst one frame
 * (format 5 writers set no checksum; ours does: every reader accepts it and damage is then found by the
 * decoder too), bz2 one stream.  Empty input gives a valid empty stream.
 *
 * Expanding: several frames in sequence are accepted for lz4, zst and gz; the last one must be complete
 * ("unexpected eof in compressed data", ERR_FORMAT) and nothing may follow a single-stream codec's end;
 * a window above 128 MiB is refused.
 *
 * The raw form (format/blocks.md 1.4: members of some bundles, super blocks) is shorter: gz one zlib stream
 * (RFC 1950), lz4 and zst a frame without content checksum; bz2 knows no other form than the normal
 * one.  Reading, the two forms of gz are different things and the wrong one is refused.
 *
 * Compressor contexts belong to the process: they are kept on a free list when a sink's arena goes and
 * are reset for the next one.  Output buffers are at least 64 KiB.
 */
#ifndef STREAM_CODEC_H
#define STREAM_CODEC_H

#include "stream/sink.h"

enum codec { CODEC_NONE, CODEC_GZ, CODEC_LZ4, CODEC_ZST, CODEC_BZ2, CODEC_COUNT };

struct codec_info {
	const char *name;   /* "zst", as in compress-type and in manifests */
	const char *suffix; /* ".zst"; "" for none */
	int level_default, level_min, level_max;
	struct sink *(*compress)(struct arena *a, struct sink *next, int level, bool raw);
	struct sink *(*expand)(struct arena *a, struct sink *next, bool raw);
};

const struct codec_info *codec_info(enum codec c);

/* False if the name is not in the table (no failure is set). */
bool codec_by_name(const char *name, enum codec *out);

/* The codec whose suffix the file name ends with; CODEC_NONE if none. */
enum codec codec_by_suffix(const char *file_name);

/* next itself for CODEC_NONE. */
struct sink *sink_compress(struct arena *a, enum codec c, int level, bool raw, struct sink *next);
struct sink *sink_expand(struct arena *a, enum codec c, bool raw, struct sink *next);

#endif
