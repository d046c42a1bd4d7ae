"""Projects that are made up, changed at random and looked at through an index. The same seed makes the same one."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from pathlib import Path

VERBS = ["load", "store", "parse", "render", "count", "open", "close", "merge", "split", "check", "send", "fetch"]
NOUNS = ["order", "invoice", "user", "basket", "page", "token", "index", "shelf", "price", "report", "queue", "label"]
ENDINGS = {
    ".py": "def {name}({a}, {b}):\n    return {call}({a}) + {b}\n\n",
    ".js": "function {name}({a}, {b}) {{\n  return {call}({a}) + {b};\n}}\n\n",
    ".c": "int {name}(int {a}, int {b})\n{{\n    return {call}({a}) + {b};\n}}\n\n",
}
QUERIES = [[f"{verb}_{noun}", verb, noun] for verb in VERBS[:10] for noun in NOUNS[:5]]


def source(chance, ending):
    """A few functions that call each other."""

    def name():
        return f"{chance.choice(VERBS)}_{chance.choice(NOUNS)}"

    head = f"from {chance.choice(NOUNS)} import {name()}\n\n" if ending == ".py" else ""
    parts = [
        ENDINGS[ending].format(name=name(), call=name(), a=chance.choice(NOUNS), b=chance.choice(NOUNS))
        for _ in range(chance.randint(1, 8))
    ]
    return head + "".join(parts)


def make(root, files, seed=0):
    """A project of so many files."""
    chance = random.Random(seed)
    for number in range(files):
        ending = chance.choice(list(ENDINGS))
        path = root / f"{chance.choice(NOUNS)}{number % 7}" / f"{chance.choice(VERBS)}{number}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source(chance, ending))
    return root


class Hands:
    """Does things to a project that people and their tools do. ``overlays`` are the open documents."""

    def __init__(self, root, seed, editor=None):
        self.root = root
        self.chance = random.Random(seed)
        self.editor = editor
        self.overlays = {}

    def work(self, operations):
        deeds = [self.create] * 5 + [self.change] * 8 + [self.delete] * 3 + [self.rename] * 3 + [self.move_folder]
        deeds += [self.delete_folder, self.ignore, self.oddity, self.open, self.open, self.shut, self.touch]
        for _ in range(operations):
            # Two operations may not fit each other: a folder with the name of a file, a file moved onto a folder.
            with contextlib.suppress(OSError):
                self.chance.choice(deeds)()

    def files(self):
        found = [Path(folder, name) for folder, _, names in os.walk(self.root) for name in names]
        return sorted(path for path in found if path.suffix in ENDINGS)

    def folders(self):
        return sorted(Path(folder, name) for folder, names, _ in os.walk(self.root) for name in names)

    def some(self, found):
        if not found:
            raise FileNotFoundError("nothing to choose from")
        return self.chance.choice(found)

    def place(self):
        folder = self.chance.choice([*self.folders(), self.root, self.root / self.chance.choice(NOUNS)])
        ending = self.chance.choice(list(ENDINGS))
        return folder / f"{self.chance.choice(VERBS)}{self.chance.randrange(60)}{ending}"

    def create(self):
        path = self.place()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source(self.chance, path.suffix))

    def change(self):
        path = self.some(self.files())
        # As editors do it: in place, or beside and then renamed.
        text = source(self.chance, path.suffix)
        if self.chance.random() < 0.5:
            path.write_text(text)
        else:
            path.with_name("new.tmp").write_text(text)
            path.with_name("new.tmp").replace(path)

    def delete(self):
        self.some(self.files()).unlink()

    def rename(self):
        path, to = self.some(self.files()), self.place()
        to.parent.mkdir(parents=True, exist_ok=True)
        path.replace(to)

    def move_folder(self):
        folder, into = self.some(self.folders()), self.chance.choice([*self.folders(), self.root])
        to = into / f"{self.chance.choice(NOUNS)}{self.chance.randrange(9)}"
        if len(to.relative_to(self.root).parts) < 6:
            folder.rename(to)

    def delete_folder(self):
        folders = [folder for folder in self.folders() if len(list(folder.rglob("*"))) < 12]
        shutil.rmtree(self.some(folders))

    def ignore(self):
        folder = self.chance.choice([*self.folders(), self.root])
        patterns = [f"{self.chance.choice(VERBS)}*", f"{self.chance.choice(NOUNS)}3/", "!*.py", "*.c", ""]
        folder.joinpath(".gitignore").write_text(self.chance.choice(patterns) + "\n")

    def oddity(self):
        """What has to be left out, under the name of what does not."""
        path = self.place()
        path.parent.mkdir(parents=True, exist_ok=True)
        odd = [b"", b"\0\1\2" * 100, b"x = '" + b"a" * 5000 + b"'\n", b"# @generated\nx = 1\n", b"\xff\xfeno"]
        path.write_bytes(self.chance.choice(odd))

    def touch(self):
        os.utime(self.some(self.files()))

    def open(self):
        """An editor opens a file, or makes a new one, and types."""
        path = self.some([*self.files(), self.place()])
        self.overlays[path] = source(self.chance, path.suffix)
        if self.editor:
            self.editor.set_overlay(path, self.overlays[path])

    def shut(self):
        path = self.some(sorted(self.overlays))
        del self.overlays[path]
        if self.editor:
            self.editor.clear_overlay(path)


def contents(index):
    """Everything an index knows, by path; numbers of files and their order are left out.

    Of an index that changes meanwhile it is a mixture.
    """
    files = index.files()
    paths = {number: (str(file.root), file.path) for number, file in files}
    kept = {}
    for number, file in files:
        kept[paths[number]] = (
            (file.language, file.package, file.lines, tuple(file.chunks)),
            tuple(index.lines(number)),
            tuple(index.definitions_in(number)),
            tuple(index.imports(number)),
        )
    names = sorted({definition.name for one in kept.values() for definition in one[2]})
    named = {
        name: sorted((paths[number], definition.start_line) for number, definition in found if number in paths)
        for name, found in index.definitions(names, limit=10**6).items()
    }
    hits = [
        sorted(
            (round(-hit.score, 9), paths[hit.file], hit.number)
            for hit in index.search(query, 10**6)
            if hit.file in paths
        )
        for query in QUERIES
    ]
    return kept, named, hits


def becomes(index, expected, patience_s=30.0):
    """Wait until an index has these contents; the last difference as text, empty if there is none."""
    deadline = time.monotonic() + patience_s
    while True:
        found = contents(index)
        if found == expected:
            return ""
        if time.monotonic() > deadline:
            return difference(found, expected)
        time.sleep(0.05)


def difference(found, expected):
    missing = sorted(expected[0].keys() - found[0].keys())
    extra = sorted(found[0].keys() - expected[0].keys())
    other = sorted(path for path in found[0].keys() & expected[0].keys() if found[0][path] != expected[0][path])
    parts = [found[part] == expected[part] for part in (1, 2)]
    return f"missing {missing}, extra {extra}, other {other}, names and searches equal: {parts}"
