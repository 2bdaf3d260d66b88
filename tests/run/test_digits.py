"""The main job, as a user runs it: `mirante run digits`, then again, then changed, then asked."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ml_metadata.metadata_store import MetadataStore

from components.prediction.batch_files import read_answers
from components.tasks.classification import TASK
from pipeline.steps import node_ids
from pipeline.storage.metadata_store import sqlite_store
from tests.make import commands
from tests.make.commands import find_long_lines, unwrap
from tests.make.pages import write_pages

pytestmark = [pytest.mark.long, pytest.mark.slow]

MIRANTE = Path(sys.executable).with_name("mirante")


def mirante(*arguments: str, as_program: bool = False) -> tuple[int, Any, str]:
    """Exit code, the JSON of the last line (None without one) and what went to standard error."""
    if as_program:
        done = subprocess.run([str(MIRANTE), *arguments], capture_output=True, text=True, check=False)
    else:
        done = commands.mirante(*arguments, runs_nodes=True)
    last = done.stdout.splitlines()[-1] if done.stdout.strip() else ""
    return done.returncode, json.loads(last) if last[:1] in ("{", "[") else None, done.stderr


def versions(root: Path) -> list[Path]:
    """The folders of all versions that were pushed."""
    return sorted((root / "serving").glob("[0-9]*"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("digits") / "root"


@pytest.fixture(scope="module")
def first(root: Path) -> tuple[int, Any, str]:
    return mirante("run", "digits", "--root", str(root), "--json", as_program=True)


def test_digits_are_learned_blessed_and_pushed(first: tuple[int, Any, str], root: Path) -> None:
    code, result, said = first
    assert code == 0, said
    assert result["pipeline"] == "digits"
    assert result["root"] == str(root)
    assert tuple(result["components"]) == node_ids()
    assert {outcome["status"] for outcome in result["components"].values()} == {"completed"}
    assert set(result["metrics"]) == {*TASK.metrics, *TASK.more_metrics}
    assert all(f"test {name}" in said for name in result["metrics"])
    assert (result["test_images"], result["warnings"]) == (354, [])
    assert set(result["per_class"]["0"]) == {"precision", "recall", "f1", "auc"}
    assert result["metrics"]["accuracy"] >= 0.97
    assert result["metrics"]["auc"] > 0.99
    assert result["blessed"] is True
    assert result["infra_blessed"] is True
    pushed = Path(result["pushed_model"])
    assert pushed.parent == root / "serving"
    assert pushed.name.isdigit()
    assert (pushed / "saved_model.pb").is_file()
    assert versions(root) == [pushed]
    assert result["baseline"]["note"] == f"none: first model, nothing is served in {pushed.parent}"
    assert (pushed / "assets.extra" / "labels.txt").read_text().split() == list("0123456789")
    assert set(result["per_class"]) == set("0123456789")
    assert Path(result["sample_image"]).parent == root
    assert said.rstrip().endswith("sample.png")  # the last line shows how to predict


def test_the_run_writes_its_report(first: tuple[int, Any, str], root: Path) -> None:
    _, result, said = first
    path = Path(result["report"])
    assert path == root / "runs" / result["run_id"] / "report.html"
    assert f"See the run:    {os.path.relpath(path)}" in said
    page = path.read_text(encoding="utf-8")
    assert "could not be made" not in page
    assert "where the model looks" in page  # the heat maps of mistakes
    assert len(page) < 1_000_000
    words = " ".join(re.sub(r"<[^>]*>", " ", page).split())
    assert all(f"{name} {value:.4f}" in words for name, value in result["metrics"].items())
    assert f"{result['test_images']} test images" in words
    for name, of_class in result["per_class"].items():
        precision, recall, f1, auc = (f"{of_class[key]:.4f}" for key in ("precision", "recall", "f1", "auc"))
        assert re.search(rf" {name} \d+ {precision} {recall} [\d.]+ to [\d.]+ {f1} {auc} ", words)
    for name, node in result["components"].items():
        assert node["peak_memory_bytes"] > 100_000_000
        peak = round(node["peak_memory_bytes"] / 2**20)
        assert f" {name} completed {node['seconds']:.1f} {peak:,} " in words
    assert {str(result["data"][key]) for key in ("sha256", "test_sha256")} <= set(words.split())


def test_the_model_card_is_next_to_the_model_with_the_numbers_of_the_result(
    first: tuple[int, Any, str], root: Path
) -> None:
    _, result, said = first
    path = Path(result["model_card"])
    assert path == Path(result["pushed_model"]) / "assets.extra" / "model_card.md"
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["quantitative_analyses"]["overall"] == result["metrics"]
    assert card["quantitative_analyses"]["per_class"] == result["per_class"]
    assert card["training_data"]["sha256"] == result["data"]["sha256"]
    assert card["evaluation_data"]["images"] == result["test_images"]
    assert card["model_details"]["size_bytes"] > 100_000
    text = path.read_text(encoding="utf-8")
    assert f"| accuracy | {result['metrics']['accuracy']:.4f} | 0.9" in text
    assert text == (root / "runs" / result["run_id"] / "model_card.md").read_text(encoding="utf-8")
    assert "no model card" not in said


def test_every_node_has_a_page(first: tuple[int, Any, str], root: Path, tmp_path: Path) -> None:
    _, result, said = first
    pages = write_pages(root, tmp_path, "classification", tuple("0123456789"))
    assert set(pages) == {"Ingest", *node_ids()}, said
    assert [name for name, page in pages.items() if "could not be made" in page.html] == []
    assert max(len(page.html) for page in pages.values()) < 1_000_000
    evaluation = pages["Evaluator"]
    assert evaluation.metrics == result["metrics"]
    assert evaluation.confusion is not None
    right = sum(row[place] for place, row in enumerate(evaluation.confusion.counts))
    whole = sum(map(sum, evaluation.confusion.counts))
    assert right / whole == pytest.approx(result["metrics"]["accuracy"])
    assert evaluation.roc is not None
    assert (evaluation.roc.fpr[0], evaluation.roc.tpr[-1]) == (0.0, 1.0)
    assert pages["Trainer"].metrics["eval_accuracy"] > 0.9
    # Standardized: the mean of the pixels, between black and white, is 0.
    words = " ".join(re.sub(r"<[^>]*>", " ", pages["Transform"].html).split())
    levels = re.search(r"white becomes 1 (-?[\d.]+) (-?[\d.]+)", words)
    assert levels, words
    assert float(levels[1]) < 0 < float(levels[2])


def test_the_run_keeps_its_recipe_its_result_and_its_log(first: tuple[int, Any, str], root: Path) -> None:
    _, result, said = first
    kept = root / "runs" / result["run_id"]
    recipe = yaml.safe_load((kept / "recipe.yaml").read_text())
    assert recipe["training"]["epochs"] == 15
    assert recipe["training"]["optimizer"] == "adam"  # a default, resolved
    assert json.loads((kept / "result.json").read_text()) == result
    assert Path(result["log"]).stat().st_size > 10_000
    # TensorFlow's and TFX's noise went there, and nowhere else.
    assert "absl" not in said
    assert "WARNING" not in said
    assert "epoch 1/15" in said
    assert find_long_lines(said) == []


def test_another_text_of_the_model_card_trains_and_pushes_nothing(
    first: tuple[int, Any, str], root: Path
) -> None:
    # Another text of the model card is another card, and no other model.
    about = "about.intended_use=Digits of *forms*."
    bulk = "bulk_inference={input: test, top: 1}"
    asked = ("--set", about, "--set", bulk, "--set", "export={formats: [tflite]}")
    code, result, said = mirante("run", "digits", "--root", str(root), "--json", *asked)
    assert code == 0, said
    executed = [name for name, outcome in result["components"].items() if outcome["status"] == "completed"]
    assert executed == ["Exporter", "Pusher", "BulkInference"]
    (exported,) = result["exports"]
    assert Path(exported["folder"], exported["file"]).stat().st_size == exported["size_bytes"]
    assert exported["original_value"] == pytest.approx(result["metrics"]["accuracy"])
    assert exported["value"] == pytest.approx(exported["original_value"], abs=0.02)
    assert "exported as tflite: " in " ".join(said.split())
    (file,) = Path(result["answers"]["folder"]).glob("part-*.parquet")
    assert result["answers"]["images"] == len(list(read_answers(str(file), "parquet"))) == 354
    assert "354 images, 0 with an error, in" in said
    report = Path(result["report"]).read_text(encoding="utf-8")
    assert "answers (354)" in report
    assert "accuracy on 354 test images; ms per image from decoded pixels on" in " ".join(report.split())
    card = json.loads(Path(result["model_card"]).with_suffix(".json").read_text())
    (of_export,) = card["quantitative_analyses"]["exports"]
    assert of_export["value"] == exported["value"]
    assert card["intended_use"]["primary_uses"] == "Digits of *forms*."
    assert result["metrics"] == first[1]["metrics"]
    assert result["pushed_model"] == first[1]["pushed_model"]
    assert len(versions(root)) == 1


def test_the_example_in_the_documentation_runs_in_a_notebook(
    first: tuple[int, Any, str], root: Path, tmp_path: Path
) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    shutil.copytree(root, tmp_path / "runs" / "digits")  # a copy of a root keeps its results
    page = (Path(__file__).parents[2] / "docs" / "everyday.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines() if line]
    cells = [nbformat.v4.new_code_cell(line) for line in lines]
    notebook = nbformat.v4.new_notebook(cells=cells)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in cells for output in cell.outputs]
    printed = [output for output in outputs if output.output_type == "stream"]
    assert {output.name for output in printed} == {"stdout"}
    said = "".join(output.text for output in printed)
    # The run's lines, and no others: nothing that libraries log.
    runs = [path.name for path in (tmp_path / "runs/digits/runs").iterdir() if path.is_dir()]
    assert said.startswith(f"digits  run {max(runs)} in ")
    assert "nothing changed" in said
    assert said.rstrip().splitlines()[-1].startswith("  pushed model ")
    assert not re.search("\x1b|absl|WARNING|tensorflow", said)
    values = [output.data["text/plain"] for output in outputs if output.output_type != "stream"]
    epochs, accuracy, answers, mistakes, opened_accuracy, *_, frame = values
    assert epochs == "3"
    assert opened_accuracy == accuracy
    assert "HTML" in frame
    assert float(accuracy) == first[1]["metrics"]["accuracy"]
    assert "'predictions': [{'label': '" in answers
    assert int(mistakes) == first[1]["mistakes"]["images"]


def test_a_pushed_model_that_was_removed_stays_back_until_its_record_is_removed(
    first: tuple[int, Any, str], root: Path
) -> None:
    pushed = Path(first[1]["pushed_model"])
    shutil.rmtree(pushed)
    record = root / "serving" / "pushes" / f"{pushed.name}.json"
    code, result, said = mirante("run", "digits", "--root", str(root), "--json")
    assert code == 4, said
    assert result["pushed_model"] is None
    assert f"this model was version {pushed.name} in {pushed.parent}, and that version was removed" in unwrap(
        said
    )
    assert f"to push it again, remove {record} and run the same command" in unwrap(said)
    record.unlink()
    code, result, said = mirante("run", "digits", "--root", str(root), "--json")
    assert code == 0, said
    statuses = {name: outcome["status"] for name, outcome in result["components"].items()}
    assert statuses.pop("Pusher") == "completed"
    assert set(statuses.values()) == {"cached"}
    assert Path(result["pushed_model"]).name == pushed.name
    assert (pushed / "saved_model.pb").is_file()


def test_what_was_refused_or_is_damaged_is_tried_again(first: tuple[int, Any, str], root: Path) -> None:
    """An InfraValidator that timed out on a busy machine, and a pushed model that was cut off since."""
    pushed = Path(first[1]["pushed_model"])
    store = MetadataStore(sqlite_store(root))
    (blessing,) = store.get_artifacts_by_type("InfraBlessing")
    blessing.custom_properties["blessed"].int_value = 0
    store.put_artifacts([blessing])
    (data,) = pushed.glob("variables/variables.data*")
    os.truncate(data, 100)
    code, result, said = mirante("run", "digits", "--root", str(root), "--json")
    assert code == 0, said
    executed = [name for name, outcome in result["components"].items() if outcome["status"] == "completed"]
    assert executed == ["InfraValidator", "Pusher"]
    assert f"{pushed} is damaged: variables/{data.name} has 100 bytes, and " in unwrap(said)
    assert Path(result["pushed_model"]).name == str(int(pushed.name) + 1)
    assert mirante("predict", str(root / "serving"), result["sample_image"])[0] == 0
    # As in the first place: nothing is done again.
    code, result, said = mirante("run", "digits", "--root", str(root), "--json")
    assert code == 0, said
    assert {outcome["status"] for outcome in result["components"].values()} == {"cached"}


def test_a_missed_threshold_reruns_the_evaluator_alone_and_exits_4(
    first: tuple[int, Any, str], root: Path
) -> None:
    settings = ("--set", "evaluation.thresholds.accuracy=0.9999", "--set", "bulk_inference.input=test")
    code, result, said = mirante("run", "digits", "--root", str(root), *settings, "--json")
    assert code == 4, said
    assert result["answers"] is None
    executed = {name for name, outcome in result["components"].items() if outcome["status"] == "completed"}
    assert executed == {"Evaluator", "Pusher", "BulkInference"}
    assert result["blessed"] is False
    assert result["pushed_model"] is None
    assert f"accuracy is {result['metrics']['accuracy']:.4f}, must be at least 0.9999" in said
    assert len(versions(root)) == 2


def test_a_worse_model_is_held_against_the_served_one(first: tuple[int, Any, str], root: Path) -> None:
    # Its artifact is gone, as where a backup was restored; the model that is served is not.
    shutil.rmtree(root / "Trainer" / "model")
    code, result, said = mirante(
        "run",
        "digits",
        "--root",
        str(root),
        "--set",
        "training.epochs=1",
        "--set",
        "training.learning_rate=0.0001",
        "--set",
        "evaluation.thresholds={accuracy: 0.05}",
        "--json",
    )
    assert code == 4, said
    executed = [name for name, outcome in result["components"].items() if outcome["status"] == "completed"]
    assert executed == ["Trainer", "InfraValidator", "Resolver", "Evaluator", "Pusher"]
    assert "against the baseline, allowed is -0.02" in said
    assert len(versions(root)) == 2
    assert result["baseline"]["model"] == str(max(versions(root)))
    assert result["baseline"]["metrics"]["accuracy"] == pytest.approx(first[1]["metrics"]["accuracy"])
    assert f"(baseline {first[1]['metrics']['accuracy']:.4f})" in said


def test_the_pushed_model_answers(first: tuple[int, Any, str], root: Path, tmp_path: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = []
    for index, extension in enumerate(("png", "webp", "gif", "png")):
        path = tmp_path / f"{index}.{extension}"
        pixels = (digits.images[index] * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).save(path, **({"lossless": True} if extension == "webp" else {}))
        images.append(str(path))
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(images[0]).read_bytes()[:60])
    asked = [*images[:2], str(broken), *images[2:], str(tmp_path / "absent.png")]
    code, answers, said = mirante("predict", str(root / "serving"), *asked, "--json")
    assert code == 1  # for the broken and the absent one
    assert [answer["image"] for answer in answers] == asked
    assert "error" in answers[2]
    assert "No such file" in answers[5]["error"]
    best = [answer["predictions"][0] for answer in answers if "predictions" in answer]
    assert [prediction["label"] for prediction in best] == ["0", "1", "2", "3"]
    for answer in answers:
        scores = [prediction["score"] for prediction in answer.get("predictions", [])]
        assert scores == sorted(scores, reverse=True)
        assert not scores or sum(scores) == pytest.approx(1.0, abs=1e-4)
    code, _, said = mirante("predict", str(versions(root)[-1]), images[0])
    assert code == 0, said


def test_predict_imports_no_tfx(first: tuple[int, Any, str], root: Path, tmp_path: Path) -> None:
    from PIL import Image

    image = tmp_path / "image.png"
    Image.new("L", (8, 8), 128).save(image)
    script = (
        "import sys; from components.prediction.predict import predict; "
        f"predict({str(root / 'serving')!r}, [{str(image)!r}]); "
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('tfx', 'apache_beam', 'tensorflow_transform', 'tensorflow_model_analysis')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_a_second_run_under_the_same_root_is_told_so(first: tuple[int, Any, str], root: Path) -> None:
    with open(root / ".lock", "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, result, said = mirante("run", "digits", "--root", str(root), "--json")
    assert code == 1
    assert "is in use by another run" in said
    assert "is in use by another run" in result["error"]
