"""One host process: who may talk to it, who is served when, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from support import scripted_worker
from support.hosts import files_of, gone, home, request, second_client

from coder_lsp import errors, paths
from coder_lsp.errors import ContextOverflow, EngineError, HostCrashed, HostUnavailable, OutOfMemory
from coder_lsp.host import protocol
from coder_lsp.host.address import address_key, hold_lock, read_endpoint
from coder_lsp.host.client import HostClient
from coder_lsp.host.rpc import Peer
from coder_lsp.host.server import HostServer
from coder_lsp.host.transport import connect
from coder_lsp.types import FinishReason, TokenCounts

CANARY = "canary_Zq7"


class Sink:
    """Collects text; ``got(n)`` waits for n pieces."""

    def __init__(self, enough_after=None):
        self.pieces = []
        self._enough_after = enough_after
        self._news = asyncio.Event()

    def __call__(self, delta):
        self.pieces.append(delta)
        self._news.set()
        return self._enough_after is None or len(self.pieces) < self._enough_after

    async def got(self, count):
        while len(self.pieces) < count:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 20)


async def test_result_comes_back_whole(front):
    """Text, reason, counts, logprobs and timings as the worker made them, the host's own timings added."""
    result = await front().say(say=["a", "b"])
    assert (result.text, result.finish_reason) == ("ab", FinishReason.STOP_TOKEN)
    assert result.tokens == TokenCounts(prompt=3, reused=1, evaluated=2, generated=2)
    assert result.logprobs == (-0.5, -0.5)
    assert result.timings_ms.keys() == {"decode", "queue", "total"}


async def test_text_streams_before_the_end(front, gate):
    """The pieces arrive while the generation still waits."""
    window, sink, go = front(), Sink(), gate()
    asking = asyncio.create_task(window.say(sink, say=["a", "b"], wait=go.path))
    await sink.got(2)
    assert not asking.done()
    go.open()
    assert (await asking).text == "ab"
    assert sink.pieces == ["a", "b"]


async def test_a_preview_is_made_by_the_model_and_waits_for_what_it_is_doing(front, gate):
    """It comes behind the answer that is being written, and is no request that supersedes it."""
    window, sink, go = front(), Sink(), gate()
    asking = asyncio.create_task(window.say(sink, say=["a"], wait=go.path))
    await sink.got(1)
    looking = asyncio.create_task(window.supervisor.preview(request(say=["b"])))
    await asyncio.sleep(0)
    assert not looking.done()
    go.open()
    shown = await looking
    assert (await asking).text == "a"
    assert (shown.prompt, shown.tokens) == ('{"say": ["b"]}', 14)


async def test_enough_ends_the_generation(front):
    """ENOUGH, and exactly the text that the reader was given."""
    result = await front().say(Sink(enough_after=2), say=["a", "b", "c"], hold=True)
    assert (result.text, result.finish_reason) == ("ab", FinishReason.ENOUGH)


async def test_what_a_sink_raises_reaches_its_owner_and_nobody_else(front):
    def broken(_):
        raise KeyError("mine")

    window = front()
    with pytest.raises(KeyError, match="mine"):
        await window.say(broken, say=["a"], hold=True)
    assert (await window.say(say=["b"])).text == "b"


async def test_two_windows_share_one_host(front, settings):
    """One process; the second launcher started nothing."""
    one, two = front(), front()
    await one.say(say=["a"])
    await two.say(say=["b"])
    assert (len(one.launcher.started), len(two.launcher.started)) == (1, 0)
    info = await two.supervisor.info()
    assert info["clients"] == 2
    assert info["pid"] == (await one.supervisor.info())["pid"]
    assert info["rss_bytes"] > 0


async def test_newest_request_ends_the_running_one(front, settings):
    """CANCELLED with what there was, and the newest is completed."""
    sink = Sink()
    await front().supervisor.start()
    async with second_client(settings()) as client:
        running = asyncio.create_task(client.complete(request(say=["1"], hold=True), sink))
        await sink.got(1)
        newest = asyncio.create_task(client.complete(request(say=["2"])))
        results = await asyncio.gather(running, newest)
    assert [(result.text, result.finish_reason.value) for result in results] == [
        ("1", "cancelled"),
        ("2", "stop_token"),
    ]


async def test_newest_request_replaces_the_waiting_one(front, settings, gate):
    """The replaced one is answered at once, while another window's request still runs."""
    sink, go = Sink(), gate()
    await front().supervisor.start()
    async with second_client(settings()) as other, second_client(settings()) as client:
        running = asyncio.create_task(other.complete(request(say=["1"], wait=go.path), sink))
        await sink.got(1)
        waiting = asyncio.create_task(client.complete(request(say=["2"])))
        newest = asyncio.create_task(client.complete(request(say=["3"])))
        replaced = await asyncio.wait_for(waiting, 20)
        assert (replaced.text, replaced.finish_reason) == ("", FinishReason.CANCELLED)
        assert not running.done()
        assert not newest.done()
        go.open()
        assert [(await task).text for task in (running, newest)] == ["1", "3"]


async def test_windows_take_turns(front, settings, gate, tmp_path):
    """While one window's request runs, the other's waits and is next, though the first window asks again and again."""
    window, go, notes, sink = front(), gate(), tmp_path / "notes", Sink()
    await window.supervisor.start()
    async with second_client(settings()) as a, second_client(settings()) as b:

        def ask(client, name, **script):
            return asyncio.create_task(client.complete(request(say=[name], note=str(notes), **script), sink))

        asked = [ask(a, "a", wait=go.path, deaf=True)]
        await sink.got(1)
        asked.append(ask(b, "b"))
        await b.info()  # answered after the request before it was taken in
        asked += [ask(a, "a again"), ask(a, "a once more")]
        await a.info()
        go.open()
        results = await asyncio.gather(*asked)
    assert notes.read_text() == "a\nb\na once more\n"
    assert [result.finish_reason.value for result in results] == ["stop_token", "stop_token", "cancelled", "stop_token"]


async def test_cancelling_the_task_frees_the_host(front, settings):
    """The generation would hold for ever; another window is served after the cancel."""
    window, other, sink = front(), front(), Sink()
    asking = asyncio.create_task(window.say(sink, say=["a"], hold=True))
    await sink.got(1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await asyncio.wait_for(other.say(say=["b"]), 20)).text == "b"


async def test_cancel_right_behind_its_request_is_not_lost(front, settings):
    """Both in one write: the host may not look for the request before it knows it."""
    await front().supervisor.start()
    endpoint = read_endpoint(address_key(settings()))
    peer = Peer(*await connect(endpoint))
    reading = asyncio.create_task(peer.run())
    await peer.request(protocol.HELLO, protocol.Hello(protocol.PROTOCOL_VERSION, "x"))
    answer = peer.request(protocol.COMPLETE, protocol.Complete(request(hold=True)), 77)
    peer.notify(protocol.CANCEL, {"id": 77})
    assert (await asyncio.wait_for(answer, 20))["finish_reason"] == "cancelled"
    await peer.close()
    await reading


async def test_a_window_that_closes_takes_its_requests_along(front, settings):
    window, other, sink = front(), front(), Sink()
    asking = asyncio.create_task(window.say(sink, say=["a"], hold=True))
    await sink.got(1)
    await window.supervisor.stop()
    with pytest.raises(HostCrashed):
        await asking
    assert (await asyncio.wait_for(other.say(say=["b"]), 20)).text == "b"


async def test_loading_progress_then_ready(front, settings, gate):
    """Progress rises while a request waits; it is answered once the model is there."""
    go = gate()
    window = front(settings({"progress": [0.25, 0.5], "wait": go.path}))
    asking = asyncio.create_task(window.say(say=["a"]))
    while True:
        status = await window.status.until("loading", after=len(window.status.seen) - 1)
        if status.progress == 0.5:
            break
        await asyncio.sleep(0)
    assert not asking.done()
    go.open()
    assert (await asking).text == "a"
    await window.status.until("ready")
    progress = [status.progress for status in window.status.seen if status.state.value == "loading"]
    assert progress == sorted(progress)
    states = list(dict.fromkeys(window.status.states))
    assert states == ["starting", "loading", "ready", "generating"]


async def test_a_cancelled_request_does_not_stop_the_loading(front, settings, gate):
    go = gate()
    window = front(settings({"wait": go.path}))
    asking = asyncio.create_task(window.say(say=["a"]))
    await window.status.until("loading")
    asking.cancel()
    await asyncio.wait([asking])
    go.open()
    assert (await window.say(say=["b"])).text == "b"
    assert len(window.launcher.started) == 1


async def test_load_failure_is_said_and_ends_the_host(front, settings):
    """The request raises the same error, the status carries message and hint, the process ends with 1."""
    window = front(settings({"fail": "OutOfMemory"}))
    with pytest.raises(OutOfMemory, match="scripted failure") as raised:
        await window.say(say=["a"])
    assert raised.value.hint == "scripted hint"
    assert window.supervisor.status.message == "scripted failure; scripted hint"
    assert await gone(window.launcher) == [1]
    # Still known afterwards, without another attempt.
    with pytest.raises(OutOfMemory):
        await window.say(say=["a"])
    assert window.supervisor.status.state.value == "error"
    assert len(window.launcher.started) == 1


async def test_engine_errors_keep_their_class(front):
    window = front()
    with pytest.raises(ContextOverflow):
        await window.say(fail="ContextOverflow")
    assert (await window.say(say=["b"])).text == "b"


async def test_defects_and_texts_stay_out_of_the_log(front):
    """A worker that raises with source text in its words: neither the log nor the client's error has it."""
    window = front()
    with pytest.raises(EngineError) as raised:
        await window.say(say=[CANARY], **{"raise": CANARY})
    assert CANARY not in str(raised.value)
    assert (await window.say(Sink(), say=[CANARY])).text == CANARY
    await window.supervisor.stop()
    written = b"".join(path.read_bytes() for path in home().rglob("*") if path.is_file())
    assert CANARY.encode() not in written
    assert b"request 1/2: ValueError" in written
    assert b"stop_token ms: decode=1" in written


async def test_idle_host_ends(front, settings):
    """Status 0, neither socket nor record left, and the window knows why; the next request starts another."""
    window = front(settings(idle_seconds=0.05))
    await window.say(say=["a"])
    status = await window.status.until("stopped")
    assert status.message == "no requests for 0.05 s"
    assert await gone(window.launcher) == [0]
    assert [name for name in files_of(paths.runtime_dir()) if not name.endswith(".lock")] == []
    assert (await window.say(say=["b"])).text == "b"


async def test_host_ends_after_its_last_client(front, settings):
    window = front(settings(orphan_seconds=0.0))
    await window.say(say=["a"])
    await window.supervisor.stop()
    assert await gone(window.launcher) == [0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_end_it_cleanly(front, number):
    """In mid-generation: exit status 0 and nothing left, and the request is taken to the next host."""
    window, sink = front(), Sink()
    asking = asyncio.create_task(window.say(sink, say=["a"], hold=True))
    await sink.got(1)
    os.kill((await window.supervisor.info())["pid"], number)
    with pytest.raises(HostUnavailable, match="stopping"):
        await asking  # text was delivered, so it is not tried again
    assert await gone(window.launcher) == [0]
    assert [name for name in files_of(paths.runtime_dir()) if not name.endswith(".lock")] == []


async def test_signal_while_loading_does_not_wait_for_it(front, settings, gate):
    """Loading never returns here; the process ends all the same."""
    window = front(settings({"wait": gate().path}))
    await window.supervisor.start()
    os.kill((await window.supervisor.info())["pid"], signal.SIGTERM)
    assert await gone(window.launcher) == [0]


async def test_everything_on_disk_is_private(front):
    """Files 0600 and folders 0700, and the socket too."""
    window = front()
    await window.say(say=["a"])
    modes = files_of(home())
    assert {name.rpartition(".")[2] for name in modes} == {"sock", "json", "lock", "log", "stderr"}
    assert set(modes.values()) == {0o600}
    assert {folder.stat().st_mode & 0o777 for folder in (paths.runtime_dir(), paths.state_dir())} == {0o700}


async def test_garbage_costs_only_the_connection_it_came_on(front, settings):
    """Not JSON, not a message, too long, a header without an end, a wrong id: dropped, and the host serves on."""
    window = front()
    await window.supervisor.start()
    endpoint = read_endpoint(address_key(settings()))

    def framed(body):
        return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    hello = framed(
        json.dumps(
            {"jsonrpc": "2.0", "id": 1, "method": "host/hello", "params": {"protocol": 1, "version": ""}}
        ).encode()
    )
    for garbage in [
        framed(b"{nonsense"),
        framed(b"[1, 2]"),
        framed(b"\xff\xfe"),
        framed(b'{"jsonrpc": "1.0", "id": 1, "method": "host/hello"}'),
        b"Content-Length: 99999999999\r\n\r\n",
        b"x" * 200_000,
        hello + framed(b"{nonsense"),
        hello + b"Content-Length: 20000000\r\n\r\n",
        hello + framed(b'{"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": {}}}'),
    ]:
        reader, writer = await connect(endpoint)
        writer.write(garbage)
        with contextlib.suppress(ConnectionError):
            while await asyncio.wait_for(reader.read(4096), 20):
                pass  # the answer to hello, then the end
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    assert (await window.say(say=["b"])).text == "b"
    assert len(window.launcher.started) == 1


@pytest.mark.parametrize(
    ("method", "params", "complaint"),
    [
        (protocol.COMPLETE, {"request": {"document": CANARY, "prefix": 1, "suffix": ""}}, "prefix: expected str"),
        ("host/nothing", None, "Method Not Found"),
    ],
)
async def test_bad_requests_are_answered(front, settings, method, params, complaint):
    """The connection stays, and the answer names the field but not the value."""
    from pygls.exceptions import JsonRpcException

    await front().supervisor.start()
    async with second_client(settings()) as client:
        with pytest.raises(JsonRpcException, match=complaint) as refused:
            await client._peer.request(method, params)
        assert CANARY not in str(refused.value)
        assert (await client.complete(request(say=["a"]))).text == "a"


async def test_strangers_get_nothing(front, settings):
    """A request before hello is refused and the connection closed."""
    from pygls.exceptions import JsonRpcException

    await front().supervisor.start()
    peer = Peer(*await connect(read_endpoint(address_key(settings()))))
    reading = asyncio.create_task(peer.run())
    with pytest.raises(JsonRpcException, match="first message must be"):
        await peer.request(protocol.INFO)
    await asyncio.wait_for(reading, 20)


async def test_other_protocol_is_refused_with_the_next_step(front, settings, monkeypatch):
    """Both versions are named."""
    await front().supervisor.start()
    endpoint = read_endpoint(address_key(settings()))
    spoken = protocol.PROTOCOL_VERSION
    monkeypatch.setattr(protocol, "PROTOCOL_VERSION", 99)
    with pytest.raises(HostUnavailable, match=rf"speaks protocol {spoken} .*side 99 ") as refused:
        await HostClient.open(endpoint)
    assert "host --stop" in refused.value.hint


async def test_loopback_needs_the_token(front, settings):
    """TCP serves who read the record, and refuses a wrong token."""
    window = front(options=("--transport", "tcp"))
    assert (await window.say(say=["a"])).text == "a"
    endpoint = read_endpoint(address_key(settings()))
    assert endpoint.transport == "tcp"
    assert len(endpoint.token) == 64
    for token in ("", "0" * 64, "ä"):
        with pytest.raises(HostUnavailable, match="wrong token"):
            await HostClient.open(dataclasses.replace(endpoint, token=token))


@pytest.mark.parametrize("what", ["sock", "json"])
async def test_a_window_that_comes_finds_a_host_whose_files_were_removed(front, what):
    """Found by a session whose socket was deleted: no second window could be served until the first one had closed."""
    window = front()
    await window.supervisor.start()
    for file in paths.runtime_dir().glob(f"*.{what}"):
        file.unlink()
    second = front()
    assert (await second.say(say=["a"])).text == "a"
    assert (await second.supervisor.info())["pid"] == (await window.supervisor.info())["pid"]


async def test_all_that_was_removed_of_a_host_is_put_back(front):
    window = front()
    await window.supervisor.start()
    run = paths.runtime_dir()
    before = files_of(run)
    shutil.rmtree(run)

    deadline = time.monotonic() + 20
    while not run.exists() or files_of(run) != before:
        assert time.monotonic() < deadline, "not put back"
        await asyncio.to_thread(time.sleep, 0.01)
    second = front()
    assert (await second.say(say=["a"])).text == "a"
    assert (await second.supervisor.info())["pid"] == (await window.supervisor.info())["pid"]


async def test_an_address_that_another_host_took_over_is_left_to_it(front, settings):
    """Where even the lock was removed, and somebody was quicker than the host could put it back."""
    key = address_key(settings())
    window = front()
    await window.supervisor.start()
    for file in paths.runtime_dir().iterdir():
        file.unlink()
    lock = hold_lock(key)
    assert lock is not None
    (paths.runtime_dir() / f"host-{key}.json").write_text("theirs")
    os.kill((await window.supervisor.info())["pid"], signal.SIGTERM)
    await gone(window.launcher)
    assert (paths.runtime_dir() / f"host-{key}.json").read_text() == "theirs"
    lock.release()


async def test_oom_killer_prefers_the_host(front):
    window = front()
    await window.supervisor.start()
    pid = (await window.supervisor.info())["pid"]
    score = await asyncio.to_thread(Path(f"/proc/{pid}/oom_score_adj").read_text)
    assert int(score) >= 500


async def test_a_host_that_gets_no_memory_makes_room_for_a_new_one(settings):
    """As where the system gives no more than a process has: what is connected may not be heard any more."""
    lock = hold_lock("c" * 20)
    server = HostServer(settings(), "c" * 20, scripted_worker.load)
    listening = asyncio.Event()
    running = asyncio.create_task(server.run(listening.set))
    await listening.wait()
    for error in (ValueError(), MemoryError()):
        assert not running.done()
        asyncio.get_running_loop().call_exception_handler({"message": "", "exception": error})
        await asyncio.sleep(0)
    assert await asyncio.wait_for(running, 20) == 0
    lock.release()


def test_errors_tree_is_what_faults_name():
    """Each class of the tree survives the wire by name."""
    for cls in (errors.ModelError, errors.OutOfMemory, errors.HostUnavailable):
        assert type(protocol.error_of(protocol.fault_of(cls("m")))) is cls


async def test_the_editors_side_logs_no_text_either(front, caplog):
    """Even with everything switched to DEBUG: pygls would log whole messages."""
    caplog.set_level("DEBUG")
    assert (await front().say(Sink(), say=[CANARY])).text == CANARY
    assert CANARY not in caplog.text
