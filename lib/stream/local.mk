libbase_a_SOURCES += lib/stream/sink.c lib/stream/sink.h lib/stream/tee.c
libbase_a_SOURCES += lib/stream/idle.c lib/stream/idle.h
libbase_a_SOURCES += lib/stream/hash.c lib/stream/hash.h
libbase_a_SOURCES += lib/stream/hash_beside.c lib/stream/hash_beside.h
libbase_a_SOURCES += lib/stream/lines.c lib/stream/lines.h
libbase_a_SOURCES += lib/stream/codec.c lib/stream/codec.h lib/stream/coder.c lib/stream/coder.h
libbase_a_SOURCES += lib/stream/gzip.c lib/stream/zstd.c lib/stream/lz4.c lib/stream/bzip2.c
