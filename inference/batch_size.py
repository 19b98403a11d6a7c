"""How many images to compute at a time, where nobody says it."""
import time

from transfer_gluon.base.framework import mx

USUAL, _OTHERS = 32, (8, 64)
_WORTH = 4000       # images from which on half a minute of trying, at the most, is little


def good_batch_size(net, image_shape, devices, num_images):
    """The number of images a batch by which a network is quickest on this machine: 32, or, where there are many images,
    of 8, 32 and 64 the one that a short trial on zeros finds.

    Between 16 and 64 most networks are within some percent of each other; large images may want fewer, small ones more.

    Parameters
    ----------
    net : callable
        From images (b, channels, height, width) on a device to anything.
    image_shape : (int, int, int)
        Channels, height, width, in pixels.
    devices : list of Context
        Which share a batch.
    num_images : int
        That there are.

    >>> good_batch_size(lambda images: images, (3, 2, 2), [mx.cpu()], 100)
    32
    """
    if num_images < _WORTH:
        return USUAL
    sizes = [USUAL, *_OTHERS]
    return max(sizes, key=lambda size: size / seconds_of(net, (size, *image_shape), devices[0]))


def seconds_of(net, shape, device):
    """Seconds that a network takes for a batch of zeros of a shape on a device."""
    images = mx.nd.zeros(shape, ctx=device)
    for _ in range(2):      # the first one warms up
        started = time.perf_counter()
        net(images)
        mx.nd.waitall()
    return time.perf_counter() - started
