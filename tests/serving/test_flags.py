"""Flags of `mirante serve` in the forms in which TensorFlow Serving takes them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from components.base.errors import UsageError
from pipeline.commands.serve import _with_model, serve
from pipeline.serving.settings import Settings
from pipeline.serving.text_config import read_session_config


@pytest.mark.parametrize(
    ("args", "name", "value"),
    [
        (["--enable_batching", "/m"], "enable_batching", True),
        (["--enable_batching=false", "/m"], "enable_batching", False),
        (["--enable_cors_support", "/m"], "rest_api_enable_cors_support", True),
        (["--port=8600", "/m"], "port", 8600),
        (["/m", "--model_name", "é"], "model_name", "é"),
        (["/m", "--prefer_tflite_model=true"], "prefer_tflite_model", "true"),
        (["--enable_profiler", "/m"], "enable_profiler", "true"),
        (["--use_saved_model", "/m"], "use_saved_model", "true"),
        (["--load_retry_interval_micros=-1", "/m"], "load_retry_interval_micros", -1),
        (["--enable_profiler", "--port=8600", "/m"], "port", 8600),
        (["/m", "--model_name", "ui"], "model_name", "ui"),
    ],
)
def test_flags_with_and_without_values(args: list[str], name: str, value: object) -> None:
    given = serve.make_context("serve", list(args)).params
    assert (given["model_dir"], given[name]) == ("/m", value)


@pytest.mark.parametrize(
    ("arg", "problem"),
    [
        ("--port=65536", "65536 is not in the range 0<=x<=65535"),
        ("--rest_api_port=-1", "-1 is not in the range 0<=x<=65535"),
        ("--rest_api_num_threads=-2", "-2 is not in the range x>=0"),
        ("--grpc_max_threads=many", "'many' is not a valid integer"),
        ("--client_timeout_secs=0", "0 is not in the range x>=1"),
        ("--per_process_gpu_memory_fraction=1.5", "1.5 is not in the range 0<=x<=1"),
        ("--max_pixels=178956971", "178956971 is not in the range 0<=x<=178956970"),
        ("--enable_batching=perhaps", "'perhaps' is not a valid boolean"),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused(arg: str, problem: str) -> None:
    with pytest.raises(click.BadParameter, match=re.escape(problem)):
        serve.make_context("serve", ["/m", arg])


def test_what_is_served_has_to_be_named_once() -> None:
    with pytest.raises(UsageError, match="expected MODEL_DIR, --model_base_path or --model_config_file"):
        _with_model(Settings(), None, has_rest_port=False)
    with pytest.raises(UsageError, match="MODEL_DIR: expected it without --model_base_path"):
        _with_model(Settings(model_base_path="/m"), "/m", has_rest_port=False)
    with pytest.raises(UsageError, match="/nowhere: no versions there"):
        _with_model(Settings(), "/nowhere", has_rest_port=False)


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        ("--model_config_file", "nowhere: cannot be read: No such file or directory"),
        ("--monitoring_config_file", "nowhere: cannot be read: No such file or directory"),
        ("--ssl_config_file", "nowhere: cannot be read: No such file or directory"),
        ("--rest_ssl_config_file", "nowhere: cannot be read: No such file or directory"),
        ("--batching_parameters_file", "--batching_parameters_file: expected --enable_batching with it"),
        ("--grpc_channel_arguments", "--grpc_channel_arguments: expected name=value, got nowhere"),
    ],
)
def test_wrong_files_are_refused_before_tensorflow_is_imported(flag: str, problem: str) -> None:
    model = [] if flag == "--model_config_file" else ["--model_base_path=/m"]
    code = (
        "import sys\n"
        "from pipeline.commands.main import main\n"
        f"try: main({['serve', *model, '--rest_api_port=1', f'{flag}=nowhere']!r})\n"
        "finally: print([name for name in ('tensorflow', 'grpc', 'aiohttp') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (2, "[]", f"mirante: {problem}")


def test_rest_is_off_unless_a_folder_is_given(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    assert _with_model(Settings(model_base_path="/m"), None, has_rest_port=False).rest_api_port == 0
    assert _with_model(Settings(), str(tmp_path), has_rest_port=False).rest_api_port == 8501
    assert _with_model(Settings(), str(tmp_path), has_rest_port=True).rest_api_port == 0


def test_flags_have_priority_over_the_session_file(tmp_path: Path) -> None:
    from pipeline.serving.models.saved_model import SessionOptions

    file = tmp_path / "session.config"
    file.write_text(
        "intra_op_parallelism_threads: 3 inter_op_parallelism_threads: 4 allow_soft_placement: true"
    )
    config = SessionOptions(intra_op_threads=1, config=read_session_config(str(file))).make_config()
    assert (config.intra_op_parallelism_threads, config.inter_op_parallelism_threads) == (1, 4)
    assert (config.allow_soft_placement, config.gpu_options.allow_growth) == (True, True)
    file.write_text("intra_op: 3")
    with pytest.raises(UsageError, match="expected a ConfigProto in text format"):
        read_session_config(str(file))
