libbase_a_SOURCES += lib/wire/pack.c lib/wire/pack.h
libbase_a_SOURCES += lib/wire/frame.c lib/wire/frame.h
