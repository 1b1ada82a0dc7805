# Manual pages, made at build time from the option table and the fragments in doc/man.  A new command
# needs its fragment doc/man/pgstrata-COMMAND.man and a line here; test/lint/man.sh tells what is missing.
noinst_PROGRAMS = doc/genman
doc_genman_SOURCES = doc/genman.c doc/genman.h doc/genman_exits.c doc/genman_options.c
doc_genman_CPPFLAGS = $(libstrata_a_CPPFLAGS)
doc_genman_LDADD = $(all_libs)

man_MANS = doc/man/pgstrata.1
man_MANS += doc/man/pgstrata-annotate.1
man_MANS += doc/man/pgstrata-archive-get.1
man_MANS += doc/man/pgstrata-archive-push.1
man_MANS += doc/man/pgstrata-authorize.1
man_MANS += doc/man/pgstrata-backup.1
man_MANS += doc/man/pgstrata-check.1
man_MANS += doc/man/pgstrata-expire.1
man_MANS += doc/man/pgstrata-help.1
man_MANS += doc/man/pgstrata-info.1
man_MANS += doc/man/pgstrata-restore.1
man_MANS += doc/man/pgstrata-serve.1
man_MANS += doc/man/pgstrata-stanza-create.1
man_MANS += doc/man/pgstrata-stanza-delete.1
man_MANS += doc/man/pgstrata-stanza-upgrade.1
man_MANS += doc/man/pgstrata-start.1
man_MANS += doc/man/pgstrata-stop.1
man_MANS += doc/man/pgstrata-verify.1
man_MANS += doc/man/pgstrata-version.1
EXTRA_DIST += $(man_MANS:.1=.man)
CLEANFILES += $(man_MANS)
TESTS += test/lint/man.sh

SUFFIXES = .man .1
$(man_MANS): doc/genman$(EXEEXT)
.man.1:
	$(AM_V_at)$(MKDIR_P) doc/man
	$(AM_V_GEN)doc/genman$(EXEEXT) "$<" >$@.tmp && mv $@.tmp $@

# Samples to copy from.
examplesdir = $(docdir)/examples
dist_examples_DATA = etc/pgstrata.conf.sample etc/pgstrata-backup@.service etc/pgstrata-backup@.timer \
	etc/pgstrata-full@.service etc/pgstrata-full@.timer
