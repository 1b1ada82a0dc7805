libbase_a_SOURCES += lib/base/banned.h
libbase_a_SOURCES += lib/base/arena.c lib/base/arena.h
libbase_a_SOURCES += lib/base/buf.c lib/base/buf.h
libbase_a_SOURCES += lib/base/child.c lib/base/child.h
libbase_a_SOURCES += lib/base/clock.c lib/base/clock.h
libbase_a_SOURCES += lib/base/enc.c lib/base/enc.h
libbase_a_SOURCES += lib/base/err.c lib/base/err.h
libbase_a_SOURCES += lib/base/file.c lib/base/file.h
libbase_a_SOURCES += lib/base/lazy.c lib/base/lazy.h
libbase_a_SOURCES += lib/base/lock.c lib/base/lock.h
libbase_a_SOURCES += lib/base/log.c lib/base/log.h
libbase_a_SOURCES += lib/base/map.c lib/base/map.h
libbase_a_SOURCES += lib/base/path.c lib/base/path.h
libbase_a_SOURCES += lib/base/sig.c lib/base/sig.h
libbase_a_SOURCES += lib/base/str.c lib/base/str.h
libbase_a_SOURCES += lib/base/sys.c lib/base/sys.h
libbase_a_SOURCES += lib/base/vec.c lib/base/vec.h
if FAULTS
libbase_a_SOURCES += lib/base/sys_fault.c lib/base/sys_fault.h
endif
libbase_a_SOURCES += lib/base/barrier.c lib/base/barrier.h
