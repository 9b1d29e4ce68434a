"""Commands that keep secrets out of what facts read; it is printed with -vvv, and may get into a plan."""

HIDDEN = "***@"
"""Stands in a URL, and in a proxy without "http://", where its name and password were."""
HIDE = rf"""LC_ALL=C sed -E 's,(:\\?/\\?/)[^" ]*@,\1{HIDDEN},g; s,([Pp][Rr][Oo][Xx][Yy]["=: ]+)[^"/ ]*@,\1{HIDDEN},g'"""
"""Command that puts it there."""

# their continued lines are joined first, as systemd does, which passes over comments in between: no variable escapes
NO_ENVIRONMENT = (
    r"sed -e '/^[ \t]*Environment[ \t]*=/{' "
    r"-e ':a' -e '/\\$/{$!N;s/\\\n[ \t]*[#;][^\n]*$/\\/;ta' -e 's/\\\n//;ta' -e '}' "
    r"-e 's/^\([ \t]*Environment[ \t]*=\).*/\1[left out]/' -e '}'"
)
"""Command that leaves variables out of a unit's text."""
