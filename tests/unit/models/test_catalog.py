from __future__ import annotations

import pytest

from coder_lsp.config import DEFAULT_MODEL
from coder_lsp.errors import ModelNotFound
from coder_lsp.models import catalog
from coder_lsp.prompt.templates import TEMPLATES


def test_the_default_model_is_in_the_catalogue_with_a_digest_and_two_sources():
    entry = catalog.load().get(DEFAULT_MODEL)
    assert entry.name == DEFAULT_MODEL
    assert entry.sha256 == "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
    assert entry.bytes == 491_400_064
    assert entry.hub == ("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",)
    assert len(entry.packages) == 6


def test_the_families_that_users_will_look_for_are_there():
    names = {entry.name for entry in catalog.load().entries}
    assert {f"qwen2.5-coder-{size}-instruct" for size in ("0.5b", "1.5b", "3b", "7b")} <= names
    assert {
        f"deepseek-coder-{size}-{kind}" for size in ("1.3b", "6.7b", "33b") for kind in ("base", "instruct")
    } <= names
    assert {"deepseek-coder-7b-base-v1.5", "starcoder2-3b", "codegemma-2b", "codestral-22b"} <= names
    assert {"granite-3b-code-base", "granite-8b-code-base", "mellum-4b-base", "smollm2-135m-instruct"} <= names


def test_every_template_of_the_catalogue_is_in_the_prompt_table():
    known = {template.name for template in TEMPLATES} | {"none"}
    assert known >= catalog.TEMPLATE_NAMES
    assert {entry.template for entry in catalog.load().entries} <= known


def test_every_entry_can_be_fetched_from_somewhere_and_says_what_it_costs():
    for entry in catalog.load().entries:
        assert entry.hub or entry.packages, entry.name
        assert entry.min_memory_gb > 0
        assert entry.licence
        if entry.bytes is not None:
            assert entry.min_memory_gb * 1e9 > entry.bytes, entry.name


def test_an_alias_finds_the_entry_and_case_does_not_matter():
    assert catalog.load().get("Default").name == DEFAULT_MODEL
    assert catalog.load().get("smollm2").name == "smollm2-135m-instruct"


def test_a_misspelt_name_is_answered_with_close_ones():
    with pytest.raises(ModelNotFound) as caught:
        catalog.load().get("qwen2.5-coder-05b")
    assert "qwen2.5-coder-0.5b" in caught.value.hint


_ENTRY = """
[[model]]
name = "a"
family = "A"
parameters = "1B"
licence = "MIT"
context = 1
file = "a.gguf"
template = "qwen"
min_memory_gb = 1
"""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (_ENTRY.replace('name = "a"', 'name = "../a"'), "name"),
        (_ENTRY.replace('"a.gguf"', '"sub/a.gguf"'), "file"),
        (_ENTRY.replace('"a.gguf"', '"a.bin"'), "file"),
        (_ENTRY.replace('"qwen"', '"quen"'), "template"),
        (_ENTRY.replace("context = 1", ""), "context"),
        (_ENTRY + 'sha256 = "ABC"\n', "digest"),
        (_ENTRY + '[[model.package]]\nrequirement = "p==1"\nmember = "m"\nbytes = 1\nwheel_bytes = 1\n', "digest"),
        (_ENTRY + _ENTRY, "twice"),
        # Found by random inputs: a table, and parts that are words.
        (_ENTRY.replace("[[model]]", "[model]"), "list of tables"),
        ("model = ['a']", "list of tables"),
        (_ENTRY + 'package = ["a"]\n', "another kind"),
        (_ENTRY.replace("min_memory_gb = 1", "min_memory_gb = []"), "another kind"),
        (_ENTRY.replace('licence = "MIT"', "licence = 5"), "wrong type"),
        (_ENTRY.replace('name = "a"', "name = 5"), "another kind|wrong type"),
        (_ENTRY + "hub = 5\n", "another kind"),
    ],
)
def test_a_catalogue_that_breaks_its_rules_is_refused(text, fault):
    with pytest.raises(ValueError, match=fault):
        catalog.parse(text)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "A", "a b", "a\\b", "-a", "a..b", "a" * 81, "a\n"])
def test_a_name_that_could_leave_the_store_is_not_valid(name):
    assert not catalog.valid_name(name)
