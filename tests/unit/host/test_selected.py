"""Which host serves, while settings and models come and go."""

from __future__ import annotations

import pytest

from coder_lsp.config import Config
from coder_lsp.errors import HostUnavailable, ModelNotInstalled
from coder_lsp.host.protocol import HostSettings
from coder_lsp.host.selected import SelectedHost
from coder_lsp.types import FimRequest, HostState

REQUEST = FimRequest("u", "a", "", max_tokens=4)


@pytest.fixture
async def select(tmp_path):
    """Makes a SelectedHost over models that are files in a folder; ``statuses`` collects what it reports."""
    made = []

    def settings_of(config: Config) -> HostSettings:
        path = tmp_path / config.model
        if not path.exists():
            raise ModelNotInstalled(f"{config.model} is not installed", hint="coder-lsp models pull it")
        return HostSettings(model_path=str(path), model_name=config.model)

    def make():
        statuses = []
        made.append(SelectedHost(settings_of, statuses.append))
        return made[-1], statuses

    yield make
    for host in made:
        await host.stop()


async def test_a_model_that_is_not_there_is_an_error_and_a_status(select):
    host, statuses = select()
    with pytest.raises(ModelNotInstalled):
        await host.configure(Config(model="gone"))
    assert host.status.state is HostState.ERROR
    assert "models pull" in statuses[-1].message
    with pytest.raises(ModelNotInstalled):
        await host.complete(REQUEST)


async def test_a_model_that_arrives_later_is_taken_without_a_restart(select, tmp_path):
    host, _ = select()
    with pytest.raises(ModelNotInstalled):
        await host.configure(Config(model="late"))
    (tmp_path / "late").write_text("x")
    await host.configure(Config(model="late"))
    assert host._supervisor is not None


async def test_the_same_selection_keeps_its_supervisor_and_another_one_changes_it(select, tmp_path):
    host, _ = select()
    for name in ("one", "two"):
        (tmp_path / name).write_text("x")
    await host.configure(Config(model="one"))
    first = host._supervisor
    await host.configure(Config(model="one"))
    assert host._supervisor is first
    await host.configure(Config(model="two"))
    assert host._supervisor is not first


async def test_without_settings_nothing_is_served(select):
    host, _ = select()
    with pytest.raises(HostUnavailable, match="no settings"):
        await host.complete(REQUEST)
    assert await host.info() == {}
