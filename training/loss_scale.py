"""Loss scaling, without which small gradients are 0 in float16."""
import numpy as np

from transfer_gluon.base.framework import mx
from transfer_gluon.base.log import log

_FIRST, _MOST, _PATIENCE = 2.0**16, 2.0**24, 2000


class LossScale:
    """Dynamic loss scaling (Micikevicius et al. 2018, *Mixed Precision Training*, section 3.2): the loss is multiplied
    with s before gradients are computed, which are divided by s in the update. Where one is no number, the update is
    left out and s halved; after 2000 updates in a row s is doubled, up to 2^24. It begins with 2^16.

    Attributes
    ----------
    parameter : Parameter
        (2,): s and the updates since it changed. What a run keeps.
    """

    def __init__(self, devices):
        self.parameter = mx.gluon.Parameter("loss_scale", grad_req="null", shape=(2,), init=mx.init.Constant(0))
        self.parameter.initialize(ctx=devices)
        self._put(_FIRST, 0)

    @property
    def value(self):
        """s."""
        return float(self.parameter.list_data()[0].asnumpy()[0])

    def admits(self, gradients):
        """Whether all these arrays are finite, so that the update is to be made; s changes accordingly."""
        arrays = [array for array in gradients if array is not None]
        by_device = {}
        for array in arrays:
            by_device.setdefault(array.context, []).append(array)
        finite = all(bool(mx.nd.multi_all_finite(*those, num_arrays=len(those)).asscalar())
                     for those in by_device.values())
        scale, since = self.parameter.list_data()[0].asnumpy().tolist()
        if not finite:
            log.info("gradients beyond float16: no update, and the loss is scaled by %g, not %g", scale / 2, scale)
            self._put(max(scale / 2, 1.0), 0)
        elif since + 1 >= _PATIENCE:
            self._put(min(scale * 2, _MOST), 0)
        else:
            self._put(scale, since + 1)
        return finite

    def _put(self, scale, since):
        self.parameter.set_data(mx.nd.array(np.array([scale, since], np.float32)))
