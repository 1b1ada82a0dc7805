libstrata_a_SOURCES += src/pg/page.c src/pg/page.h
libstrata_a_SOURCES += src/pg/version.c src/pg/version.h
libstrata_a_SOURCES += src/pg/control.c src/pg/control.h
libstrata_a_SOURCES += src/pg/wal.c src/pg/wal.h
libstrata_a_SOURCES += src/pg/timeline.c src/pg/timeline.h
libstrata_a_SOURCES += src/pg/conn.c src/pg/conn.h
libstrata_a_SOURCES += src/pg/backup_api.c src/pg/backup_api.h
libstrata_a_SOURCES += src/pg/standby.c src/pg/standby.h
