import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lmroute.validate
from lmroute.config.compose import compose, jobs, searchpath
from lmroute.config.paths import shipped
from lmroute.errors import ConfigError

MINE = """\
# @package providers.mine
id: mine
type: openai_compatible
endpoint: http://127.0.0.1:9
"""


def run(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    file = cwd / "app.py"
    file.write_text(textwrap.dedent(script), encoding="utf-8")
    root = Path(lmroute.config.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONWARNINGS": "error"}
    command = [sys.executable, str(file), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_document_is_plain_resolved_and_without_hydras_node():
    composition = compose(["provider=openai", "task.limit=3", "seed=${task.limit}"])
    keys = ["schema_version", "seed", "question", "providers", "routing", "task", "adapter", "telemetry", "health"]
    assert list(composition.document) == keys
    assert type(composition.document["providers"]) is dict
    assert composition.document["seed"] == 3
    assert composition.overrides == ("provider=openai", "task.limit=3", "seed=${task.limit}")


def test_providers_stand_in_the_order_in_which_they_are_selected():
    assert list(compose(["provider=[openai,embedded,lmstudio]"]).document["providers"]) == [
        "openai",
        "embedded",
        "lmstudio",
    ]
    assert list(compose().document["providers"]) == ["lmstudio", "embedded"]


def test_the_trace_lists_files_in_merge_order_and_overrides_after_them():
    trace = compose(["routing=cost_first", "providers.embedded.tags=[a]", "hydra.job.name=x"]).trace
    conf = shipped("conf")
    assert [(s.file.relative_to(conf).as_posix(), s.package) for s in trace.sources] == [
        ("config.yaml", ()),
        ("provider/lmstudio.yaml", ("providers", "lmstudio")),
        ("provider/embedded.yaml", ("providers", "embedded")),
        ("routing/cost_first.yaml", ("routing",)),
        ("task/sentiment.yaml", ("task",)),
        ("adapter/auto.yaml", ()),
        ("telemetry/local.yaml", ("telemetry",)),
        ("health/watch.yaml", ("health",)),
    ]
    assert [(s.path, s.value) for s in trace.settings] == [(("providers", "embedded", "tags"), ["a"])]


def test_sixteen_threads_compose_at_once_and_each_gets_its_own():
    def one(index: int) -> tuple[int, int]:
        return index, compose([f"seed={index}", "provider=embedded"]).document["seed"]

    with ThreadPoolExecutor(16) as pool:
        assert all(wanted == got for wanted, got in pool.map(one, range(16)))
    assert not GlobalHydra.instance().is_initialized()


def test_composing_leaves_an_outer_hydra_as_it_was(tmp_path):
    done = run(
        """
        import hydra
        from hydra.core.global_hydra import GlobalHydra
        from hydra.version import getbase
        from lmroute.validate import load

        @hydra.main(config_path=None, version_base="1.2")
        def main(config):
            outer = GlobalHydra.instance().hydra, str(getbase())
            print(*load(["provider=[openai,ollama]"]).providers)
            assert (GlobalHydra.instance().hydra, str(getbase())) == outer
            job = hydra.core.hydra_config.HydraConfig.get().job
            print("job", job.name)

        main()
        """,
        "-m",
        "+a=1,2",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    printed = [line for line in done.stdout.splitlines() if not line.startswith("[")]
    assert printed == ["openai ollama", "job app"] * 2


def test_composition_does_not_depend_on_the_current_directory(tmp_path, monkeypatch):
    here = compose(["provider=vllm"]).document
    monkeypatch.chdir(tmp_path)
    assert compose(["provider=vllm"]).document == here


def test_an_overlay_adds_profiles_and_never_replaces_a_shipped_one(overlay):
    folder = overlay(provider__mine=MINE, provider__openai="# @package providers.openai\nid: hijacked\n")
    composition = compose(["provider=[mine,openai]"])
    assert composition.document["providers"]["mine"]["endpoint"] == "http://127.0.0.1:9"
    assert composition.document["providers"]["openai"]["id"] == "openai"
    assert folder / "provider" / "mine.yaml" in [source.file for source in composition.trace.sources]


@pytest.mark.parametrize("name", ["with space", "a,b", "[x]", "quo'te", "ünï"])
def test_an_overlay_folder_may_have_any_name(name, tmp_path, monkeypatch):
    folder = tmp_path / name
    (folder / "provider").mkdir(parents=True)
    (folder / "provider" / "mine.yaml").write_text(MINE, encoding="utf-8")
    monkeypatch.setenv("LMROUTE_CONFIG_HOME", str(folder))
    assert list(compose(["provider=mine"]).document["providers"]) == ["mine"]


def test_the_search_path_is_left_to_whoever_sets_it(overlay):
    assert searchpath() == []
    folder = overlay(provider__mine=MINE)
    assert searchpath() == [f'hydra.searchpath=["file://{folder.as_posix()}"]']
    assert searchpath(["seed=1", "hydra.searchpath=[file:///x]"]) == []


def test_a_sweep_is_expanded_to_the_overrides_of_each_job():
    assert jobs(["provider=lmstudio,openai", "routing=local_first,cost_first", "seed=3"]) == [
        ["provider=lmstudio", "routing=local_first", "seed=3"],
        ["provider=lmstudio", "routing=cost_first", "seed=3"],
        ["provider=openai", "routing=local_first", "seed=3"],
        ["provider=openai", "routing=cost_first", "seed=3"],
    ]


def test_a_sweep_knows_lists_ranges_and_globs():
    assert jobs(["provider=[lmstudio],[lmstudio,openai]"]) == [
        ["provider=[lmstudio]"],
        ["provider=[lmstudio,openai]"],
    ]
    assert jobs(["seed=range(0,3)"]) == [["seed=0"], ["seed=1"], ["seed=2"]]
    assert jobs(["routing=glob(cl*)"]) == [["routing=cloud_first"]]


def test_without_a_sweep_there_is_one_job():
    assert jobs([]) == [[]]
    assert jobs(["provider=openai"]) == [["provider=openai"]]


def test_each_job_of_a_sweep_composes_as_it_is_written():
    for job in jobs(["provider=lmstudio,embedded", 'task.question="a, b","c=d"', "task=ask"]):
        assert compose(job).document["task"]["question"] in {"a, b", "c=d"}


def test_what_an_experiment_sweeps_counts_too_and_the_command_line_wins(overlay):
    overlay(experiment__grid="# @package _global_\nhydra: {sweeper: {params: {seed: '1,2', adapter: 'json'}}}\n")
    assert jobs(["+experiment=grid", "adapter=xml"]) == [
        ["seed=1", "adapter=xml", "+experiment=grid"],
        ["seed=2", "adapter=xml", "+experiment=grid"],
    ]


def test_a_sweep_over_hydras_own_settings_is_refused():
    with pytest.raises(ConfigError, match="LMR201"):
        jobs(["hydra.job.name=a,b"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="provides.ok=[]{}$+~@/,'\"0:", max_size=14) | st.text(max_size=8))
def test_no_override_gets_anything_but_a_config_error(override):
    try:
        lmroute.validate.load([override])
        said = "valid"
    except ConfigError as error:
        said = str(error)
    assert said


def test_importing_the_package_does_not_import_what_is_slow():
    loaded = "[m for m in ('hydra', 'jsonschema', 'dspy', 'litellm', 'httpx') if m in sys.modules]"
    code = f"import sys, lmroute.validate; assert not {loaded}, {loaded}"
    root = Path(lmroute.config.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60, check=True)
