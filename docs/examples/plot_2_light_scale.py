"""
The meaning of light scale
==========================

A pixel of intensity 1 fires at the rate α, the *light scale*. The same scene in less light gives
fewer spikes, and the same intensity once the rate is divided by α.
"""

import matplotlib.pyplot as plt

import spikerec
from spikerec.simulation import Camera, RandomScene, SceneStyle, bundled_images

photographs = [photograph.image for photograph in bundled_images()]
style = SceneStyle(motion=(3, 6), objects=(0, 0))
scene = RandomScene(photographs, height=120, width=160, seed=12, style=style)
window = scene.frames(0, 41)
truth = window[20]

# %%
# Three cameras see the scene; only their light scales differ. The upper row is the firing rate, as
# the camera gives it. The lower row is the rate divided by α: the intensity, on one scale for all.
# In less light its steps are coarser, since a window of 41 readouts then counts few spikes.

tfp = spikerec.load("tfp", window=41)
figure, axes = plt.subplots(2, 3, figsize=(9, 4.8), layout="constrained")
for column, light_scale in enumerate((0.1, 0.3, 0.6)):
    spikes = Camera(light_scale=light_scale).expose(window, seed=0)
    rate = spikes.float().mean(0)
    image = tfp.reconstruct(spikes[None], light_scale=light_scale).image[0, 0]
    error = (image.clamp(0, 1) - truth).square().mean()
    axes[0, column].imshow(rate, cmap="gray", vmin=0, vmax=1)
    axes[0, column].set_title(f"α = {light_scale}: mean rate {rate.mean():.2f}")
    axes[1, column].imshow(image, cmap="gray", vmin=0, vmax=1)
    axes[1, column].set_title(f"rate / α, {-10 * error.log10():.1f} dB")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("firing rate")
axes[1, 0].set_ylabel("intensity")
plt.show()

# %%
# Data sets state their light scale (0.6 for REDS, 0.4 for SREDS), and spikerec divides in one
# place, ``Network.reconstruct``. A recording that states none is shown by its own brightest tones
# (``exposure="auto"``).
