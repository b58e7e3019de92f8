"""Made-up images where no real ones can ship: noise with the spectrum of natural images."""

import numpy as np
from numpy.typing import NDArray

from moesaic.models.network import Floats, Image

SHARED = 0.8  # of the variance that all channels have in common, as colours of a photograph do


def made_up_images(layer: Image, count: int, seed: int) -> Floats:
    """Return `count` inputs for `layer`, float32, the same for the same seed.

    Amplitudes fall with 1/f as in natural scenes (Field 1987); mean 0, deviation 1, like normalised
    photographs. (count, channels, height, width), or (count, tokens, channels) of white noise where
    the network takes tokens. Image ``i`` does not depend on `count`.
    """
    images = [_one(layer, np.random.default_rng([seed, i])) for i in range(count)]
    return np.stack(images).astype(np.float32)


def _one(layer: Image, rng: np.random.Generator) -> NDArray[np.float64]:
    if not layer.patch:
        return rng.standard_normal((layer.height, layer.width))
    fields = [_pink(rng, layer.height, layer.width) for _ in range(layer.channels + 1)]
    return np.stack([SHARED**0.5 * fields[0] + (1 - SHARED) ** 0.5 * f for f in fields[1:]])


def _pink(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Return a field of 1/f amplitudes, mean 0 and deviation 1 (a single pixel is 0)."""
    spectrum = np.fft.rfft2(rng.standard_normal((height, width)))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    field = np.fft.irfft2(spectrum / frequency, s=(height, width))
    return np.asarray(field / max(float(field.std()), 1e-12))
