#!/bin/sh
# Every header compiles alone, so that nobody depends on the order of includes; those of lib without
# src.
#
# One test point per header, prints TAP; exits 1 if one fails.  CC and LIBPQ_CFLAGS are taken from
# the environment.
srcdir=${srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
cd "$srcdir" || exit 2
LIBPQ_CFLAGS=${LIBPQ_CFLAGS:-$(pkg-config --cflags libpq 2>/dev/null)}

set -- $(find lib src -name '*.h' | sort)
echo "1..$#"
number=0
failed=0
for header in "$@"; do
	number=$((number + 1))
	case $header in
	lib/*) include="-Ilib" ;;
	*) include="-Ilib -Isrc $LIBPQ_CFLAGS" ;;
	esac
	# Through stdin: a header as the main file would warn about its own guard.
	if error=$(printf '#include "%s"\nint alone;\n' "${header#*/}" |
		${CC:-gcc} -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror $include -fsyntax-only -x c - 2>&1); then
		echo "ok $number - $header"
	else
		failed=$((failed + 1))
		echo "not ok $number - $header"
		printf '%s\n' "$error" | sed 's/^/# /'
	fi
done
exit $((failed > 0))
