"""``docs/team-server.md`` and its files, held together: what one says the others do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "team-server"
PAGE = (ROOT / "docs" / "team-server.md").read_text(encoding="utf-8")
FILES = sorted(path.name for path in FOLDER.iterdir())
UNITS = [name for name in FILES if name.endswith(".service")]
OPTIONS = ["vllm.yaml", "vllm-lora.yaml"]


def text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def environment() -> dict[str, str]:
    lines = [line for line in text("team-server.env.example").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


class Strict(yaml.SafeLoader):
    """A key that is there twice is a fault, not the last one."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        assert len(keys) == len(set(keys)), f"twice in one mapping: {keys}"
        return super().construct_mapping(node, deep)


def options(name: str) -> dict:
    return yaml.load(text(name), Strict)


def compose() -> dict:
    filled = re.sub(r"\$\{(\w+):\?\}", lambda match: environment()[match[1]], text("compose.yaml"))
    assert "${" not in filled
    return yaml.load(filled, Strict)


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Section -> key -> values; systemd allows a key several times, which configparser does not."""
    parsed: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in text(name).replace("\\\n", " ").splitlines():
        if not line or line.startswith("#"):
            continue
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = match[1]
            parsed[section] = {}
        else:
            key, equals, value = line.partition("=")
            assert equals, f"{name}: {line}"
            parsed[section].setdefault(key, []).append(value)
    return parsed


def test_every_file_is_named_in_the_page_and_the_other_way_round():
    assert sorted(re.findall(r"\]\(team-server/([^)]+)\)", PAGE.split("## How it fits")[0])) == FILES


def test_files_say_what_vllm_takes_and_both_sets_of_options_agree():
    plain, adapters = (options(name) for name in OPTIONS)
    assert plain.items() <= adapters.items()
    added = adapters.keys() - plain.keys()
    assert added == {"enable-lora", "lora-modules", "max-loras", "max-cpu-loras", "max-lora-rank"}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_explained(name):
    for option in options(name):
        assert f"`{option}" in PAGE or f"{option}:" in PAGE or option in ("enable-lora", "enable-prompt-tokens-details")


@pytest.mark.parametrize("name", OPTIONS)
def test_nothing_is_logged_of_a_request(name):
    chosen = options(name)
    assert chosen["enable-log-requests"] is False
    assert chosen["enable-log-outputs"] is False
    assert chosen["disable-uvicorn-access-log"] is True


def test_prompts_of_the_defaults_fit_the_server():
    from coder_lsp.config import CompletionConfig, PromptConfig

    prompt = PromptConfig()
    longest = prompt.prefix_tokens + prompt.suffix_tokens + prompt.context_tokens
    assert longest + CompletionConfig().max_tokens_block < options("vllm.yaml")["max-model-len"]
    assert f"{longest:,} tokens" in text("vllm.yaml")


def test_the_default_rank_of_training_fits_the_server():
    from coder_lsp.train.run.settings import RunSettings

    assert options("vllm-lora.yaml")["max-lora-rank"] >= RunSettings.rank


def test_page_and_files_name_one_model():
    model = options("vllm.yaml")["served-model-name"]
    assert f'model = "{model}"' in PAGE
    assert environment()["MODEL_PATH"].endswith(f"/{model}")
    assert environment()["MODEL_PATH"].startswith(environment()["MODELS"])


def test_adapters_of_the_page_are_served_from_where_models_are():
    served = dict(each.split("=") for each in options("vllm-lora.yaml")["lora-modules"])
    assert 'remote.model = "payments"' in PAGE
    assert f"cp -r RUN/adapter {served['payments']}" in PAGE
    assert all(path.startswith(f"{environment()['MODELS']}/") for path in served.values())


def test_settings_of_the_page_are_settings():
    from dataclasses import fields

    from coder_lsp.config import RemoteConfig

    block = PAGE.split("[remote]\n")[1].split("```")[0]
    assert set(re.findall(r"^\s*(\w+) =", block, re.MULTILINE)) <= {field.name for field in fields(RemoteConfig)}


def test_images_are_pinned_and_the_page_names_the_version():
    images = [service["image"] for service in compose()["services"].values()]
    for image in images:
        tag = image.partition(":")[2]
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag), image
    version = images[0].rpartition(":v")[2]
    assert f"version {version}" in PAGE
    assert set(re.findall(r"vLLM (\d+\.\d+\.\d+)", PAGE + text("vllm.yaml"))) == {version}


def test_replicas_have_a_gpu_each_and_no_way_out():
    services = compose()["services"]
    replicas = [services["vllm-0"], services["vllm-1"]]
    gpus = [each["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] for each in replicas]
    assert gpus == [["0"], ["1"]]
    assert all(each["networks"].keys() == {"models"} and "ports" not in each for each in replicas)
    assert compose()["networks"]["models"]["internal"] is True


def test_the_balancer_finds_the_replicas():
    services = compose()["services"]
    variables = services["balancer"]["environment"]
    for number in (0, 1):
        replica = services[f"vllm-{number}"]
        port = replica["command"][replica["command"].index("--port") + 1]
        assert variables[f"REPLICA_{number}"] == f"{replica['networks']['models']['ipv4_address']}:{port}"
        assert environment()[f"REPLICA_{number}"] == f"127.0.0.1:800{number}"
    assert "--port 800%i" in unit("vllm@.service")["Service"]["ExecStart"][0]


def test_the_balancer_has_every_variable_it_reads():
    read = set(re.findall(r"\$\{(\w+)\}", text("haproxy.cfg")))
    assert read == compose()["services"]["balancer"]["environment"].keys()
    assert read <= environment().keys()


def test_ports_agree():
    port = environment()["LISTEN_PORT"]
    assert compose()["services"]["balancer"]["ports"] == [f"{port}:{port}"]
    assert f"https://models.example:{port}/v1" in PAGE
    assert "--port 8000" in unit("llama-server.service")["Service"]["ExecStart"][0]


@pytest.mark.parametrize("name", ["compose.yaml", "vllm@.service"])
def test_a_replica_is_told_to_look_nothing_up_and_to_report_nothing(name):
    if name == "compose.yaml":
        given = compose()["services"]["vllm-1"]["environment"]
    else:
        lines = unit(name)["Service"]["Environment"]
        given = dict(pair.split("=", 1) for line in lines for pair in line.split())
    assert {
        given[key] for key in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK")
    } == {"1"}
    assert given["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "0"
    assert given["VLLM_LOGGING_LEVEL"] == "INFO"
    assert "VLLM_SERVER_DEV_MODE" not in given


def test_no_variable_of_ours_looks_like_one_of_vllm():
    """It warns of those it does not know."""
    assert not [name for name in environment() if name.startswith("VLLM_")]


@pytest.mark.parametrize("name", UNITS)
def test_units_run_with_few_rights(name):
    service = unit(name)["Service"]
    assert service["NoNewPrivileges"] == ["yes"]
    assert service["ProtectSystem"] == ["strict"]
    assert service["CapabilityBoundingSet"] == [""]
    assert service.get("DynamicUser") == ["yes"] or service["User"] == ["haproxy"]
    if name != "team-balancer.service":
        assert (service["IPAddressDeny"], service["IPAddressAllow"]) == (["any"], ["localhost"])


@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_no_fault_but_programs_that_are_not_here(name):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(("systemd-analyze", "verify", FOLDER / name), capture_output=True, text=True, check=False)
    # Of this machine's own units it may have complaints too.
    said = [line for line in done.stderr.splitlines() if line.startswith(name.partition("@")[0].partition(".")[0])]
    assert [line for line in said if "is not executable" not in line] == []


@pytest.mark.parametrize("name", [*FILES, ""])
def test_no_secret_is_inside(name):
    content = text(name) if name else PAGE
    assert not re.search(r"[0-9a-fA-F]{32}|-----BEGIN|hf_\w{10}|sk-\w{10}", content)


def test_keys_are_one_a_line_and_have_to_be_replaced():
    lines = [line.split() for line in text("keys.map.example").splitlines() if not line.startswith("#")]
    assert all(len(words) == 2 and words[0].startswith("REPLACE-") for words in lines)
    assert len({name for _, name in lines}) == len(lines) > 1
