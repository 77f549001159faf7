"""The parts of Rust sources that the checks in this directory share: production code without comments,
strings and tests, and the paths that its `use` declarations name."""

import re

# A comment (one level of nested ones), a string or a character of Rust.
RUST_TOKEN = re.compile(
    r"""//[^\n]*|/\*(?:(?!/\*|\*/).|/\*(?:(?!/\*|\*/).)*\*/)*\*/"""
    r"""|(?<!\w)[bc]?(?:r(?P<hashes>#*)"(?P<raw>.*?)"(?P=hashes)|"(?P<text>(?:[^"\\]|\\.)*)")"""
    r"""|b?'(?:\\u\{[^}]*\}|\\x..|\\.|[^'\\\n])'""",
    re.S,
)
TEST_ITEM = re.compile(r"#(!?)\[cfg\((?:test\)|all\((?:[^()\]]*,\s*)?test\b)")
# An item that ends with its block or with `;`; a field, a variant or an arm can end with `,`.
ITEM = re.compile(
    r"\s*(?:pub(?:\([^)]*\))?\s+)?"
    r"(?:async|const|enum|extern|fn|impl|let|macro_rules|mod|static|struct|trait|type|unsafe|use)\b"
)
USE = re.compile(r"(?m)(?:^|(?<=[{};\]]))[^\S\n]*(?:pub(?:\([^)]*\))?\s+)?use\s+([^;]+);")


def end_of_group(code, start):
    """The end of the group whose bracket opens at `start`."""
    depth = 0
    for at in range(start, len(code)):
        depth += (code[at] in "([{") - (code[at] in ")]}")
        if depth == 0:
            return at + 1
    return len(code)


def end_of_item(code, start):
    """The end of the item, field or arm at `start`: its block, or the `;` or `,` after it."""
    at = start
    ends = ";)]}" if ITEM.match(code, start) else ";,)]}"
    while at < len(code) and code[at] not in ends:
        if code[at] in "([{":
            block = code[at] == "{"
            at = end_of_group(code, at)
            if block:
                break
        else:
            at += 1
    return at + code.startswith(";", at)


def tests_of(code):
    """The ranges of the items that only tests compile."""
    for match in TEST_ITEM.finditer(code):
        if match[1]:
            yield 0, len(code)
        end = end_of_group(code, code.index("[", match.start()))
        while code[end:].lstrip().startswith("#["):
            end = end_of_group(code, code.index("[", end))
        yield match.start(), end_of_item(code, end)


def spaces(text):
    """Spaces in place of a text, with its line ends, so that places keep their line numbers."""
    return re.sub(r"[^\n]", " ", text)


def blank(code, ranges):
    """The code with spaces in these ranges."""
    for start, end in ranges:
        code = code[:start] + spaces(code[start:end]) + code[end:]
    return code


def code_of(source):
    """A source without its comments, strings and characters."""
    return RUST_TOKEN.sub(lambda match: spaces(match[0]), source)


def production_of(source):
    """A source without its comments, strings, characters and tests."""
    code = code_of(source)
    return blank(code, list(tests_of(code)))


def use_trees(text, prefix=()):
    """The paths of a use declaration, each with the name that it binds (`None` for a glob and `_`)."""
    head, brace, rest = text.partition("{")
    head, _, alias = head.partition(" as ")
    path = (*prefix, *(part.strip() for part in head.split("::") if part.strip()))
    if not brace:
        if len(path) > 1 and path[-1] == "self":
            path = path[:-1]
        name = alias.strip() or path[-1]
        yield path, None if name in ("*", "_") else name
        return
    depth, item = 0, ""
    for character in rest[: rest.rindex("}")] + ",":
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            if item.strip():
                yield from use_trees(item.strip(), path)
            item = ""
        else:
            item += character


def uses_of(code):
    """The paths of all use declarations, each with its position in the code and the name that it binds."""
    for match in USE.finditer(code):
        for path, name in use_trees(" ".join(match[1].split())):
            yield match.start(1), path, name
