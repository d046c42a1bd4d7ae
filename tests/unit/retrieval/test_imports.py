"""From imports to files: a small workspace for each language; a catalogue that equals a fresh one after any change."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.languages import by_path
from coder_lsp.retrieval.imports import Catalogue, resolve, resolve_names
from coder_lsp.syntax.outline import Import, outline

WORKSPACE = {
    # Python: a package in src, a script folder, a package without __init__.
    "src/shop/__init__.py": "from .cart import Cart\n",
    "src/shop/cart.py": "",
    "src/shop/json.py": "",
    "src/shop/deep/__init__.py": "",
    "src/shop/deep/tax.py": "",
    "tools/run.py": "",
    "tools/helper.py": "",
    "loose/part/one.py": "",
    "tests/test_cart.py": "",
    # ECMAScript: relative, tsconfig paths, workspace packages.
    "web/src/cart.ts": "",
    "web/src/view/index.tsx": "",
    "web/src/view/button.vue": "",
    "web/src/lib/api.ts": "",
    "web/src/types.d.ts": "",
    "web/old.js": "",
    "packages/money/src/index.ts": "",
    "packages/money/src/round.ts": "",
    # JVM
    "jvm/com/acme/shop/Cart.java": "package com.acme.shop;",
    "jvm/com/acme/shop/Item.java": "package com.acme.shop;",
    "jvm/com/acme/Util.java": "package com.acme;",
    "jvm/com/acme/Extra.kt": "package com.acme.extra",
    "jvm/com/acme/Deal.scala": "package com.acme",
    # Go
    "go/cart/cart.go": "package cart",
    "go/cart/more.go": "package cart",
    "go/cart/cart_test.go": "package cart",
    "go/main.go": "package main",
    # Rust
    "rs/shop/src/lib.rs": "",
    "rs/shop/src/cart.rs": "",
    "rs/shop/src/tax/mod.rs": "",
    "rs/shop/src/tax/vat.rs": "",
    "rs/app/src/main.rs": "",
    # C
    "native/src/main.cpp": "",
    "native/src/cart.h": "",
    "native/include/shop/cart.h": "",
    "native/include/shop/vector.hpp": "",
    # C#
    "cs/Cart.cs": "namespace Acme.Shop;",
    "cs/Tax.cs": "namespace Acme.Shop { }",
    "cs/Util.cs": "namespace Acme;",
    # others
    "php/src/Cart.php": "<?php\nnamespace Acme\\Shop;\n",
    "php/lib/x.php": "<?php\n",
    "rb/lib/shop/cart.rb": "",
    "rb/lib/shop.rb": "",
    "lua/shop/cart.lua": "",
    "lua/shop/init.lua": "",
    "sh/lib/common.sh": "",
    "sh/run.sh": "",
    "dart/lib/cart.dart": "",
    "protos/shop/cart.proto": "",
}
PROJECTS = {
    "web/tsconfig.json": (
        '{ // why\n "extends": "./tsconfig.base.json", "compilerOptions": {"paths": {"@/*": ["./src/*"],},},}'
    ),
    "web/tsconfig.base.json": '{"compilerOptions": {"baseUrl": "src/lib"}}',
    "packages/money/package.json": '{"name": "@acme/money", "main": "dist/index.js"}',
    "go/go.mod": "module example.com/shop\n\ngo 1.22\n",
    "rs/shop/Cargo.toml": '[package]\nname = "my-shop"\nversion = "1"\n',
    "rs/app/Cargo.toml": '[package]\nversion = "1"\nname = "app"\n',
}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    files = [(path, by_path(path).id, outline(by_path(path), text).package) for path, text in WORKSPACE.items()]
    return Catalogue(files, PROJECTS)


def leads_to(catalogue: Catalogue, path: str, source: str) -> list[str]:
    language = by_path(path)
    return list(resolve(path, language.id, outline(language, source).imports, catalogue))


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("tests/test_cart.py", "import shop.cart", ["src/shop/cart.py"]),
        ("tests/test_cart.py", "from shop import Cart", ["src/shop/__init__.py"]),
        ("tests/test_cart.py", "from shop import cart, Cart", ["src/shop/cart.py", "src/shop/__init__.py"]),
        ("tests/test_cart.py", "from shop.deep.tax import *", ["src/shop/deep/tax.py"]),
        ("src/shop/cart.py", "from .deep import tax", ["src/shop/deep/tax.py"]),
        ("src/shop/deep/tax.py", "from .. import cart\nfrom ..cart import Cart", ["src/shop/cart.py"]),
        ("src/shop/deep/tax.py", "from . import rate", ["src/shop/deep/__init__.py"]),
        ("src/shop/cart.py", "import json", []),
        ("tests/test_cart.py", "import json, helper", []),
        ("tools/run.py", "import helper", ["tools/helper.py"]),
        ("tools/run.py", "from loose.part import one", ["loose/part/one.py"]),
        ("web/src/cart.ts", "import {A} from './types'", ["web/src/types.d.ts"]),
        (
            "web/src/cart.ts",
            "import V from './view'; import b from './view/button.vue'",
            ["web/src/view/index.tsx", "web/src/view/button.vue"],
        ),
        ("web/src/view/index.tsx", "export * from '../cart.js'", ["web/src/cart.ts"]),
        ("web/src/view/index.tsx", "import {c} from '@/cart'", ["web/src/cart.ts"]),
        ("web/src/cart.ts", "import {api} from 'api'", ["web/src/lib/api.ts"]),
        ("web/old.js", "const {round} = require('@acme/money/round')", ["packages/money/src/round.ts"]),
        (
            "web/src/cart.ts",
            "import money from '@acme/money'\nimport react from 'react'",
            ["packages/money/src/index.ts"],
        ),
        ("jvm/com/acme/Util.java", "import com.acme.shop.Cart;", ["jvm/com/acme/shop/Cart.java"]),
        (
            "jvm/com/acme/Util.java",
            "import com.acme.shop.*;",
            ["jvm/com/acme/shop/Cart.java", "jvm/com/acme/shop/Item.java"],
        ),
        ("jvm/com/acme/Deal.scala", "import com.acme.shop.{Item => I}", ["jvm/com/acme/shop/Item.java"]),
        ("jvm/com/acme/shop/Cart.java", "import static com.acme.Util.max;", ["jvm/com/acme/Util.java"]),
        ("jvm/com/acme/shop/Cart.java", "import static com.acme.Util.*;", ["jvm/com/acme/Util.java"]),
        ("jvm/com/acme/Deal.scala", "import com.acme.extra.twice", ["jvm/com/acme/Extra.kt"]),
        ("go/main.go", 'import (\n\t"fmt"\n\tc "example.com/shop/cart"\n)', ["go/cart/cart.go", "go/cart/more.go"]),
        ("rs/shop/src/lib.rs", "mod cart;\npub mod tax;", ["rs/shop/src/cart.rs", "rs/shop/src/tax/mod.rs"]),
        (
            "rs/shop/src/cart.rs",
            "use crate::tax::{vat::Rate, Tax};",
            ["rs/shop/src/tax/vat.rs", "rs/shop/src/tax/mod.rs"],
        ),
        (
            "rs/shop/src/tax/vat.rs",
            "use super::Tax; use super::super::cart::Cart;",
            ["rs/shop/src/tax/mod.rs", "rs/shop/src/cart.rs"],
        ),
        ("rs/app/src/main.rs", "use my_shop::cart::Cart; use std::fmt;", ["rs/shop/src/cart.rs"]),
        ("rs/shop/src/lib.rs", "use crate::helper;", []),
        ("native/src/main.cpp", '#include "cart.h"', ["native/src/cart.h"]),
        ("native/src/main.cpp", "#include <shop/cart.h>\n#include <vector>", ["native/include/shop/cart.h"]),
        ("native/src/main.cpp", '#include "../include/shop/vector.hpp"', ["native/include/shop/vector.hpp"]),
        ("cs/Util.cs", "using Acme.Shop;", ["cs/Cart.cs", "cs/Tax.cs"]),
        ("cs/Cart.cs", "using static Acme.Util; using T = Acme.Shop.Tax;", ["cs/Util.cs", "cs/Tax.cs"]),
        ("php/lib/x.php", "<?php\nuse Acme\\Shop\\Cart;", ["php/src/Cart.php"]),
        ("php/src/Cart.php", "<?php\nrequire __DIR__ . '/../lib/x.php';", ["php/lib/x.php"]),
        ("rb/lib/shop.rb", "require 'shop/cart'\nrequire 'json'", ["rb/lib/shop/cart.rb"]),
        ("rb/lib/shop/cart.rb", "require_relative '../shop'", ["rb/lib/shop.rb"]),
        ("lua/shop/init.lua", "local c = require('shop.cart')", ["lua/shop/cart.lua"]),
        ("lua/shop/cart.lua", "require 'shop'", ["lua/shop/init.lua"]),
        ("sh/run.sh", '. "$HERE/lib/common.sh"', ["sh/lib/common.sh"]),
        ("dart/bin/run.dart", "import 'package:shop/cart.dart';", []),
    ],
)
def test_an_import_leads_to_the_file(catalogue, path, source, expected):
    assert leads_to(catalogue, path, source) == expected


def test_a_file_that_is_not_in_the_catalogue_yet_can_ask():
    """A new document, before it is saved."""
    catalogue = Catalogue([("dart/lib/cart.dart", "dart", "")])
    assert leads_to(catalogue, "dart/lib/new.dart", "import 'cart.dart';") == ["dart/lib/cart.dart"]


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        (
            "tests/test_cart.py",
            "from shop.cart import Cart as C, add",
            {"C": "src/shop/cart.py", "add": "src/shop/cart.py"},
        ),
        (
            "tests/test_cart.py",
            "import shop.cart as sc, shop.deep",
            {"sc": "src/shop/cart.py", "shop.deep": "src/shop/deep/__init__.py"},
        ),
        (
            "tests/test_cart.py",
            "from shop import cart, Cart",
            {"cart": "src/shop/cart.py", "Cart": "src/shop/__init__.py"},
        ),
        (
            "web/src/cart.ts",
            "import V, {a as b, c} from './view'",
            dict.fromkeys(("V", "b", "c"), "web/src/view/index.tsx"),
        ),
        ("web/src/cart.ts", "import * as api from 'api'", {"api": "web/src/lib/api.ts"}),
        ("web/old.js", "const {round: r} = require('@acme/money/round')", {"r": "packages/money/src/round.ts"}),
        ("jvm/x/Y.kt", "import com.acme.shop.Cart as K", {"K": "jvm/com/acme/shop/Cart.java"}),
        ("go/main.go", 'import "example.com/shop/cart"', {"cart": "go/cart/cart.go"}),
        ("go/main.go", 'import c "example.com/shop/cart"', {"c": "go/cart/cart.go"}),
        (
            "rs/shop/src/cart.rs",
            "use crate::tax::{vat, Tax as T};",
            {"vat": "rs/shop/src/tax/vat.rs", "T": "rs/shop/src/tax/mod.rs"},
        ),
        ("cs/Util.cs", "using K = Acme.Shop.Cart;", {"K": "cs/Cart.cs"}),
        ("php/lib/x.php", "<?php\nuse Acme\\Shop\\Cart as K;", {"K": "php/src/Cart.php"}),
        ("native/src/main.cpp", '#include "cart.h"', {}),
    ],
)
def test_a_name_is_declared_by_the_file(catalogue, path, source, expected):
    language = by_path(path)
    assert resolve_names(path, language.id, outline(language, source).imports, catalogue) == expected


def test_a_name_that_hundreds_of_files_share_leads_nowhere():
    catalogue = Catalogue((f"d{number}/utils/text.py", "python", "") for number in range(1_000))
    assert resolve("x.py", "python", [Import("utils.text", (), 0, 0)], catalogue) == ()


def test_of_several_files_the_nearest_is_meant():
    catalogue = Catalogue([("a/inc/x/y.h", "c", ""), ("b/inc/x/y.h", "c", ""), ("b/src/m.c", "c", "")])
    assert resolve("b/src/m.c", "c", [Import("x/y.h", (), 0, 0)], catalogue) == ("b/inc/x/y.h",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"compilerOptions": 3, "name": []}',
        '{"compilerOptions": {"paths": [], "baseUrl": 1}}',
        "[" * 99_999,
    ],
)
def test_a_broken_project_file_says_nothing(text):
    catalogue = Catalogue([("a.ts", "typescript", "")])
    for name in ("tsconfig.json", "package.json", "go.mod", "Cargo.toml"):
        catalogue.set_project(name, text)
    assert resolve("b.ts", "typescript", [Import("./a", (), 0, 0)], catalogue) == ("a.ts",)


def test_a_project_file_that_is_gone_is_forgotten():
    catalogue = Catalogue([("p/index.ts", "typescript", "")], {"p/package.json": '{"name": "p"}'})
    asked = [Import("p", (), 0, 0)]
    assert resolve("x.ts", "typescript", asked, catalogue) == ("p/index.ts",)
    catalogue.set_project("p/package.json", None)
    assert resolve("x.ts", "typescript", asked, catalogue) == ()


_paths = st.sampled_from(
    [f"{folder}{name}" for folder in ("", "a/", "a/b/") for name in ("x.py", "__init__.py", "x.go", "X.java", "x")]
)
_changes = st.lists(st.tuples(_paths, st.sampled_from(["", "p", "q.r"]), st.booleans()), max_size=30)


@given(_changes)
def test_after_any_changes_it_is_as_if_built_anew(changes):
    catalogue, files = Catalogue(), {}
    for path, package, there in changes:
        if there:
            catalogue.add(path, by_path(path).id, package)
            files[path] = (path, by_path(path).id, package)
        else:
            catalogue.remove(path)
            files.pop(path, None)
    assert vars(catalogue) == vars(Catalogue(files.values()))


_modules = st.text(st.sampled_from("ab./:\\*$@~{}-\"' é"), max_size=30)
_imports = st.builds(Import, _modules, st.lists(_modules, max_size=2).map(tuple), st.integers(0, 5), st.just(0))


@given(st.sampled_from(sorted(WORKSPACE)), _imports)
def test_any_import_can_be_asked_about(catalogue, path, imported):
    """Never an exception; only files of the workspace, never the file itself."""
    found = resolve(path, by_path(path).id, [imported], catalogue)
    assert path not in found
    assert all(one in catalogue for one in found)


def test_a_hundred_thousand_files_are_not_searched_through():
    """A scan of all files takes 10 ms an import; ten times what it takes here would still pass."""
    files = [f"p{number % 300}/m{number % 1000}/f{number}.py" for number in range(100_000)]
    catalogue = Catalogue((file, "python", "") for file in files)
    asked = [Import(f"p{number % 300}.m{number % 1000}.f{number}", (), 0, 0) for number in range(0, 100_000, 100)]
    started = time.perf_counter()
    assert len(resolve("x.py", "python", asked, catalogue)) == 1_000
    assert time.perf_counter() - started < 2.0
