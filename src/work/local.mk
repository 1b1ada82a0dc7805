libstrata_a_SOURCES += src/work/pool.c src/work/pool.h
libstrata_a_SOURCES += src/work/pool_frame.c src/work/pool_worker.c src/work/pool_intern.h
