#!/bin/sh
# Manual pages: every implemented command has one, it names every option that help shows, and it is
# well formed.
#
# Looks at the built pages in $builddir/doc/man and at the list in doc/local.mk.  Prints TAP; exits 1
# on a failure.  What needs no other program is always checked; mandoc or man add their own verdict
# where they are installed.
srcdir=${srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
builddir=${builddir:-.}
LC_ALL=C
export LC_ALL
pages=$builddir/doc/man
number=0
failed=0
temp=$(mktemp -d) || exit 2
trap 'rm -rf "$temp"' EXIT
trap 'exit 1' HUP INT TERM

# point NAME: ok if the file problems is empty.
point() {
	number=$((number + 1))
	if [ -s "$temp/problems" ]; then
		failed=1
		echo "not ok $number - $1"
		sed 's/^/# /' "$temp/problems"
	else
		echo "ok $number - $1"
	fi
}

# What a reader sees, nearly: no fonts, plain dashes.
plain() {
	sed 's/\\f[BIR]//g; s/\\-/-/g' "$1"
}

# The options that help lists for a command, as the page should write them: "--repoN-path".
help_options() {
	env -i "$builddir/pgstrata" help "$1" --no-config | sed -n 's/^  --\([a-z0-9-]*\).*/--\1/p' |
		sed 's/^--pg-version/--PGVERSION/; s/^--\(pg\|repo\)-/--\1N-/; s/^--PGVERSION/--pg-version/'
}

missing_options() {
	plain "$pages/pgstrata-$1.1" >"$temp/page"
	help_options "$1" >"$temp/options"
	[ -s "$temp/options" ] || echo "pgstrata help $1 lists no options"
	while read -r option; do
		grep -Eq -e "^$option(=|,|\$)" "$temp/page" || echo "$option is not described"
	done <"$temp/options"
}

# Form, of which roff would say nothing, or only on the screen.
bad_form() {
	awk '
	function bad(what) { print FILENAME ":" FNR ": " what ": " $0 }
	BEGIN {
		split("TH SH SS PP TP IP RS RE EX EE PD B I BI BR IB IR RB RI br nh ad nr", known, " ")
		for (i in known)
			macro["." known[i]] = 1
	}
	/^\.\\"/ { next }
	/^$/ && !open[".EX"] { bad("empty line") }
	/[ \t]$/ { bad("blank at the end") }
	/[^ -~]/ { bad("not plain ASCII") }
	/^\047/ { bad("begins with a quote") }
	/^@/ { bad("directive that nobody replaced") }
	/^\./ && !($1 in macro) { bad("unknown macro") }
	heading == ".SH" && $1 == ".SH" { bad("nothing in the section before") }
	heading == ".SS" && /^\.S[HS]/ { bad("nothing under the heading before") }
	heading == ".TP" && /^\.(SH|SS|TP|PP|PD|RE)/ { bad("nothing named by the .TP before") }
	{ heading = $1 }
	$1 == ".EX" || $1 == ".RS" { open[$1]++ }
	$1 == ".EE" { open[".EX"]-- }
	$1 == ".RE" { open[".RS"]-- }
	{
		rest = $0
		if ($1 == ".TH")
			next
		gsub(/\\(-|&|e|f[BIR]|\((aq|bu|ga|ha|ti|lq|rq))/, "", rest)
		if (rest ~ /\\/)
			bad("unknown escape")
		rest = $0
		gsub(/\\-|[a-z]\047[a-z]/, "", rest)
		if (rest ~ /(^|[^a-z0-9])-+[a-z]/)
			bad("dash of an option without a backslash")
		if (rest ~ /[\047`^~]/ && !open[".EX"])
			bad("quote that roff turns into another sign")
	}
	END {
		if (open[".EX"] || open[".RS"])
			print FILENAME ": .EX or .RS without its end"
	}' "$1"
}

# "pgstrata-backup (1)" needs a page of ours.
dead_references() {
	plain "$1" | sed -n 's/^\.BR \(pgstrata[a-z-]*\) (1).*/\1/p' | sort -u | while read -r name; do
		[ -f "$pages/$name.1" ] || echo "$1 refers to $name(1), which does not exist"
	done
}

foreign_verdict() {
	if command -v mandoc >/dev/null; then
		mandoc -T lint -W warning "$1" | grep -v 'missing date'
	else
		LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l "$1" 2>&1 >/dev/null
	fi
}

"$builddir/doc/genman" --commands >"$temp/commands" || exit 2
{
	echo "doc/man/pgstrata.1"
	sed 's|.*|doc/man/pgstrata-&.1|' "$temp/commands"
} | sort >"$temp/wanted"
sed -n 's/^man_MANS *+*= *//p' "$srcdir/doc/local.mk" | sort >"$temp/listed"
diff "$temp/wanted" "$temp/listed" | sed -n 's/^< \(.*\)1$/\11 is missing in doc\/local.mk/p
	s/^> \(.*\)/\1 in doc\/local.mk is the page of no implemented command/p' >"$temp/problems"
point "doc/local.mk lists a page for each implemented command"

env -i "$builddir/pgstrata" help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p' >"$temp/helped"
plain "$pages/pgstrata.1" | sed -n 's/^\.BR pgstrata-\([a-z-]*\) (1)$/\1/p' >"$temp/named"
{
	[ -s "$temp/helped" ] || echo "pgstrata help lists no commands"
	diff "$temp/helped" "$temp/named"
} >"$temp/problems"
point "pgstrata.1 lists the commands that help lists"

while read -r command; do
	if [ -f "$pages/pgstrata-$command.1" ]; then
		missing_options "$command" >"$temp/problems"
	else
		echo "$pages/pgstrata-$command.1 does not exist" >"$temp/problems"
	fi
	point "$command: every option is described"
done <"$temp/commands"

checker=
command -v mandoc >/dev/null || command -v man >/dev/null && checker=yes
for page in "$pages"/*.1; do
	name=${page##*/}
	bad_form "$page" >"$temp/problems"
	point "$name is well formed"
	dead_references "$page" >"$temp/problems"
	point "$name refers to pages that exist"
	[ -n "$checker" ] || continue
	foreign_verdict "$page" >"$temp/problems"
	point "$name: no warning from $(command -v mandoc >/dev/null && echo mandoc || echo man)"
done
if [ -z "$checker" ]; then
	number=$((number + 1))
	echo "ok $number - no warning from roff # SKIP cannot here: neither mandoc nor man is installed"
fi
echo "1..$number"
exit $failed
