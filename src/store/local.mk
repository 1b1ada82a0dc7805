libstrata_a_SOURCES += src/store/pipe.c src/store/pipe.h
libstrata_a_SOURCES += src/store/store.c src/store/store.h
libstrata_a_SOURCES += src/store/posix.c src/store/posix_put.c src/store/posix_link.c src/store/posix_intern.h
libstrata_a_SOURCES += src/store/mem.c src/store/fault.c
