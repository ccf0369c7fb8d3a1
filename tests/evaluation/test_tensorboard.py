"""What TensorBoard reads of an evaluation, with its own reader, and its precision-recall curve against torch's."""

import numpy as np
import pytest
from scipy.stats import rankdata
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard.summary import compute_curve, pr_curve

from deepfake.evaluation.metrics import evaluate
from deepfake.evaluation.report import write_report
from deepfake.evaluation.tensorboard import precision_recall, summaries, write_board
from deepfake.metrics.trials import Trials
from deepfake.runs.folder import ReportFolder
from deepfake.scores.table import Scores


def made(n=300, decimals=1):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3 == 0
    return rng.normal(2.0 * labels, 1).round(decimals), labels.astype(int)


@pytest.mark.parametrize(("n", "decimals"), [(300, 1), (300, 8), (5000, 2), (4, 0)])
def test_the_precision_recall_curve_is_what_torch_makes_of_the_ranks(n, decimals):
    scores, labels = made(n, decimals)
    ranks = (rankdata(scores, method="max") - 1) / n
    theirs = compute_curve(labels, ranks, num_thresholds=127)
    np.testing.assert_allclose(precision_recall(Trials(scores, labels)), theirs, atol=1e-12)


def test_a_report_on_the_board(tmp_path):
    s, y = made()
    scores = Scores([f"u{i}" for i in range(len(s))], y, ["" if b else "A01" for b in y], s)
    metrics = evaluate(scores, threshold=0.5, dataset="corpus", partition="eval")
    folder = ReportFolder(tmp_path)
    write_report(folder, metrics, scores, title="x", provenance={})
    write_board(folder, metrics, scores, "corpus-eval")
    (file,) = folder.tensorboard.iterdir()
    board = EventAccumulator(str(file)).Reload()
    assert board.Scalars("corpus-eval/eer")[0].value == pytest.approx(metrics["eer"])
    assert board.Scalars("corpus-eval_eer_by_attack/A01")[0].value == pytest.approx(metrics["eer"])
    assert set(board.Tags()["images"]) == {f"corpus-eval/{name}" for name in ("det", "roc", "histogram")}
    image = board.Images("corpus-eval/det")[0]
    assert image.encoded_image_string == (tmp_path / "figures/det.png").read_bytes()
    assert (image.width, image.height) == (780, 750)  # 5.2 by 5 inches at 150 dots
    (tmp_path / "figures/det.png").unlink()
    images = [x.value[0].tag for x in summaries(metrics, scores, "a", folder.figures) if x.value[0].HasField("image")]
    assert images == ["a/roc", "a/histogram"]
    expected = pr_curve("corpus-eval/precision_recall", y, (rankdata(s, method="max") - 1) / len(s))
    (curve,) = [x for x in summaries(metrics, scores, "corpus-eval", folder.figures) if x.value[0].HasField("tensor")]
    assert curve.value[0].metadata.plugin_data == expected.value[0].metadata.plugin_data
    np.testing.assert_allclose(curve.value[0].tensor.float_val, expected.value[0].tensor.float_val, rtol=1e-6)
