libbase_a_SOURCES += lib/form/fields.c lib/form/fields.h
libbase_a_SOURCES += lib/form/ini.c lib/form/ini.h
libbase_a_SOURCES += lib/form/json.c lib/form/json.h
