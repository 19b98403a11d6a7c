"""Pictures of trials: what the domains look like, and how accuracy and losses went."""
import statistics
from pathlib import Path

from transfer_gluon.base.files import replacing
from transfer_gluon.iters.image_list import read_list
from transfer_gluon.training.summary import read_summary
from transfer_gluon.trials.methods import METHODS, last_epoch
from transfer_gluon.trials.trial import accuracy


def draw(path, runs, data_dir):
    """Sample images of both domains, and accuracy and losses by epoch; thin lines are seeds, thick ones their mean."""
    import cv2
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(13, 8), layout="constrained")
    samples, curves = figure.subfigures(2, 1, height_ratios=(1, 2.6))
    for row, (axes, name) in enumerate(zip(samples.subplots(2, 12), ("source.lst", "target.lst"))):
        images = read_list(Path(data_dir) / name)
        step = max(len(images) // 12, 1)
        for axis, file in zip(axes, images.files[::step]):
            image = cv2.imread(file)
            if image is not None:
                axis.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        for axis in axes:
            axis.set_axis_off()
        axes[0].set_title(f"{('source', 'target')[row]} images", loc="left", fontsize=10)
    plots = dict(zip(("validation_accuracy", "loss", "transfer_loss"), curves.subplots(1, 3)))
    titles = {"validation_accuracy": "accuracy on val.lst [%]", "loss": "softmax loss on labelled images [nat]",
              "transfer_loss": "transfer loss, each in its own units"}
    trained = [run for run in runs if run.stage is not None]
    further = dict.fromkeys(run.method for run in trained if run.method not in METHODS)
    colours = {"cnn": "C7", "dan": "C0", "jan": "C3", **dict(zip(further, ["C1", "C4", "C5", "C6", "C8", "C9"] * 9))}
    for method, colour in colours.items():
        seeds = [run for run in trained if run.method == method]
        epochs = [read_summary(run.summary) for run in seeds]
        offset = seeds[0].stage and last_epoch(next(run for run in trained if run.method == "cnn").command)
        for column, axis in plots.items():
            if column == "transfer_loss" and seeds[0].stage == 0:
                continue
            scale = 100 if column == "validation_accuracy" else 1
            lines = [[scale * float(row[column]) for row in rows] for rows in epochs]
            means = [statistics.mean(values) for values in zip(*lines)]     # as long as the run that stopped first
            for line, width, alpha, title in [*((line, 0.7, 0.6, None) for line in lines),
                                              (means, 2, 1, seeds[0].title)]:
                axis.plot(range(offset + 1, offset + 1 + len(line)), line, color=colour, linewidth=width, alpha=alpha,
                          label=title)
    adabn = [accuracy(run) for run in runs if run.method == "adabn"]
    plots["validation_accuracy"].axhline(statistics.mean(adabn), color="C2", linestyle="--", label=METHODS["adabn"][0])
    plots["transfer_loss"].axhline(0, color="black", linewidth=0.7)
    for column, axis in plots.items():
        axis.set_xlabel("epoch (stage 1 follows stage 0)")
        axis.set_title(titles[column], fontsize=10)
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)
