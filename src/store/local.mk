libstrata_a_SOURCES += src/store/pipe.c src/store/pipe.h
libstrata_a_SOURCES += src/store/store.c src/store/store.h
libstrata_a_SOURCES += src/store/posix.c src/store/posix_put.c src/store/posix_link.c src/store/posix_intern.h
libstrata_a_SOURCES += src/store/mem.c src/store/fault.c
libstrata_a_SOURCES += src/store/watch.c src/store/watch.h
libstrata_a_SOURCES += src/store/sftp.c src/store/sftp.h src/store/sftp_put.c src/store/sftp_names.c src/store/sftp_intern.h
libstrata_a_SOURCES += src/store/sftp_session.c src/store/sftp_session.h src/store/sftp_link.h
libstrata_a_SOURCES += src/store/sftp_ssh.c src/store/sftp_ssh.h src/store/sftp_hostkey.c
