#!/bin/sh
# Layering: a file of lib or src includes headers of a lower layer or of its own folder, never
# upwards.
#
# The table below is the design's order; one test point per folder.  Prints TAP; exits 1 on a wrong
# include.
srcdir=${srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
cd "$srcdir" || exit 2

find lib src -name '*.[ch]' | sort | xargs grep -nH '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' | awk '
BEGIN {
	lib = "base stream form net wire"
	may["base"] = ""
	may["stream"] = may["net"] = "base"
	may["form"] = "base stream" # the info files are parsed by a sink and closed by a checksum
	may["wire"] = "base stream form net"
	may["pg"] = lib
	may["store"] = lib " pg"
	may["repo"] = may["work"] = lib " pg store"
	may["config"] = lib
	may["cmd"] = lib " pg store repo work config"
	may["main"] = may["cmd"] " cmd"
	order = lib " pg store repo work config cmd main"
	count = split(order, folder, " ")
}
{
	split($0, part, ":")
	file = part[1]
	depth = split(file, step, "/")
	from = depth == 2 ? "main" : step[2]
	split($0, quoted, "\"")
	to = quoted[2]
	sub(/\/.*/, "", to)
	includes[from]++
	if (!(from in may)) {
		wrong[from] = wrong[from] "# " file ":" part[2] ": the folder " from " has no place in the layers\n"
		if (!strange[from]++)
			folder[++count] = from
	} else if (quoted[2] ~ /(^|\/)\.\.?\//) {
		wrong[from] = wrong[from] "# " file ":" part[2] ": name the folder, not the way: \"" quoted[2] "\"\n"
	} else if (quoted[2] !~ /\//) {
		next # of its own folder
	} else if (to != from && index(" " may[from] " ", " " to " ") == 0) {
		wrong[from] = wrong[from] "# " file ":" part[2] ": " from " may not include \"" quoted[2] "\"\n"
	}
}
END {
	if (NR == 0) {
		print "1..1\nnot ok 1 - no includes found below lib and src"
		exit 1
	}
	print "1.." count
	for (i = 1; i <= count; i++) {
		name = folder[i]
		printf "%sok %d - %s includes only what is below it (%d includes)\n%s",
			wrong[name] == "" ? "" : "not ", i, name, includes[name], wrong[name]
		bad += wrong[name] != ""
	}
	exit bad > 0
}'
