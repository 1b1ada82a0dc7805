# Unit tests: test/unit/test_NOUN.c, one program each, linked with everything below main.
LDADD = $(all_libs) $(CMOCKA_LIBS)
if HAVE_CMOCKA
include test/unit/local.mk
endif
