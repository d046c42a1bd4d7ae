"""Settings and folders."""

from __future__ import annotations

import pytest

from coder_lsp import paths
from coder_lsp.app import load_settings
from coder_lsp.doctor.finding import Status
from coder_lsp.doctor.settings import check_folders, check_settings


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_defaults_are_fine_and_the_file_is_named():
    found = by_name(check_settings(load_settings()))
    assert all(finding.status is Status.OK for finding in found.values())
    assert str(paths.config_file()) in found["settings"].detail
    assert "not there" in found["settings"].detail


def test_a_faulty_setting_is_a_warning_with_its_fix():
    paths.config_file().parent.mkdir(parents=True)
    paths.config_file().write_text("[completion]\nmax_tokens_line = 'many'\n", encoding="utf-8")
    found = [finding for finding in check_settings(load_settings()) if finding.name == "settings"]
    assert [finding.status for finding in found] == [Status.WARN]
    assert "max_tokens_line" in found[0].detail
    assert found[0].fix


@pytest.mark.parametrize("offline", [True, False])
def test_network_use_is_stated(offline):
    found = by_name(check_settings(load_settings(offline=offline)))
    assert ("forbidden" in found["network"].detail) is offline


def test_folders_are_private():
    assert all(finding.status is Status.OK for finding in check_folders())


def test_a_socket_folder_open_to_others_is_a_problem():
    paths.runtime_dir().chmod(0o755)
    finding = by_name(check_folders())["socket folder"]
    assert finding.status is Status.FAIL
    assert "0755" in finding.detail
    assert finding.fix == f"chmod 700 '{paths.runtime_dir()}'"


def test_a_folder_that_cannot_be_made_is_a_problem(coder_lsp_home):
    (coder_lsp_home / "cache").write_text("in the way", encoding="utf-8")
    finding = by_name(check_folders())["cache folder"]
    assert finding.status is Status.FAIL
    assert "CODER_LSP_HOME" in finding.fix
