#!/usr/bin/env python3
"""ResNet-50 in PyTorch, trained and used in every way that may be its fastest, to compare with: images a second.

A training step is forward, softmax loss of the source half, JMMD of dalib (without dalib, softmax alone), backward and
SGD with momentum; what is timed ends with the step. Weights and images are random. Waits for lines `run NAME SECONDS`
and answers each with a line of JSON, so that another process can take turns with this one; NAMES given are run alone.

    python benchmarks/torch_resnet.py --names
    python benchmarks/torch_resnet.py --repeat 3 --seconds 10 train-float32 train-float32-channels_last
    echo 'run evaluate-bfloat16-fused 10' | python benchmarks/torch_resnet.py
"""
import logging
import time
import warnings

import click
from peers import INSTALL, jmmd_of_dalib, processor, refuse, say, serve, torch_or_refuse

DTYPES, LAYOUTS = ("float32", "bfloat16"), ("", "channels_last")
TRAIN, EVALUATE = ("", "compiled"), ("", "fused", "frozen", "compiled")
# "fused": batch normalisation multiplied into the convolutions. "frozen": by TorchScript, with weights in oneDNN's own
# layout. "compiled": by torch.compile, which takes minutes at first and a C++ compiler.
NAMES = ["-".join(filter(None, parts)) for parts in
         [("train", dtype, layout, way) for dtype in DTYPES for layout in LAYOUTS for way in TRAIN] +
         [("evaluate", dtype, layout, way) for dtype in DTYPES for layout in LAYOUTS for way in EVALUATE]]


class Ways:
    """Functions that take a step, each made when it is first asked for, in the order of `NAMES`."""

    def __init__(self, torch, batch, side, classes, seed=0):
        import torchvision
        self.torch, self.resnet50 = torch, torchvision.models.resnet50
        self.batch, self.classes, self.steps = batch, classes, {}
        torch.manual_seed(seed)
        self.images = torch.rand(batch, 3, side, side)
        self.labels = torch.randint(classes, (batch // 2,))
        self.transfer = jmmd_of_dalib()

    def __getitem__(self, name):
        if name not in NAMES:
            raise KeyError(f"there is no {name}")
        if name not in self.steps:
            use, dtype, *rest = name.split("-")
            layout = self.torch.channels_last if "channels_last" in rest else self.torch.contiguous_format
            make = self._training if use == "train" else self._evaluation
            self.steps[name] = make(dtype == "bfloat16", layout, rest)
            for _ in range(3):      # memory, layouts, compilation
                self.steps[name]()
        return self.steps[name]

    def _autocast(self, low):
        return self.torch.autocast("cpu", self.torch.bfloat16, enabled=low)

    def _network(self, layout):
        return self.resnet50(num_classes=self.classes).to(memory_format=layout)

    def _training(self, low, layout, rest):
        torch, images = self.torch, self.images.to(memory_format=layout)
        network, half = self._network(layout).train(), self.batch // 2
        classifier, network.fc = network.fc, torch.nn.Identity()

        def forward(images):
            with self._autocast(low):
                features = network(images)
                logits = classifier(features)
            return features.float(), logits.float()

        forward = torch.compile(forward) if "compiled" in rest else forward
        optimizer = torch.optim.SGD([*network.parameters(), *classifier.parameters()], lr=1e-4, momentum=0.9)

        def step():
            features, logits = forward(images)
            loss = torch.nn.functional.cross_entropy(logits[:half], self.labels)
            if self.transfer is not None:
                p = torch.softmax(logits, 1)
                loss = loss + 0.3 * self.transfer((features[:half], p[:half]), (features[half:], p[half:]))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            return loss.item()
        return step

    def _evaluation(self, low, layout, rest):
        torch, network = self.torch, self._network(layout).eval()
        images = self.images.to(memory_format=layout)
        if "fused" in rest or "frozen" in rest:
            from torch.fx.experimental.optimization import fuse
            network = fuse(network).to(memory_format=layout)
        if low:
            network, images = network.bfloat16(), images.bfloat16()
        with torch.no_grad():
            if "frozen" in rest:
                network = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(network, images)))
            if "compiled" in rest:
                network = torch.compile(network, options={"freezing": True})

        def step():
            with torch.no_grad():
                return network(images)
        return step

    def speed(self, name, seconds):
        """Images a second over whole steps that begin within `seconds`; one before them does not count."""
        step = self[name]
        step()
        started, count = time.perf_counter(), 0
        while not count or time.perf_counter() - started < seconds:
            step()
            count += 1
        taken = time.perf_counter() - started
        return dict(images_per_second=self.batch * count / taken, steps=count, seconds=taken)


@click.command(context_settings=dict(show_default=True), help=__doc__.split("\n\n")[0])
@click.argument("names", nargs=-1, type=click.Choice(NAMES), metavar="[NAME]...")
@click.option("--names", "listed", is_flag=True, help="List the names and end.")
@click.option("--batch", default=16, help="Images in a step, a multiple of 4.")
@click.option("--side", default=224, help="Pixels of an image's side.")
@click.option("--classes", default=263)
@click.option("--threads", default=2)
@click.option("--denormals", is_flag=True, help="Leave denormals as they are: PyTorch as it comes.")
@click.option("--repeat", default=3, help="How often each of NAMES is run, in turns.")
@click.option("--seconds", default=10.0, help="How long each of NAMES is run at a time.")
def main(names, listed, batch, side, classes, threads, denormals, repeat, seconds):
    if listed:
        return print(*NAMES, sep="\n")
    torch = torch_or_refuse(denormals, threads)
    warnings.filterwarnings("ignore")       # on stderr they would stand among what is measured
    logging.getLogger("torch").setLevel(logging.ERROR)
    try:
        ways = Ways(torch, batch, side, classes)
    except ImportError:
        refuse(f"torchvision is not installed: {INSTALL}.")
    say(ready=True, torch=torch.__version__, processor=processor(), threads=torch.get_num_threads(), batch=batch,
        side=side, jmmd=ways.transfer is not None, denormals_flushed=not denormals)
    for _ in range(repeat if names else 0):
        for name in names:
            say(what=name, **ways.speed(name, seconds))
    if not names:
        serve(ways.speed)


if __name__ == "__main__":
    main()
