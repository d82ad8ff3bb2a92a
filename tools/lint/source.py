"""What the lint checks know about C++ text: comments, strings and where functions begin and end."""

import re

_CONTROL = re.compile(
    r"^(if|for|while|switch|else|do|try|catch|namespace|class|struct|union|enum|return|co_return|case|"
    r"co_await|co_yield|default)\b")
_SCOPE = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b")
_LABEL = re.compile(r"\s*((public|private|protected)\s*:\s*)?")
_AFTER_PARAMETERS = re.compile(
    r"\)\s*((const|noexcept|override|final|mutable|&&|&|constexpr|requires\b.*|->.*|:[^:].*|noexcept\s*\(.*\))\s*)*$",
    re.S)
_TOKEN = re.compile(
    r'R"(?P<tag>[^()\\ ]{0,16})\((?:.|\n)*?\)(?P=tag)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'(?:\\.|[^'\\\n])+'"
    r"|//[^\n]*"
    r"|/\*(?:.|\n)*?\*/")


def blank(text, keep_strings=False):
    """text with comments (and string contents) replaced by spaces, so that positions stay."""

    def replace(match):
        token = match.group(0)
        # 1'000'000: the quote is a digit separator, not a character.
        if token[0] == "'" and match.start() and text[match.start() - 1].isalnum():
            return token
        if keep_strings and token[0] in "\"'R":
            return token
        return re.sub(r"[^\n]", " ", token)

    text = re.sub(r"(?<=[0-9a-fA-F])'(?=[0-9a-fA-F])", "_", text)
    return _TOKEN.sub(replace, text)


def _is_function(head):
    head = head[_LABEL.match(head).end():].rstrip()
    head = re.sub(r"^template\s*<[^{;]*?>\s*(?=[A-Za-z_\[])", "", head)
    if "(" not in head or _CONTROL.match(head) or head.endswith(("=", ",", "(")):
        return False
    return bool(_AFTER_PARAMETERS.search(head))


def functions(text):
    """Yields (first line, last line, head) of every outermost function body, lines from 1."""
    code = re.sub(r"^[ \t]*#(?:[^\n\\]|\\\n|\\.)*", lambda m: re.sub(r"[^\n]", " ", m.group(0)),
                  blank(text), flags=re.M)
    stack, head_start, inside = [], 0, 0
    for match in re.finditer(r"[{};]", code):
        char, at = match.group(0), match.start()
        if char == "{":
            head = code[head_start:at]
            # Formatted code has a space before a body, none before an initializer: `: a_{1} {`.
            initializer = at > 0 and (code[at - 1].isalnum() or code[at - 1] in "_>")
            function = not inside and not initializer and not _scope(head) and _is_function(head)
            first = head_start + len(_LABEL.match(head).group(0))
            stack.append((function, first, head, head_start if initializer else None))
            inside += function
        elif char == "}" and stack:
            function, first, head, resume = stack.pop()
            if function:
                inside -= 1
                head = " ".join(head[_LABEL.match(head).end():].split())
                yield code.count("\n", 0, first) + 1, code.count("\n", 0, at) + 1, head
            if resume is not None:
                head_start = resume
                continue
        elif char == ";" and _open_parenthesis(code[head_start:at]):
            continue
        head_start = at + 1


def _scope(head):
    match = _SCOPE.search(head)
    return bool(match) and "(" not in head


def _open_parenthesis(text):
    return text.count("(") > text.count(")")


def includes(text):
    """Yields (line, name, quoted) of every #include."""
    for number, line in enumerate(blank(text, keep_strings=True).split("\n"), 1):
        match = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
        if match:
            yield number, match.group(2), match.group(1) == '"'
