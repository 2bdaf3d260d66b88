"""Secrets: which texts count as one, and that none is printed."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import jinja2
import pytest
from rich.console import Console

from components.base.errors import UsageError
from components.base.redact import check_address, find_secret, is_secret, redact, redact_file, redact_values
from pipeline.recipe.load import load_recipe
from pipeline.run.console import ConsoleHandler, Redacted, RedactedFormatter, make_console, quiet_libraries

pytestmark = pytest.mark.stack_free


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASS", "correct-horse")
    monkeypatch.setenv("GITHUB_PAT", "/battery/staple")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:pa/ss#wo?rd@mlflow.example.org/x?token=tok-4711")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=me;AccountKey=a2V5a2V5==;Suffix=core")


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASS",
        "GITHUB_PAT",
        "WANDB_KEY",
        "WANDB_API_KEY",
        "SSH_KEY",
        "ENCRYPTION_KEY",
        "SENTRY_AUTH",
        "AZURE_STORAGE_CONNECTION_STRING",
        "AWS_SECRET_ACCESS_KEY",
        "MYSQL_PWD",
        "HF_TOKEN",
        "TOKEN_GITHUB",
        "sslpassword",
        "X-Amz-Signature",
        "sig",
        "apiKey",
        "SENTRY_DSN",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name, "hunter2")
    assert is_secret(name, "/hunter2")
    assert not is_secret(name, "true")
    assert not is_secret(name, "3")


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "PWD",
        "OLDPWD",
        "HOME",
        "TOKENIZERS_PARALLELISM",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "SSH_AUTH_SOCK",
        "PUBLIC_KEY",
        "AWS_ACCESS_KEY_ID",
        "AUTHOR",
        "COMPASS",
        "KEYBOARD",
        "training.seed",
    ],
)
def test_names_of_other_things(name: str) -> None:
    assert not is_secret(name, "hunter2")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:s3cret@host:80/x", "https://***@host:80/x"),
        ("https://ghp4711@host/x", "https://***@host/x"),
        ("https://me:a/b#c?d@host/x", "https://***@host/x"),
        ("postgresql://me@host/db?sslpassword=abc&ssl=on", "postgresql://***@host/db?sslpassword=***&ssl=on"),
        ("https://host/?token=abc", "https://host/?token=***"),
        ("https://host/x?key=abc&n=1", "https://host/x?key=***&n=1"),
        ("--set model.options.password=hunter2", "--set model.options.password=***"),
        (
            "--set training.tracking.mlflow.tracking_uri=https://h/?token=abc",
            "*tracking_uri=https://h/?token=***",
        ),
        ("said correct-horse twice: correct-horse", "said *** twice: ***"),
        ("GITHUB_PAT is /battery/staple.", "GITHUB_PAT is ***."),
        ("nonnumeric port: 'pa/ss#wo?rd'", "nonnumeric port: '***'"),
        ("/x?token=tok-4711", "/x?token=***"),
        ("once tok-4711", "once ***"),
        ("a2V5a2V5== of AccountName=me", "*** of AccountName=me"),
        ("Authorization: Bearer abcdefgh.1234", "Authorization: Bearer ***"),
        ("ghp_" + "a" * 36, "***"),
        ("me:s3cret@host", "me:***@host"),
        ("https://a.org/?next=https://me:s3cret@host/x", "https://a.org/?next=https://***@host/x"),
    ],
)
def test_secrets_are_taken_out(text: str, shown: str) -> None:
    assert redact(text).endswith(shown.removeprefix("*tracking_uri") if shown[:9] == "*tracking" else shown)


@pytest.mark.parametrize(
    "text",
    [
        "--set training.epochs: expected key.sub=value, e.g. --set training.epochs=3",
        "gs://bucket/photos@2x/1.png",
        "http://localhost:8080/user@example.org",
        "registry.example.org:5000/mirante@sha256:0123",
        "max(names, key=len)",
        "splits: expected shares that add up to 1, got train=0.7, eval=0.1",
        "{DB_PASS: {secret: NAME, key: KEY}}",
        "train-00000-of-00001, record 0: the data's checksum is wrong",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert redact(text) == text
    assert find_secret(text) is None


def test_words_and_numbers_of_other_things_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mirante-admin")
    monkeypatch.setenv("DB_PASS", "mirante")
    monkeypatch.setenv("SORT_KEY", "12345")
    text = "mirante: 112345 images, 12345.5 images/s, 12,345 of mirante-admin"
    assert redact(text) == text
    assert redact("PIN 12345, DB_PASS=mirante, https://me:mirante@host/x") == (
        "PIN ***, DB_PASS=***, https://***@host/x"
    )
    monkeypatch.setenv("MAIL_PASSWORD", "abcdabcdabcd")  # twelve letters are no word
    assert redact("x.abcdabcdabcd.y") == "x.***.y"
    monkeypatch.setenv("MAIL_PASSWORD", "pässwört-1")
    (tmp_path / "x.log").write_text("no pässwört-1 here")
    redact_file(tmp_path / "x.log")
    assert (tmp_path / "x.log").read_text() == "no ************ here"


def test_a_secret_in_a_page_is_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASS", "horse<&>'\"4711")
    page = jinja2.Environment(autoescape=True).from_string("<p>{{ text }}</p>")
    assert "4711" not in redact(page.render(text="no access with horse<&>'\"4711"))


def test_only_logs_of_runs_are_redacted(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("killed.log", "of-the-user.log"):
        (logs / name).write_text("a correct-horse\n")
    (tmp_path / "runs" / "killed").mkdir(parents=True)
    (tmp_path / "runs" / "killed" / "recipe.yaml").write_text("")
    with quiet_libraries(logs / "now.log", make_console(to_stderr=True)):
        logging.getLogger("x").warning("a correct-horse")
        with (logs / "now.log").open("a") as file:
            file.write("and a correct-horse of C++\n")
    assert (logs / "killed.log").read_text() == "a *************\n"
    assert (logs / "of-the-user.log").read_text() == "a correct-horse\n"
    assert "correct-horse" not in (logs / "now.log").read_text()


@pytest.mark.parametrize("part", ["a", "a:b,", "a=b", "key=", "x://", "eyJ", "a.b-", "https://h/a@", "?"])
def test_a_long_line_takes_no_longer_than_its_length(part: str) -> None:
    began = time.process_time()
    redact(part * (50_000 // len(part)))
    assert time.process_time() - began < 5


def test_nested_values() -> None:
    given = {"error": "no correct-horse", "list": ["correct-horse", 3], "number": 0.5, "none": None}
    assert redact_values(given) == {"error": "no ***", "list": ["***", 3], "number": 0.5, "none": None}


def test_a_file_keeps_its_length(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"\xff\xfeC++ says correct-horse at https://me:s3cret@host/x\nnext\n")
    redact_file(log)
    assert log.read_bytes() == b"\xff\xfeC++ says ************* at https://*********@host/x\nnext\n"


def test_logs_and_tracebacks_are_without_secrets(tmp_path: Path) -> None:
    try:
        raise ValueError("correct-horse")
    except ValueError as e:
        record = logging.LogRecord(
            "x", logging.ERROR, "", 0, "%s", ("correct-horse",), (type(e), e, e.__traceback__)
        )
    text = RedactedFormatter("%(message)s").format(record)
    assert text.startswith("***\nTraceback")
    assert text.endswith("ValueError: ***")
    with (tmp_path / "out").open("w") as file:
        Redacted(file, str.upper).write("a correct-horse")
    assert (tmp_path / "out").read_text() == "A ***"


def test_a_narrow_terminal_breaks_no_secret_in_two(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file:
        handler = ConsoleHandler(Console(file=Redacted(file), width=20, force_terminal=False))  # type: ignore[arg-type]
        handler.emit(logging.LogRecord("x", logging.WARNING, "", 0, "password correct-horse", (), None))
    assert (tmp_path / "out").read_text().split() == ["password", "***"]


RECIPE = "name: flowers\nevaluation: {thresholds: {accuracy: 0.9}}\n"
URI = "training.tracking.mlflow.tracking_uri"
HIDDEN = "hunter2-4711"


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        (URI, f"https://{HIDDEN}@host/x", "a user name"),
        (URI, f"https://me:{HIDDEN}@host/x", "a password"),
        (URI, f"https://me:a/{HIDDEN}@host/x", "a password"),
        (URI, f"'https://me:a#{HIDDEN}@host/x'", "a password"),
        (URI, f"https://me:a?{HIDDEN}@host/x", "a password"),
        (URI, f"https://host/x?token={HIDDEN}", "a value for token"),
        (
            "training.tracking.mlflow.tracking_uri",
            f"https://host/x?password={HIDDEN}",
            "a value for password",
        ),
        (
            "training.tracking.mlflow.tracking_uri",
            f"postgresql://h/x?sslpassword={HIDDEN}",
            "a value for ssl",
        ),
        (URI, f"me:{HIDDEN}@host", "expected a server or a database"),
        ("training.tracking.mlflow", f"https://me:{HIDDEN}@host/x", "expected a mapping"),
        ("push.destination", f"s3://me:{HIDDEN}@bucket/x", "a password"),
        ("data.path", f"https://host/photos.zip?sig={HIDDEN}", "a value for sig"),
        ("training.tracking.wandb.tags", "[correct-horse]", "the value of the environment variable DB_PASS"),
        ("kubeflow.defaults.env.PROXY", f"http://me:{HIDDEN}@proxy", "a password"),
        ("kubeflow.defaults.env.DB_PASS", HIDDEN, "looks like a secret"),
        ("kubeflow.defaults.env.GITHUB_PAT", f"/{HIDDEN}", "looks like a secret"),
        ("kubeflow.defaults.env.AZURE_STORAGE_CONNECTION_STRING", HIDDEN, "looks like a secret"),
        ("kubeflow.tasks.Trainer.env.SENTRY_AUTH", HIDDEN, "looks like a secret"),
        ("kubeflow.defaults.env.NAME", f"AccountKey={HIDDEN}", "a value for AccountKey"),
    ],
)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_recipe_with_a_secret_is_refused_and_not_shown(
    key: str, value: str, kind: str, elsewhere: bool, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE)
    with pytest.raises(UsageError) as caught:
        load_recipe(str(path), [f"{key}={value}"], elsewhere=elsewhere)
    said = str(caught.value)
    assert kind in said
    assert said.startswith(f"--set {key.partition('.env.')[0]}")
    assert HIDDEN not in said
    assert "correct-horse" not in said


def test_a_secret_among_the_options_of_a_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE + f"model: {{name: 'nets:build', options: {{api_key: {HIDDEN}, depth: 3}}}}\n")
    with pytest.raises(
        UsageError, match=r"model\.options\.api_key: expected no secret, got a value for api_key"
    ) as caught:
        load_recipe(str(path), elsewhere=True)
    assert HIDDEN not in str(caught.value)


def test_a_file_of_a_secret_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE)
    given = "kubeflow.defaults.env={GOOGLE_APPLICATION_CREDENTIALS: /keys/x.json, MLFLOW_ENABLE_AUTH: 'true'}"
    assert load_recipe(str(path), [given]).kubeflow.defaults.env["MLFLOW_ENABLE_AUTH"] == "true"


def test_an_address_that_would_be_misread() -> None:
    with pytest.raises(ValueError, match=r"WANDB_BASE_URL: a password with / # or \? in it") as caught:
        check_address("WANDB_BASE_URL", "https://me:a/b@host")
    assert "a/b" not in str(caught.value)
    check_address("WANDB_BASE_URL", "https://me:a%2Fb@host:8080/x@y")
