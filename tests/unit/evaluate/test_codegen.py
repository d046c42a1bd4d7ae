"""Benchmarks' files: what a model is asked, what of its answer is run, and when that has passed."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from coder_lsp.errors import EngineError, InputError
from coder_lsp.evaluate import rows
from coder_lsp.evaluate.codegen import formats, run, toolchains
from coder_lsp.evaluate.codegen.generator import Generated
from coder_lsp.evaluate.codegen.maths import same
from coder_lsp.evaluate.codegen.problem import Choice, cut, fenced
from coder_lsp.evaluate.sandbox import Limits, Outcome

DATA = os.environ.get("CODER_LSP_EVAL_DATA", "")
WRONG = {"JavaScript/112", "JavaScript/155"}
"""Solutions that do not pass their own tests: one returns (z, false), one counts no digit in 0."""
HOW = run.How(Limits(seconds=20.0), workers=2)

PYTHON = {
    "task_id": "Python/0",
    "prompt": 'def add(a, b):\n    """Sum."""\n',
    "declaration": "def add(a, b):\n",
    "canonical_solution": "    return a + b\n",
    "test": "def check(add):\n    assert add(1, 2) == 3\n\ncheck(add)",
}
OPENAI = {
    "task_id": "HumanEval/7",
    "prompt": "def twice(x):\n",
    "entry_point": "twice",
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n",
}
JAVASCRIPT = {
    "task_id": "JavaScript/0",
    "prompt": "const add = (a, b) => {\n",
    "declaration": "",
    "canonical_solution": "  return a + b;\n}\n\n",
    "test": "const testAdd = () => {\n  console.assert(add(1, 2) === 3)\n}\ntestAdd()\n",
}
CPP = {
    "task_id": "CPP/0",
    "prompt": "#include<stdio.h>\nint add(int a, int b){\n",
    "declaration": "",
    "canonical_solution": "    return a + b;\n}\n",
    "test": "#undef NDEBUG\n#include<assert.h>\nint main(){\n    assert (add(1, 2) == 3);\n}\n",
}
JAVA = {
    "task_id": "Java/0",
    "prompt": "import java.util.*;\n\nclass Solution {\n    public int add(int a, int b) {\n",
    "declaration": "",
    "canonical_solution": "        return a + b;\n    }\n}",
    "test": "public class Main {\n    public static void main(String[] args) {\n"
    "        if (new Solution().add(1, 2) != 3) throw new AssertionError();\n    }\n}\n",
}
GO = {
    "task_id": "Go/0",
    "prompt": 'import (\n    "math"\n)\n\n// Root.\nfunc Root(x float64) float64 {\n',
    "import": 'import (\n    "math"\n)\n',
    "declaration": "",
    "test_setup": 'package main\n\nimport (\n    "testing"\n    "github.com/stretchr/testify/assert"\n)\n',
    "canonical_solution": "    return math.Sqrt(x)\n}\n",
    "test": "func TestRoot(t *testing.T) {\n    assert := assert.New(t)\n    assert.Equal(3.0, Root(9))\n}\n",
}
MULTIPL = {
    "name": "HumanEval_0_add",
    "language": "sh",
    "prompt": "#!/bin/bash\nadd() {\n",
    "stop_tokens": ["\n}"],
    "tests": '}\n[ "$(add 1 2)" = 3 ] || exit 1\n',
}
LEETCODE = {
    "task_id": "contest-1",
    "prompt": '"""\nAdd.\n"""\nclass Solution:\n    def add(self, a: int, b: int) -> int:\n        ',
    "prompt_sft": "Add.\n\nPlease complete the code below:\n```python\nclass Solution:\n    def add(self, a, b):\n```",
    "test": "\nmy_solution = Solution()\nassert my_solution.add(1, 2) == 3\n",
}
DS1000 = {
    "prompt": "Problem: add.\nA:\n<code>\nBEGIN SOLUTION\n<code>\n",
    "reference_code": "result = a + b",
    "code_context": "def test_execution(solution):\n    scope = {'a': 1, 'b': 2}\n    exec(solution, scope)\n"
    "    assert scope['result'] == 3\n\n\ndef test_string(solution):\n    assert 'sum' not in solution\n",
    "metadata": {"problem_id": 4, "library": "Numpy"},
}
MATHS = {"question": "Ann has 2 apples and buys 3. How many?", "answer": "2 + 3 = 5\n#### 5"}


def mbpp(number, name="add"):
    return {
        "task_id": number,
        "text": f"Task {number}.",
        "code": f"def {name}(a, b):\r\n\treturn a + b",
        "test_setup_code": "",
        "test_list": [f"assert {name}(1, 2) == 3", f"assert {name}(0, 0) == 0"],
    }


MBPP = [mbpp(number) for number in (1, 2, 3, 4, 10, 11, 510, 511)]


class Says:
    """A model that gives these answers in turn."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def generate(self, problem):
        self.asked.append(problem)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Generated(answer, tokens=10, prompt_tokens=20, ms=500.0)


@pytest.fixture
def file(tmp_path):
    def write(*rows):
        path = tmp_path / "tasks.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


def judged(path, *answers, style="", gold=False):
    form, problems = formats.read(path, Choice(style=style))
    model = None if gold else Says(*answers)
    return run.complete(form, problems, model, HOW, model="m")


def need(language):
    lacking = toolchains.missing(language)
    if lacking:
        pytest.skip(f"{', '.join(lacking)} is not installed")


@pytest.mark.parametrize(
    ("rows", "name", "count"),
    [
        ([PYTHON, JAVASCRIPT], "humaneval", 2),
        ([OPENAI], "humaneval", 1),
        ([MULTIPL], "humaneval", 1),
        (MBPP, "mbpp", 2),
        ([LEETCODE], "leetcode", 1),
        ([DS1000], "ds1000", 1),
        ([MATHS], "maths", 1),
    ],
)
def test_a_file_says_which_benchmark_it_is(rows, name, count, file):
    form, problems = formats.read(file(*rows), Choice())
    assert (form.name, len(problems)) == (name, count)


def test_gzipped_files_are_read(tmp_path):
    path = tmp_path / "tasks.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(PYTHON).encode()))
    assert formats.read(path, Choice())[1][0].prompt == PYTHON["prompt"]


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([], "is empty"),
        ([{"x": 1}], "of no benchmark"),
        ([PYTHON, PYTHON], "Python/0 is there twice"),
        ([PYTHON, PYTHON | {"task_id": "Cobol/1"}], "line 2: no way to run Cobol"),
        (MBPP[1:2], "lacks task 3"),
        (MBPP[:5], "no task from 11 to 510"),
        ([LEETCODE | {"test": 3}], "line 1: test is int"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(rows, complaint, file):
    with pytest.raises(InputError, match=complaint):
        formats.read(file(*rows), Choice())


def test_a_style_that_a_benchmark_lacks_is_refused(file):
    with pytest.raises(InputError, match="humaneval has no style outline"):
        formats.read(file(PYTHON), Choice(style="outline"))


def test_mbpp_asks_after_three_worked_tasks(file):
    """The prompt of DeepSeek-Coder's script: tasks 2, 3 and 4, tabs and carriage returns of their code replaced."""
    form, problems = formats.read(file(*MBPP), Choice())
    assert [problem.task_id for problem in problems] == ["MBPP/11", "MBPP/510"]
    code = "def add(a, b):\n    return a + b"
    tests = "assert add(1, 2) == 3\nassert add(0, 0) == 0"
    task = "You are an expert Python programmer, and here is your task: Task {}. Your code should pass these tests:"
    task += "\n\n{}\n[BEGIN]"
    shots = "".join(f"{task.format(number, tests)}\n{code}\n[DONE]\n" for number in (2, 3, 4))
    assert problems[0].prompt == shots + task.format(11, tests)
    assert problems[0].stop == ("[DONE]",)
    assert form.program(problems[0], "\nx = 1\n") == f"x = 1\n\n{tests}\n"


def test_leetcode_asks_with_and_without_the_outline(file):
    path = file(LEETCODE)
    chat, outline = (formats.read(path, Choice(style=style))[1][0] for style in ("chat", "outline"))
    assert chat.prompt == LEETCODE["prompt_sft"]
    assert outline.prompt == chat.prompt + "\nYou need first to write a step-by-step outline and then write the code."
    assert chat.chat
    assert chat.digest != outline.digest


def test_code_is_taken_out_of_an_answer():
    assert fenced("Sure:\n```python\nx = 1\n```\nand\n```\ny\n```") == "x = 1\n"
    assert fenced("```\nx = 1") == "x = 1"
    assert fenced("x = 1") == "x = 1"
    assert cut("a\ndef b\nclass c", ("\nclass", "\ndef")) == "a"


@pytest.mark.parametrize("row", [PYTHON, OPENAI, JAVASCRIPT, CPP, JAVA, GO], ids=lambda row: row["task_id"])
def test_gold_passes_and_an_empty_function_does_not(row, file):
    _, problems = formats.read(file(row), Choice())
    need(problems[0].language)
    if row is GO and not DATA:
        pytest.skip("CODER_LSP_EVAL_DATA is not set, and Go's library takes a minute to compile")
    assert [sample.status for sample in judged(file(row), gold=True)] == ["passed"]
    sample = judged(file(row), "    return 0;" if row is not OPENAI else "    return 0")[0]
    assert (sample.passed, sample.status) == (False, "failed")


def test_go_imports_what_code_names_and_comments_do_not_count(file):
    row = GO | {"prompt": GO["prompt"].replace("// Root.", "// Root, no strings.\n// operand.Sort is nothing.")}
    form, problems = formats.read(file(row), Choice())
    program = form.program(problems[0], "    operand.X = 1 // fmt.Println\n    return math.Sqrt(x)\n}\n")
    assert program.split("import (\n", 2)[2].split(")")[0] == '\t"math"\n'


def test_what_a_model_writes_up_to_the_closing_brace_is_closed(file):
    need("javascript")
    assert judged(file(JAVASCRIPT), "  return a + b;")[0].passed


def test_a_program_that_leaves_before_its_tests_has_not_passed(file):
    """Exit status 0 is not enough."""
    sample = judged(file(PYTHON), "    return 0\n\nimport sys; sys.exit(0)")[0]
    assert (sample.passed, sample.status) == (False, "failed")


def test_other_formats_pass_with_the_right_answer_alone(file):
    assert judged(file(*MBPP), "\ndef add(a, b):\n    return a + b\n", "pass")[0].passed
    code = "```python\nclass Solution:\n    def add(self, a, b):\n        return a {} b\n```"
    assert [judged(file(LEETCODE), code.format(sign))[0].passed for sign in "+-"] == [True, False]
    assert judged(file(LEETCODE), "return a + b", style="plain")[0].passed
    right, wrong = "result = a + b\n</code>", "result = sum([a, b])"
    assert [judged(file(DS1000), text)[0].passed for text in (right, wrong)] == [True, False]
    assert [judged(file(MATHS), f"    return {text}")[0].passed for text in ("2 + 3", "2 + 2", "'5'", "{")] == [
        True,
        False,
        True,
        False,
    ]
    assert judged(file(MULTIPL), "  echo $(($1 + $2))")[0].passed
    assert not judged(file(MULTIPL), "  echo 7")[0].passed


def test_an_answer_in_a_chat_may_be_the_whole_function_or_its_body(file):
    row = PYTHON | {"prompt": "def helper():\n    return 3\n\ndef add(a, b):\n"}
    whole = "Here:\n```python\ndef add(a, b):\n    return helper()\n```"
    assert judged(file(row), whole, style="chat")[0].passed
    assert judged(file(row), "```python\n    return helper()\n```", style="chat")[0].passed


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [("18", "18.0", True), ("1,234", "1234", True), ("0.5", "1/2", True), ("$3.00", "3", True), ("50%", "50", True),
     ("3.1", "3", False), ("x", "x ", True), ("1/0", "2", False), ("nan", "2", False), ("", "2", False)],
)  # fmt: skip
def test_answers_are_equal_as_numbers(one, other, equal):
    assert same(one, other) is equal


def test_what_is_written_is_not_written_again(file, tmp_path):
    path, out = file(PYTHON, OPENAI), tmp_path / "samples.jsonl"
    form, problems = formats.read(path, Choice())
    first = Says("    return a + b", EngineError("gone"))
    with pytest.raises(EngineError):
        run.complete(form, problems, first, HOW, model="m", on_sample=lambda sample, *_: rows.append(out, sample))
    assert [sample.task_id for sample in rows.load(out, run.Sample)] == ["Python/0"]
    second = Says("    return 2 * x")
    told = []

    def on_sample(sample, number, total):
        told.append((sample.task_id, number, total))
        rows.append(out, sample)

    samples = run.complete(form, problems, second, HOW, model="m", done=rows.load(out, run.Sample), on_sample=on_sample)
    assert [sample.passed for sample in samples] == [True, True]
    assert [problem.task_id for problem in second.asked] == ["HumanEval/7"]
    assert told == [("HumanEval/7", 2, 2)]
    assert rows.load(out, run.Sample) == samples
    again = run.complete(form, problems, Says(), HOW, model="m", done=samples, again=True, on_sample=on_sample)
    assert [sample.completion for sample in again] == [sample.completion for sample in samples]
    assert len(told) == 3


@pytest.mark.parametrize("change", ["model", "tokens", "style"])
def test_another_question_is_asked_again(change, file):
    path = file(PYTHON)
    form, problems = formats.read(path, Choice())
    done = run.complete(form, problems, Says("    return a + b"), HOW, model="m")
    choice = {"tokens": Choice(max_tokens=7), "style": Choice(style="chat")}.get(change, Choice())
    model = Says("    return 0")
    run.complete(form, formats.read(path, choice)[1], model, HOW, model="n" if change == "model" else "m", done=done)
    assert len(model.asked) == 1


def test_a_file_of_other_samples_is_refused(tmp_path):
    path = tmp_path / "samples.jsonl"
    assert rows.load(path, run.Sample) == []
    path.write_text('{"other": 1}\n')
    with pytest.raises(InputError, match="line 1 is no sample"):
        rows.load(path, run.Sample)


def test_a_sample_is_fixed_by_its_seed_and_grows(file):
    path = file(*(PYTHON | {"task_id": f"Python/{number}"} for number in range(30)))
    problems = formats.read(path, Choice())[1]
    ten, twenty = (formats.sample(problems, count, 3) for count in (10, 20))
    assert ten == formats.sample(problems, 10, 3)
    assert {p.task_id for p in ten} < {p.task_id for p in twenty}
    assert formats.sample(problems, None, 3) == problems
    assert [problems.index(problem) for problem in ten] == sorted(problems.index(problem) for problem in ten)


def test_gold_needs_solutions(file):
    with pytest.raises(InputError, match="contest-1 comes without a solution"):
        judged(file(LEETCODE), gold=True)


def sample(number, *, passed, language="python", tokens=100):
    return run.Sample(
        "humaneval", f"t{number}", "m", "d", language, "plain", "x", tokens, 50, 0, 2000.0, passed,
        "passed" if passed else "timeout", "", "", 0.1,
    )  # fmt: skip


def test_figures_are_counted():
    samples = [sample(number, passed=number < 3) for number in range(4)]
    samples += [sample(9, passed=True, language="java")]
    found = run.figures(samples)
    assert (found["tasks"], found["passed"], found["pass_at_1"]) == (5, 4, 0.8)
    assert found["languages"]["python"]["pass_at_1"] == 0.75
    assert found["outcomes"] == {"passed": 4, "timeout": 1}
    assert found["speed"]["tokens_a_second"] == 50.0
    low, high = found["interval_95"]
    assert low < 0.8 < high <= 1
    said = "\n".join(run.lines(found))
    assert "pass@1  80.0 %  4 of 5" in said
    assert "1 timeout" in said


def test_the_interval_of_a_share_is_wilsons():
    """Of 5: none to 43 %; of 164, all: 97.7 % and up (Brown, Cai and DasGupta 2001, formula 4)."""
    assert run.wilson(0, 5) == pytest.approx((0.0, 0.4345), abs=1e-4)
    assert run.wilson(164, 164) == pytest.approx((0.9771, 1.0), abs=1e-4)
    assert run.wilson(4, 5) == pytest.approx((0.3755, 0.9638), abs=1e-4)


def test_a_missing_tool_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "javac" else f"/bin/{name}")
    assert toolchains.missing("java") == ["javac"]
    assert toolchains.missing("cpp") == []


def test_only_a_program_that_got_to_its_end_counts():
    def outcome(status, code):
        return Outcome(status, code, "", "", 0.1)

    assert toolchains.reached("python", outcome("failed", 42))
    assert not toolchains.reached("python", outcome("passed", 0))
    assert toolchains.reached("cpp", outcome("passed", 0))
    assert not toolchains.reached("cpp", outcome("timeout", None))


@pytest.mark.skipif(not DATA, reason="CODER_LSP_EVAL_DATA names no folder with humaneval and mbpp")
@pytest.mark.parametrize(
    ("name", "count"),
    [("humaneval/humaneval_python", 40), ("humaneval/humaneval_js", 20), ("humaneval/humaneval_cpp", 4),
     ("humaneval/humaneval_java", 3), ("humaneval/humaneval_go", 3), ("mbpp/mbpp", 40)],
)  # fmt: skip
def test_the_solutions_of_the_benchmarks_pass(name, count):
    path = Path(DATA) / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    form, problems = formats.read(path, Choice())
    need(problems[0].language)
    some = [each for each in formats.sample(problems, count, seed=5) if each.task_id not in WRONG]
    samples = run.complete(form, some, None, replace(HOW, limits=form.limits), model=run.GOLD)
    assert [(sample.task_id, sample.complaint) for sample in samples if not sample.passed] == []
