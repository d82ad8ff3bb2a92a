"""Reads server/kafka/schema.txt, Kafka's messages as data. The file's first lines describe its format."""

import re

NEVER = 32767  # first flexible version of a message that has none

# type -> (C++ type, bytes on the wire); variable-length types have their minimum by encoding below.
FIXED = {
    "bool": ("bool", 1),
    "int8": ("int8_t", 1),
    "int16": ("int16_t", 2),
    "int32": ("int32_t", 4),
    "int64": ("int64_t", 8),
    "uint16": ("uint16_t", 2),
    "uint32": ("uint32_t", 4),
    "float64": ("double", 8),
    "uuid": ("base::Uuid", 16),
}
VARIABLE = {"string": "absl::string_view", "bytes": "Bytes", "records": "Records"}
CPP_KEYWORDS = {"default", "operator", "register", "delete", "new", "class", "namespace", "union"}


class SchemaError(Exception):
    pass


def snake_case(name):
    """The same rule as Kafka's generator: a capital after a non-capital starts a word."""
    out = ""
    for i, c in enumerate(name):
        if c.isupper() and i > 0 and not name[i - 1].isupper():
            out += "_"
        out += c.lower()
    return out + "_" if out in CPP_KEYWORDS else out


class Range:
    """Versions lo..hi; hi is NEVER for `lo+`."""

    def __init__(self, lo, hi):
        self.lo, self.hi = lo, hi

    @staticmethod
    def parse(text):
        match = re.fullmatch(r"(\d+)(\+|-(\d+))?", text)
        if not match:
            raise SchemaError("bad version range '%s'" % text)
        lo = int(match.group(1))
        if match.group(2) == "+":
            return Range(lo, NEVER)
        return Range(lo, int(match.group(3)) if match.group(3) else lo)

    def intersect(self, other):
        return Range(max(self.lo, other.lo), min(self.hi, other.hi))

    def union(self, other):
        return Range(min(self.lo, other.lo), max(self.hi, other.hi))

    def covers(self, other):
        return self.lo <= other.lo and self.hi >= other.hi

    def empty(self):
        return self.lo > self.hi

    def __eq__(self, other):
        return (self.lo, self.hi) == (other.lo, other.hi)


class Struct:
    def __init__(self, name):
        self.name = name
        self.fields = []
        self.versions = None  # in which it can occur, over all its uses


class Field:
    def __init__(self, name, type_text, versions):
        self.name = name
        self.cpp_name = snake_case(name)
        self.is_array = type_text.startswith("[]")
        self.type = type_text[2:] if self.is_array else type_text
        self.struct = None
        self.versions = versions
        self.nullable = None  # Range
        self.tag = None
        self.default = None
        self.ignorable = False
        self.flexible = True  # False: old encoding in every version

    def signature(self):
        nullable = (self.nullable.lo, self.nullable.hi) if self.nullable else None
        return (self.name, self.type, self.is_array, self.versions.lo, self.versions.hi, nullable,
                self.tag, self.default, self.ignorable, self.flexible)


class Message:
    def __init__(self, name, kind, key, versions, first_flexible, unstable_latest):
        self.name, self.kind, self.key = name, kind, key
        self.versions, self.first_flexible = versions, first_flexible
        self.unstable_latest = unstable_latest
        self.root = Struct(name)
        self.structs = []  # children before parents, without the root


def parse_message(line):
    match = re.fullmatch(
        r"(\w+) (?:key (\d+) (request|response)|(header|data)) versions (\d+)(?:-(\d+))?"
        r" flexible (none|(\d+)\+)( unstable-latest)?", line)
    if not match:
        raise SchemaError("bad message line")
    name, key, kind, other_kind, lo, hi, flexible, first_flexible, unstable = match.groups()
    versions = Range(int(lo), int(hi if hi is not None else lo))
    return Message(name, kind or other_kind, int(key) if key else -1, versions,
                   NEVER if flexible == "none" else int(first_flexible), bool(unstable))


def parse_field(text):
    match = re.fullmatch(r"(\w+): ((?:\[\])?\w+) (\S+)((?: .*)?)", text)
    if not match:
        raise SchemaError("bad field line")
    field = Field(match.group(1), match.group(2), Range.parse(match.group(3)))
    words = match.group(4).split()
    while words:
        word = words.pop(0)
        if word == "ignorable":
            field.ignorable = True
        elif word == "key":
            pass  # uniqueness is the sender's affair
        elif word == "nullable":
            field.nullable = Range.parse(words.pop(0))
        elif word == "default":
            field.default = words.pop(0)
        elif word == "flexible" and words.pop(0) == "none":
            field.flexible = False
        elif word == "tag":
            field.tag = int(words.pop(0))
            if words.pop(0) != "in" or Range.parse(words.pop(0)) != field.versions:
                raise SchemaError("a tag must hold in all versions of its field")
        else:
            raise SchemaError("unknown attribute '%s'" % word)
    if field.tag is not None and field.type == "records":
        raise SchemaError("a records field cannot be tagged")
    return field


def attach(field, message, structs):
    """Gives a field of struct type its struct; the lines below it fill it, or must repeat it."""
    if field.type in FIXED or field.type in VARIABLE:
        return None
    if field.type in structs:
        field.struct = structs[field.type]
        repeat = Struct(field.type)
        return repeat
    field.struct = structs[field.type] = Struct(field.type)
    return field.struct


def order_structs(message):
    """Children before parents, and the versions in which each struct can occur."""
    message.structs = []

    def visit(struct, versions):
        wider = versions if struct.versions is None else struct.versions.union(versions)
        struct.versions = wider
        for field in struct.fields:
            if field.struct:
                visit(field.struct, versions.intersect(field.versions))
        if struct is not message.root and struct not in message.structs:
            message.structs.append(struct)

    visit(message.root, message.versions)


def finish(message, repeats, structs):
    for repeat in repeats:
        if repeat.fields and [f.signature() for f in repeat.fields] != [
                f.signature() for f in structs[repeat.name].fields]:
            raise SchemaError("%s: struct %s has two shapes" % (message.name, repeat.name))
    for struct in structs.values():
        if not struct.fields:
            raise SchemaError("%s: struct %s has no fields" % (message.name, struct.name))
    order_structs(message)


def parse(path):
    """All messages of the file. Text before the first message line is the description."""
    messages, message = [], None
    stack, structs, repeats = [], {}, []  # stack: (indent, struct that lines of this indent fill)
    with open(path) as lines:
        for number, raw in enumerate(lines, 1):
            line = raw.rstrip()
            try:
                if not line or line.startswith("#"):
                    continue
                indent = len(line) - len(line.lstrip())
                if indent == 0:
                    if message:
                        finish(message, repeats, structs)
                    message = parse_message(line)
                    messages.append(message)
                    stack, structs, repeats = [(2, message.root)], {}, []
                    continue
                if not message or indent % 2 or indent > stack[-1][0]:
                    raise SchemaError("bad indent")
                while indent < stack[-1][0]:
                    stack.pop()
                field = parse_field(line.strip())
                stack[-1][1].fields.append(field)
                child = attach(field, message, structs)
                if child:
                    if child is not field.struct:
                        repeats.append(child)
                    stack.append((indent + 2, child))
            except (SchemaError, IndexError, ValueError) as error:
                raise SystemExit("%s:%d: %s: %s" % (path, number, error, line.strip()))
    try:
        if message:
            finish(message, repeats, structs)
    except SchemaError as error:
        raise SystemExit("%s: %s" % (path, error))
    return messages
