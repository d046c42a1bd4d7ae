"""``coder-lsp doctor``: runs the checks of ``coder_lsp.doctor`` and prints what they find, as it is found.

With ``--tune`` it measures instead how to run the model on this machine (``coder_lsp.optimise.tune``).
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import click

from coder_lsp.cli.console import console, emit_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from coder_lsp.doctor.finding import Finding

_MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "bold red")}
"""A word and a colour for each status: the word alone must do where there is no colour."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--full", is_flag=True, help="Read the whole model file again to compute its digest.")
@click.option("--no-completion", is_flag=True, help="Leave out the timed completion, which loads the model.")
@click.option("--tune", is_flag=True, help="Time threads, attention and cache with the model, and remember the best.")
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option("--offline", is_flag=True, help="Forbid any use of the network.")
def doctor(*, as_json: bool, full: bool, no_completion: bool, tune: bool, model: str | None, offline: bool) -> None:
    """Check the installation and say how to fix what is wrong.

    Exit status: 0 if all is well, 1 if there are problems.
    """
    if tune:
        _tune(model, as_json=as_json)
        return
    out = console()
    found: list[Finding] = []
    for finding in findings(model=model, offline=offline or None, full=full, completion=not no_completion):
        found.append(finding)
        if not as_json:
            print_finding(out, finding)
    problems = [finding for finding in found if finding.status.value != "ok"]
    if as_json:
        emit_json({"ok": not problems, "findings": [asdict(finding) for finding in found]})
    else:
        out.print()
        out.print(_summary(problems))
    sys.exit(1 if problems else 0)


def findings(*, model: str | None, offline: bool | None, full: bool, completion: bool) -> Iterator[Finding]:
    """Everything the checks find. What depends on something that failed is left out, since it would fail as well."""
    from coder_lsp.app import engine_options, load_settings
    from coder_lsp.doctor import adapters, installation, machine, processes, remote, settings, trial
    from coder_lsp.doctor import engine as engines
    from coder_lsp.doctor import model as models
    from coder_lsp.doctor.finding import Status, fail, run, warn
    from coder_lsp.errors import ModelError
    from coder_lsp.models.store import resolve

    yield from run("python", installation.check_python)
    yield from run("packages", installation.check_packages)
    engine = list(run("native engine", installation.check_native_engine))
    yield from engine
    yield from run("processor", machine.check_processor)
    yield from run("memory", machine.check_memory)
    loaded = load_settings(model=model, offline=offline)
    yield from run("settings", partial(settings.check_settings, loaded))
    yield from run("folders", settings.check_folders)
    yield from run("model hosts", processes.check_hosts)
    served = list(run("server", partial(remote.check_remote, loaded.config)))
    yield from served
    by_server = bool(loaded.config.remote.url) and all(finding.status is Status.OK for finding in served)
    try:
        installed = resolve(loaded.config.model)
    except ModelError as error:
        hint = error.hint or "See: coder-lsp models list"
        if by_server:
            yield warn("model file", f"{error.message}: nothing here completes while the server is away", hint)
            if completion:
                yield from run("completion", partial(trial.check_completion, loaded.config))
        else:
            yield fail("model file", error.message, hint)
        yield from run("adapters", partial(adapters.check_adapters, loaded.config, None, full=full))
        return
    file = list(run("model file", partial(models.check_file, installed)))
    yield from file
    yield from run("model digest", partial(models.check_digest, installed, full=full))
    available, total = machine.memory_bytes()
    yield from run("model memory", partial(models.check_memory_need, installed, available, total))
    yield from run("engine", partial(engines.check_engine, installed.path, engine_options(loaded.config)))
    yield from run("adapters", partial(adapters.check_adapters, loaded.config, installed.path, full=full))
    if completion and not any(finding.status is Status.FAIL for finding in engine + file):
        yield from run("completion", partial(trial.check_completion, loaded.config))


def _tune(model: str | None, *, as_json: bool) -> None:
    from coder_lsp.app import load_config
    from coder_lsp.models.store import resolve
    from coder_lsp.optimise.tune import tune

    config = load_config(model=model)
    installed = resolve(config.model)
    remarks = console(stderr=True)
    tuning = tune(installed.path, lambda what: remarks.print(f"timing {what}"))
    if as_json:
        timed = [asdict(each) for each in tuning.timed]
        facts = {"model": installed.name, "remembered": tuning.remembered, "others": tuning.others, "timed": timed}
        emit_json(facts | asdict(tuning.chosen))
        return
    out = console()
    out.print(f"{'THREADS':>7}  {'ATTENTION':<9}  {'CACHE':<5}  {'PROMPT':>12}  {'DECODE':>12}")
    for each in tuning.timed:
        attention = "flash" if each.way.flash_attention else "plain"
        speeds = f"{each.prefill:>8.1f}/s    {each.decode:>8.1f}/s"
        out.print(f"{each.way.threads:>7}  {attention:<9}  {each.way.kv_type:<5}  {speeds}")
    chosen = tuning.chosen
    out.print()
    if not tuning.remembered:
        out.print(
            f"not remembered: other programs took {tuning.others:.0%} of the processors; try again when it is quiet"
        )
        return
    out.print(
        f"remembered for {installed.name}: {chosen.threads} threads decoding, {chosen.threads_batch} for prompts, "
        f"{'flash' if chosen.flash_attention else 'plain'} attention"
    )
    if chosen.kv_type != config.engine.kv_type:
        out.print(f"the cache is faster as {chosen.kv_type}: set engine.kv_type")
    if config.engine.threads:
        out.print(f"engine.threads is set to {config.engine.threads} and wins; 0 takes what was measured")


def print_finding(out: Console, finding: Finding) -> None:
    """One finding, with its fix below it."""
    mark, style = _MARKS[finding.status.value]
    out.print(mark, style=style, end="  ")
    out.print(f"{finding.name:<18}  {finding.detail}")
    for line in finding.fix.splitlines():
        out.print(f"      {'':<18}  fix: {line}")


def _summary(problems: list[Finding]) -> str:
    if not problems:
        return "All is well."
    failed = sum(finding.status.value == "fail" for finding in problems)
    return f"{failed} failed, {len(problems) - failed} could be better; what to do stands below each."
