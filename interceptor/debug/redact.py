"""Takes secrets out of what leaves this host: by the name that something has, and by its looks.

It errs on the side of taking too much. `tree` is for JSON and YAML that has been read, `text`
for everything else.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

REMOVED = "[removed]"

NAMES = (
    r"passw(?:or)?d|passwd|passphrase|pwd|secret|token|api[_-]?key|apikey|private[_-]?key|"
    r"access[_-]?key|fastopen[_-]?key|signing[_-]?key|encryption[_-]?key|credential|authorization|cookie|"
    r"preshared[_-]?key|psk|bearer|session[_-]?id|inline[_-]?bytes"
)
_SECRET_NAME = re.compile(NAMES, re.IGNORECASE)
_HARMLESS_NAME = re.compile(
    r"(_|-|\b)(file|path|dir|folder|bucket|buckets|per_fill|max_tokens)$|^token_bucket",
    re.IGNORECASE,
)
"""Where something secret is, and rate limits."""

_DONE = re.escape(REMOVED)
# A name has its whole beginning only where a word begins: otherwise each place of a long word
# would be tried for each of its beginnings.
_KEY = rf"(?:(?<![\w.\-])[\w.\-]{{0,64}}?)?(?:{NAMES})[\w.\-]{{0,64}}"
_OPTION = rf"[\w.\-]{{0,64}}?(?:{NAMES})[\w.\-]{{0,64}}"
_QUOTED = r"\\+\"(?:(?!\\+\").)*\\+\"|\"(?:\\.|[^\"\\])*\"|'[^']*'"
_PATTERNS: tuple[tuple[str, str], ...] = (
    (
        # An unfinished block is taken to its end, whatever follows.
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----.*?"
        r"(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|\Z)",
        REMOVED,
    ),
    # RFC 7519: two objects in base64url, and a signature.
    (r"\beyJ[\w\-]{4,}\.[\w\-]{4,}(?:\.[\w\-]*)?", REMOVED),
    # RFC 9110, section 11: what follows the scheme, to the end of the header.
    (
        r"(?i)(\b(?:proxy-)?authorization\b\\*[\"']?\s*[:=]\s*\\*[\"']?)[^\"'\r\n\\]+",
        rf"\1{REMOVED}",
    ),
    (r"(?i)(\b(?:set-)?cookie\b\\*[\"']?\s*[:=]\s*\\*[\"']?)[^\"'\r\n\\]+", rf"\1{REMOVED}"),
    (r"(?i)\b(bearer|basic|digest|negotiate)\s+[\w+/=.~\-]{8,}", rf"\1 {REMOVED}"),
    # RFC 3986, section 3.2.1: everything before the last @ of the authority.
    (r"(?<=://)[^/\s\"'<>@]*:[^/\s\"'<>]*@", f"{REMOVED}@"),
    # curl and its like: user and password in one word.
    (r"((?:\s-u|--user|--proxy-user)[ =]?[\"']?)[^\s:\"']+:[^\s\"']+", rf"\1{REMOVED}"),
    (r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", REMOVED),
    (r"\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w\-]{16,}", REMOVED),
    (r"\bxox[a-z]-[\w\-]{10,}|\bAIza[\w\-]{30,}|\bsk-[\w\-]{16,}|\bhvs\.[\w\-]{16,}", REMOVED),
    # A block of YAML.
    (
        rf"(?im)^([ \t]*(?:- )?[\"']?{_KEY}[\"']?:[ \t]*[|>][-+0-9]*[ \t]*\n)"
        r"(?:[ \t]+.*(?:\n|\Z))+",
        rf"\1  {REMOVED}\n",
    ),
    # A line of its own, of an environment file or of YAML: the value is all that follows.
    (rf"(?im)^([ \t]*(?:export[ \t]+|- )?{_KEY}[ \t]*=[ \t]*)(?!{_DONE})\S.*$", rf"\1{REMOVED}"),
    (rf"(?im)^([ \t]*(?:- )?[\"']?{_KEY}[\"']?:[ \t]+)(?!{_DONE}|[|>{{]).+$", rf"\1{REMOVED}"),
    # Within a line.
    (
        rf"(?i)({_KEY}\\*[\"']?\s*[:=]\s*)(?!{_DONE})(?:{_QUOTED}|[^\s,;&}}\]\"'\\]+)",
        rf"\1{REMOVED}",
    ),
    (rf"(?i)((?<![\w.\-])--?{_OPTION}[ \t]+)(?!{_DONE})(?:{_QUOTED}|[^\s\-]\S*)", rf"\1{REMOVED}"),
)
_COMPILED = [(re.compile(pattern, re.DOTALL), by) for pattern, by in _PATTERNS[:1]]
_COMPILED += [(re.compile(pattern), by) for pattern, by in _PATTERNS[1:]]
_OPAQUE = re.compile(r"(?<![\w+/=\-])[\w+/\-]{32,}={0,2}(?![\w+/=\-])")
_OPAQUE_BITS = 4.2  # per character; sentences and paths have 3 to 4, random base64 over 4.5
_WORDS = re.compile(r"(?:[a-z]+|[A-Z][a-z]+|[A-Z]+|\d+)")
_LONGEST_WORD_SHARE = 0.6


@dataclass(slots=True)
class Redaction:
    """Counts what it takes out."""

    count: int = field(default=0)

    def text(self, text: str) -> str:
        """``text`` without what looks or is named like a secret."""
        for pattern, by in _COMPILED:
            text = pattern.sub(self._counted(by), text)
        return _OPAQUE.sub(self._opaque, text)

    def tree(self, value: object) -> object:
        """The same of a tree of dicts and lists."""
        return self._tree(value, is_secret=False)

    def _tree(self, value: object, *, is_secret: bool) -> object:
        if isinstance(value, dict):
            return {
                self._name(key): self._tree(each, is_secret=is_secret or names_secret(str(key)))
                for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._tree(each, is_secret=is_secret) for each in value]
        if is_secret and value is not None and not isinstance(value, bool) and value != "":
            self.count += 1
            return REMOVED
        return self.text(value) if isinstance(value, str) else value

    def _name(self, key: object) -> object:
        return self.text(key) if isinstance(key, str) else key

    def _counted(self, by: str) -> Callable[[re.Match[str]], str]:
        def replace(found: re.Match[str]) -> str:
            head = found[1].rstrip(" \t\n:=\"'\\") if found.re.groups else ""
            if _HARMLESS_NAME.search(head):
                return found[0]
            told = found.expand(by)
            if told != found[0]:
                self.count += 1
            return told

        return replace

    def _opaque(self, found: re.Match[str]) -> str:
        if not looks_random(found[0]):
            return found[0]
        self.count += 1
        return REMOVED


def names_secret(key: str) -> bool:
    """Whether what bears this name is to be kept."""
    return bool(_SECRET_NAME.search(key)) and not _HARMLESS_NAME.search(key)


def looks_random(word: str) -> bool:
    """Whether a long word is a key or a token rather than a name or a path. Hexadecimal digests
    of what is public are everywhere, and stay."""
    kinds = [str.islower, str.isupper, str.isdigit]
    if not all(any(kind(letter) for letter in word) for kind in kinds):
        return False
    counts = Counter(word)
    bits = -sum(n / len(word) * math.log2(n / len(word)) for n in counts.values())
    long_words = sum(len(found) for found in _WORDS.findall(word) if len(found) >= 4)
    return bits >= _OPAQUE_BITS and long_words < _LONGEST_WORD_SHARE * len(word)
