"""Drop what looks like a secret from a text: the second line of defence, after not reading secrets at all.

It would rather drop too much: what is left out of an archive can be asked for.
"""

from __future__ import annotations

import re

MARK = "[redacted]"

_BEGIN, _END = (re.compile(rf"-----{word} [A-Z0-9 ]*PRIVATE KEY") for word in ("BEGIN", "END"))
_BASE64_AT_END = re.compile(r"[A-Za-z0-9+/=]{16,}\W*$")

# what may repeat has a limit or a fixed begin, so that no log makes this take long
_SCHEME = r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]*://"
_NAMES = r"secret|token|api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|key-data|credentials?|(?<![\w-])auth"
_VALUE = r"""(?:"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s,;}"']+)"""

RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # JSON Web Tokens, and any other JSON in base64
    (re.compile(r"eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_=-]*){0,2}"), MARK),
    # a PEM block in base64, as kubeconfigs embed keys
    (re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=]*"), MARK),
    (re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{16,}"), rf"\1{MARK}"),
    (re.compile(r"(?i)(authorization\\?[\"']?\s?[:=]\W{0,3}(?:(?:basic|bearer|token)\s+)?)[^\s\"']+"), rf"\1{MARK}"),
    # bootstrap tokens: id.secret
    (re.compile(r"(?<![A-Za-z0-9.-])[a-z0-9]{6}\.[a-z0-9]{16}(?![A-Za-z0-9.-])"), MARK),
    # tokens of GitHub, GitLab, Slack and AWS tell themselves apart
    (re.compile(r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}|AKIA[0-9A-Z]{16})"),
     MARK),
    # a password may hold any character: the rest of the line goes
    (re.compile(r"""(?i)((?:passw(?:or)?d|passphrase|(?<![a-z])pass)\\?["']?\s*[=:]\s*)[^\s].*"""), rf"\1{MARK}"),
    (re.compile(rf"""(?i)((?:{_NAMES})\\?["']?\s*[=:]\s*\\?){_VALUE}"""), rf"\1{MARK}"),
    (re.compile(r"(?i)((?<![\w-])--?[a-z-]{0,80}(?:passw(?:or)?d|passphrase|secret|token)\s+)[^\s-]\S*"), rf"\1{MARK}"),
    # user:password@ of a URL, also where the password holds / or @; an image's digest is none
    (re.compile(rf"""({_SCHEME})[^\s"'/@:]{{0,200}}:[^\s"']{{0,500}}@(?!sha256:)"""), rf"\1{MARK}@"),
    (re.compile(rf"""({_SCHEME})[^\s"'/@]{{1,500}}@(?!sha256:)"""), rf"\1{MARK}@"),
)  # fmt: skip
"""What a secret looks like → what stands there instead."""


def _without_keys(text: str) -> str:
    """The text without PEM blocks of private keys, also where only one of their ends is there."""
    kept: list[str] = []
    inside = False
    for line in text.split("\n"):
        begin, end = bool(_BEGIN.search(line)), bool(_END.search(line))
        if begin and not inside:
            kept.append(MARK)
        elif end and not inside:
            while kept and _BASE64_AT_END.search(kept[-1]):  # its beginning was cut off
                kept.pop()
            kept.append(MARK)
        elif not inside:
            kept.append(line)
        inside = (inside or begin) and not end
    return "\n".join(kept)


def redacted(text: str) -> str:
    """The text without what looks like a secret."""
    text = _without_keys(text)
    for pattern, instead in RULES:
        text = pattern.sub(instead, text)
    return text
