"""Evaluator's configuration through real TFMA, against values worked out by hand with NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx_bsl.tfxio import tf_example_record

from components.config import EvaluationConfig
from components.errors import UsageError
from components.evaluator import eval_config, read_evaluation, read_plots
from pipeline.definition import BEAM_PIPELINE_ARGS

# Six classes; the model answers with these rows, whatever it is asked, in the order of `index`.
LABELS = np.array([0, 1, 2, 3, 4, 5, 0, 1])
PREDICTED = np.array([0, 1, 2, 3, 4, 4, 5, 1])  # two of eight are wrong


def probabilities() -> np.ndarray:
    rows = np.full((len(LABELS), 6), 0.02)
    rows[np.arange(len(LABELS)), PREDICTED] = 0.9
    # The last wrong one ranks its true class last: not among the five most probable.
    rows[6] = [0.0, 0.03, 0.03, 0.03, 0.03, 0.88]
    return rows.astype(np.float32)


class Answers(tf.Module):
    """Gives row `image/height` of a table."""

    def __init__(self, table: np.ndarray):
        super().__init__()
        self.table = tf.constant(table)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serving_tf_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, {"image/height": tf.io.FixedLenFeature([], tf.int64)})
        rows = tf.gather(self.table, parsed["image/height"])
        return {"probabilities": rows, "labels": tf.strings.as_string(rows)}


def evaluate(tmp_path: Path, config: EvaluationConfig, baseline: np.ndarray | None = None) -> str:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    data = tmp_path / "test.tfrecord"
    with tf.io.TFRecordWriter(str(data)) as writer:
        for index, label in enumerate(LABELS):
            feature = {
                "image/height": tf.train.Feature(int64_list=tf.train.Int64List(value=[index])),
                "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                "image/class/text": tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[b"class %d" % label])
                ),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    tfma_config = tfma.utils.update_eval_config_with_defaults(
        eval_config(config, list("abcdef")),
        has_baseline=baseline is not None,
        rubber_stamp=True,
    )
    models = []
    # As TFX's Evaluator does: a single model's spec has lost its name by now.
    for spec in tfma_config.model_specs:
        module = Answers(baseline if spec.is_baseline and baseline is not None else probabilities())
        folder = str(tmp_path / ("baseline" if spec.is_baseline else "candidate"))
        tf.saved_model.save(module, folder, signatures={"serving_tf_examples": module.serving_tf_examples})
        models.append(tfma.default_eval_shared_model(folder, model_name=spec.name, eval_config=tfma_config))
    output = str(tmp_path / "evaluation")
    tfxio = tf_example_record.TFExampleRecord(
        str(data), telemetry_descriptors=["test"], raw_record_column_name=tfma.constants.ARROW_INPUT_COLUMN
    )
    with beam.Pipeline(options=PipelineOptions(list(BEAM_PIPELINE_ARGS))) as pipeline:
        _ = (
            pipeline
            | tfxio.BeamSource()
            | tfma.ExtractEvaluateAndWriteResults(
                eval_config=tfma_config,
                eval_shared_model=models[0] if len(models) == 1 else models,
                output_path=output,
            )
        )
    return output


def test_metrics_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    config = EvaluationConfig(thresholds={"accuracy": 0.7, "loss": 9.0}, slice_by_class=True)
    folder = evaluate(tmp_path, config)
    found = read_evaluation(folder)
    assert found.metrics["accuracy"] == pytest.approx(6 / 8)
    assert found.metrics["top_5_accuracy"] == pytest.approx(7 / 8)
    # Six times -ln 0.9, once -ln 0.02, once -ln of Keras' smallest probability, 1e-7.
    expected = (-6 * np.log(0.9) - np.log(0.02) - np.log(1e-7)) / 8
    assert found.metrics["loss"] == pytest.approx(expected, rel=1e-3)
    assert 0.5 < found.metrics["auc"] <= 1.0
    # Class 4 is predicted twice, once rightly; class 5 once, wrongly; class 0 is found once of two times.
    assert found.per_class[4] == pytest.approx({"precision": 0.5, "recall": 1.0, "f1": 2 / 3})
    assert found.per_class[0]["recall"] == pytest.approx(0.5)
    assert found.per_class[0]["precision"] == pytest.approx(1.0)
    assert found.per_class[5]["recall"] == pytest.approx(0.0)
    # The slices of class 0 and class 5 are below the bound: it holds for the whole split alone.
    assert found.blessed
    assert found.failures == []
    assert found.baseline == {}
    plots = read_plots(folder)
    right = {(0, 0): 1, (1, 1): 2, (2, 2): 1, (3, 3): 1, (4, 4): 1}
    assert plots.confusion == {**right, (5, 4): 1, (0, 5): 1}
    # Of 8 x 6 probabilities, 8 are of the true class: six of 0.9, one of 0.02, one of 0. Of the other 40, one
    # is 0.9, one is 0.88, four are 0.03 and 34 are 0.02.
    expected = [(0, 0), (1 / 40, 6 / 8), (2 / 40, 6 / 8), (6 / 40, 6 / 8), (1, 7 / 8), (1, 1)]
    assert [point[:2] for point in plots.roc] == [pytest.approx(point) for point in expected]
    assert [point[2] for point in plots.roc] == pytest.approx([1.0001, 0.9, 0.88, 0.03, 0.02, 0.0], abs=2e-4)


def test_missed_thresholds_are_named_with_value_and_bound(tmp_path: Path) -> None:
    config = EvaluationConfig(thresholds={"accuracy": 0.8, "loss": 0.5, "top_5_accuracy": 0.8})
    found = read_evaluation(evaluate(tmp_path, config))
    assert not found.blessed
    assert sorted(found.failures) == [
        "accuracy is 0.7500, must be at least 0.8000",
        f"loss is {found.metrics['loss']:.4f}, must be at most 0.5000",
    ]


def test_regression_against_a_better_baseline_is_refused(tmp_path: Path) -> None:
    perfect = np.full((len(LABELS), 6), 0.02, np.float32)
    perfect[np.arange(len(LABELS)), LABELS] = 0.9
    config = EvaluationConfig(thresholds={"accuracy": 0.5}, max_regression={"accuracy": 0.1})
    folder = evaluate(tmp_path, config, baseline=perfect)
    found = read_evaluation(folder)
    assert not found.blessed
    assert found.failures == ["accuracy changed by -0.2500 against the baseline, allowed is -0.1000"]
    assert found.metrics["accuracy"] == pytest.approx(0.75)  # the candidate's, not the baseline's
    assert found.baseline["accuracy"] == 1.0
    plots = read_plots(folder)
    assert plots.confusion[0, 5] == 1
    assert plots.roc[1][:2] == pytest.approx((1 / 40, 6 / 8))


def test_a_threshold_on_a_metric_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="top_5_accuracy: no such metric with 3 classes"):
        eval_config(EvaluationConfig(thresholds={"top_5_accuracy": 0.9}), ["a", "b", "c"])
