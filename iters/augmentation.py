"""What happens to an image between the file and the network, as arguments of `ImageRecordIter`."""
from dataclasses import dataclass

_CUBIC = 2      # as the original's reader


def training_size(crop):
    """The shorter side, in pixels, that training images are resized to: 1.6 × the crop (512 for 320)."""
    return round(1.6 * crop)


def validation_size(crop):
    """The shorter side, in pixels, that validation images are resized to: 1.125 × the crop (360 for 320)."""
    return round(1.125 * crop)


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training image, whose pixels stay raw RGB 0–255. The defaults are the original's.

    With `random_crop`, the shorter side is resized to 1.6 × the crop and a part of random area and aspect
    is resized to the crop. Without it, the image is prepared as for validation: shorter side 1.125 × the
    crop, centre crop. Everything else works with either.

    Attributes
    ----------
    random_crop, random_mirror : bool
    min_random_area : float
        Smallest part of the image's area that a random crop takes; the largest is all of it.
    jitter : float
        Brightness, contrast and saturation each change by a random part up to this.
    pca_noise : float
        Standard deviation of the noise along the principal colour axes.
    max_random_h, max_random_s, max_random_l : int
        Largest change of hue (of 180), saturation and lightness (of 255).
    max_random_aspect_ratio : float
        Aspect changes by a random factor of 1 ± this.
    max_random_rotate_angle : int
        Degrees.
    max_random_shear_ratio : float
    max_random_scale, min_random_scale : float
    pad_size : int
        Pixels of border added on every side.
    fill_value : int
        Grey value, 0 to 255, of what rotation, shearing, scaling and padding uncover.
    """

    random_crop: bool = True
    random_mirror: bool = True
    min_random_area: float = 0.08
    jitter: float = 0.4
    pca_noise: float = 0.1
    max_random_h: int = 0
    max_random_s: int = 0
    max_random_l: int = 0
    max_random_aspect_ratio: float = 0.0
    max_random_rotate_angle: int = 0
    max_random_shear_ratio: float = 0.0
    max_random_scale: float = 1.0
    min_random_scale: float = 1.0
    pad_size: int = 0
    fill_value: int = 255

    def training(self, crop):
        """Arguments of `ImageRecordIter` for training images of `crop` pixels."""
        if self.random_crop:
            # MXNet draws the aspect of a random resized crop from this range, and from nothing else.
            geometry = dict(resize=training_size(crop), random_resized_crop=True,
                            min_random_area=self.min_random_area, max_random_area=1.0,
                            min_aspect_ratio=3 / 4 / (1 + self.max_random_aspect_ratio),
                            max_aspect_ratio=4 / 3 * (1 + self.max_random_aspect_ratio))
        else:
            geometry = dict(resize=validation_size(crop), max_aspect_ratio=self.max_random_aspect_ratio)
        return dict(
            geometry, rand_mirror=self.random_mirror, inter_method=_CUBIC,
            brightness=self.jitter, contrast=self.jitter, saturation=self.jitter, pca_noise=self.pca_noise,
            random_h=self.max_random_h, random_s=self.max_random_s, random_l=self.max_random_l,
            max_rotate_angle=self.max_random_rotate_angle, max_shear_ratio=self.max_random_shear_ratio,
            max_random_scale=self.max_random_scale, min_random_scale=self.min_random_scale,
            pad=self.pad_size, fill_value=self.fill_value)
