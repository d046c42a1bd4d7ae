"""Many threads on one engine and on one index, and an engine that is closed under them. `scripts/sanitize thread` runs
this under ThreadSanitizer; here it shows that nothing hangs, crashes or answers with anything but what it says.
"""

from __future__ import annotations

import itertools
import random
import threading

from coder_lsp.engine.base import GenerateRequest
from coder_lsp.errors import EngineError
from coder_lsp.retrieval.bm25 import Bm25Index, pack
from coder_lsp.types import FinishReason

LIMIT_S = 60.0


def together(*works):
    """Run each of ``works`` in a thread of its own, from one moment on; what they raised."""
    start, raised = threading.Barrier(len(works)), []

    def run(work):
        start.wait()
        try:
            work()
        except Exception as error:  # noqa: BLE001  (whatever it is, the test's own thread shows it)
            raised.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert not any(thread.is_alive() for thread in threads)
    return raised


def test_threads_take_turns_on_one_engine_while_others_cancel_and_look(load, models):
    """What was not cancelled is what the engine says alone."""
    engine = load(models.ascii)
    prompts = [engine.tokenize(f"def {name}(self):\n    return ") for name in ("alpha", "beta", "gamma", "delta")]
    asked = [GenerateRequest(tokens=tokens, max_tokens=12) for tokens in prompts]
    expected = [engine.generate(request).token_ids for request in asked]
    cancels = [engine.new_cancel_token() for _ in range(40)]
    upcoming, done, wrong = itertools.count(), threading.Event(), []

    def write(me):
        for _ in range(10):
            number = next(upcoming)
            answer = engine.generate(asked[me], lambda _delta: True, cancels[number])
            whole = answer.finish_reason is not FinishReason.CANCELLED
            if answer.token_ids != (expected[me] if whole else expected[me][: len(answer.token_ids)]):
                wrong.append((me, answer.token_ids))

    def cancel():
        for token in cancels[::3]:
            token.cancel()

    def look():
        while not done.is_set():
            for sequence in range(engine.options.sequences):
                engine.history(sequence)
            engine.reusable(prompts[0])
            engine.tokenize("return self.alpha")

    looking = threading.Thread(target=look)
    looking.start()
    try:
        raised = together(*(lambda me=me: write(me) for me in range(4)), cancel)
    finally:
        done.set()
        looking.join(LIMIT_S)
    assert raised == []
    assert wrong == []


def test_an_engine_closed_under_its_users_refuses_them_and_nothing_else(load, models):
    for _ in range(5):
        engine = load(models.random)
        tokens = engine.tokenize("def f(self):")
        begun = threading.Barrier(4)

        def use(engine=engine, tokens=tokens, begun=begun):
            engine.generate(GenerateRequest(tokens=tokens, max_tokens=2))
            begun.wait()
            for _ in range(200):
                engine.generate(GenerateRequest(tokens=tokens, max_tokens=2))

        def close(engine=engine, begun=begun):
            begun.wait()
            engine.close()

        raised = together(use, use, use, close)
        assert all(isinstance(error, EngineError) and "closed" in str(error) for error in raised), raised


def test_searches_and_changes_of_an_index_at_once():
    """Each file is found whole or not at all."""
    index, chance = Bm25Index(), random.Random(3)
    files = [pack([f"term{chance.randrange(50)} marker" for _ in range(6)]) for _ in range(120)]
    index.set_files(list(enumerate(files)))

    def change(me):
        own = random.Random(me)
        for _ in range(300):
            file = own.randrange(len(files))
            if own.random() < 0.3:
                index.remove_file(file)
            else:
                index.set_file(file, files[file])

    def search(me):
        own = random.Random(me)
        for _ in range(300):
            for hit in index.search([f"term{own.randrange(50)}", "marker"], 20):
                assert 0 <= hit.chunk < 6

    changing, searching = ([lambda me=me, work=work: work(me) for me in range(3)] for work in (change, search))
    assert together(*changing, *searching) == []
