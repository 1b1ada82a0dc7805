#!/bin/sh
# Options: an accepted option must be read by somebody.
#
# For each option of the table that fills a member of the configuration, some file of src/cmd, src/main.c or what
# only loads and checks mentions that member.  Prints TAP; exits 1 on a hole.
srcdir=${srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
cd "$srcdir" || exit 2

readers="src/main.c src/config/check.c src/config/load.c src/config/fill.c $(find src/cmd -name '*.c')"
members=$(sed -n 's/.*[^A-Z_]\(PG_\|REPO_\|\)\(MEMBER\|GIVEN\)(\([a-z_]*\.\|\)\([a-z_]*\)).*/\4/p
	s/.*MEMBER_AS([A-Z_]*, \([a-z_]*\)).*/\1/p' src/config/options_*.c | sort -u)

number=0
holes=0
for member in $members; do
	number=$((number + 1))
	# shellcheck disable=SC2086
	if grep -Eq -- "(->|\.)$member\\b" $readers; then
		echo "ok $number - $member"
	else
		echo "not ok $number - $member is set by an option and read by nobody"
		holes=1
	fi
done
echo "1..$number"
[ "$number" -gt 50 ] || { echo "# too few members found: the table is written differently"; exit 1; }
exit $holes
