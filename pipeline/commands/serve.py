"""`mirante serve`: answer TensorFlow Serving's REST and gRPC calls with pushed models."""

import dataclasses
import os
from typing import Any

import click

from components.base.errors import UsageError
from pipeline.commands.shared import example
from pipeline.serving.settings import DEFAULT_REST_PORT, IGNORED_FLAGS, IGNORED_SWITCHES, Settings

_ALIASES = {"rest_api_enable_cors_support": ("enable_cors_support",)}
_SWITCHES = {f"--{name}" for name in ("enable_cors_support", *IGNORED_SWITCHES)} | {
    f"--{field.name}" for field in dataclasses.fields(Settings) if isinstance(field.default, bool)
}


class _Serve(click.Command):
    """Takes flags as TensorFlow Serving does: `--flag=value`, and for a switch `--flag` or `--flag=false`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write switches without a value out, since a value could follow any option else."""
        return super().parse_args(ctx, [f"{arg}=true" if arg in _SWITCHES else arg for arg in args])


def _type_of(field: Any) -> Any:
    least, most = field.metadata["least"], field.metadata["most"]
    if least is None and most is None:
        return type(field.default)
    return {int: click.IntRange, float: click.FloatRange}[type(field.default)](least, most)


def _add_flags(command: Any) -> Any:
    for field in reversed(dataclasses.fields(Settings)):
        about = field.metadata["help"]
        if field.metadata["extension"]:
            about += "  [not TensorFlow Serving's]"
        names = (field.name, *_ALIASES.get(field.name, ()))
        option = click.option(
            field.name,
            *[f"--{name}" for name in names],
            type=_type_of(field),
            default=None,
            help=about,
            metavar={bool: "[BOOL]", int: "N", float: "X", str: "TEXT"}[type(field.default)],
        )
        command = option(command)
    for name in IGNORED_FLAGS:
        command = click.option(f"--{name}", hidden=True)(command)
    return command


@click.command(cls=_Serve, epilog=example("mirante serve runs/digits --rest_api_port 8501 --ui"))
@click.argument("model_dir", required=False)
@_add_flags
def serve(model_dir: str | None, **flags: Any) -> int:
    """Serve models over REST and gRPC, as TensorFlow Serving does.

    MODEL_DIR is the folder of a model's versions or one SavedModel, both also in a bucket (s3://, gs://), a
    run's root, or the address of a model store (mongodb://HOST/DATABASE/MODEL, models:/MODEL); REST is then
    on port 8501. New versions are loaded as they appear, and the former one answers until they do. The
    flags are TensorFlow Serving's, and so are the answers, messages and metrics. It listens on this machine
    only, unless --bind_address says otherwise, and has no login: put a proxy before it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    given = {name: value for name, value in flags.items() if value is not None}
    ignored = [name for name in IGNORED_FLAGS if name in given]
    if str(given.get("use_alts_credentials", "false")).lower() not in ("false", "0"):
        raise UsageError("--use_alts_credentials: expected false, since ALTS works in Google's cloud only")
    settings = Settings(**{name: value for name, value in given.items() if name not in IGNORED_FLAGS})
    settings = _with_model(settings, model_dir, has_rest_port="rest_api_port" in given)
    from pipeline.serving.configuration import read_configuration

    # Before TensorFlow is imported, which takes seconds.
    configuration = read_configuration(settings)

    import logging

    from pipeline.run.console import RedactedFormatter

    handler = logging.StreamHandler()
    handler.setFormatter(RedactedFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # It says that loading for sessions is deprecated, and what it restores.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    for name in ignored:
        logging.warning("--%s: means nothing here, ignored", name)
    from pipeline.serving.server import Server

    Server(settings, configuration).run()
    return 0


def _with_model(settings: Settings, model_dir: str | None, has_rest_port: bool) -> Settings:
    """Return the settings with the folder of the model's versions, as an absolute path."""
    if model_dir is not None:
        if settings.model_base_path or settings.model_config_file:
            raise UsageError("MODEL_DIR: expected it without --model_base_path and --model_config_file")
        from components.base.files import explained
        from components.base.object_store import parse_url
        from components.base.saved_model import is_saved_model
        from components.model_stores.address import is_store
        from components.prediction.asked import find_push_destination

        if is_store(model_dir):
            folder = _follow_store(model_dir)
        else:
            parse_url(model_dir)
            with explained(model_dir):
                folder = model_dir if is_saved_model(model_dir) else find_push_destination(model_dir)
        settings = dataclasses.replace(settings, model_base_path=folder)
        if not has_rest_port:
            settings = dataclasses.replace(settings, rest_api_port=DEFAULT_REST_PORT)
    elif not settings.model_base_path and not settings.model_config_file:
        raise UsageError("expected MODEL_DIR, --model_base_path or --model_config_file")
    if not (settings.port or settings.grpc_socket_path or settings.rest_api_port):
        raise UsageError("expected --port, --grpc_socket_path or --rest_api_port, all are off")
    if settings.model_base_path and "://" not in settings.model_base_path:
        settings = dataclasses.replace(settings, model_base_path=os.path.abspath(settings.model_base_path))
    return settings


def _follow_store(address: str) -> str:
    """Return a folder of versions that follows a model store; it is removed at the end of this process."""
    import atexit
    import shutil
    import tempfile

    from components.model_stores.store import follow_store, update_folder

    folder = tempfile.mkdtemp(prefix="mirante-serve-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    update_folder(address, folder)
    follow_store(address, folder)
    return folder
