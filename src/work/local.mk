libstrata_a_SOURCES += src/work/pool.c src/work/pool.h
libstrata_a_SOURCES += src/work/pool_frame.c src/work/pool_worker.c src/work/pool_intern.h
libstrata_a_SOURCES += src/work/dial.c src/work/dial.h
libstrata_a_SOURCES += src/work/remote_db.c src/work/remote_db.h src/work/db_pack.c src/work/db_pack.h
libstrata_a_SOURCES += src/work/serve.c src/work/serve_db.c src/work/serve_files.c src/work/serve_put.c
libstrata_a_SOURCES += src/work/serve_get.c src/work/serve_tree.c src/work/serve_inbox.c src/work/serve.h src/work/serve_files.h src/work/serve_intern.h
