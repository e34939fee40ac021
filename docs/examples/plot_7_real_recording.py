"""
A real recording: dark, with defects
====================================

Recordings of real cameras come without a light scale, often in little light, and with pixels that
always or never fire. spikerec measures the exposure and replaces broken pixels.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import spikerec
from spikerec import spikes
from spikerec.simulation import Camera, RandomScene, SceneStyle, bundled_images
from spikerec.spikes.defects import find_defects

# %%
# A recording like a real one
# ---------------------------
# It is simulated, so that the page needs no download: a camera in the dark, with dark current,
# pixels of unequal response, and 60 broken ones. The file states no light scale.

photographs = [photograph.image for photograph in bundled_images()]
style = SceneStyle(motion=(4, 8), objects=(0, 1))
scene = RandomScene(photographs, height=120, width=160, seed=8, style=style)
camera = Camera(
    light_scale=0.15, threshold=100, shot_noise=True, gain_spread=0.03, dark_current=0.004
)
bits = camera.expose(scene.frames(0, 401), seed=0)
place = torch.randperm(120 * 160, generator=torch.Generator().manual_seed(0))[:60]
bits.flatten(1)[:, place[:40]] = 1  # hot
bits.flatten(1)[:, place[40:]] = 0  # dead
file = Path(tempfile.mkdtemp()) / "recording.npy"
spikes.save(file, bits.numpy(), rate_hz=20_000)

# %%
# Look at it first
# ----------------
# ``spikerec data inspect recording.npy`` prints the same on the command line.

stream = spikerec.open(file)
rate = stream[:].mean(0, dtype="float32")
defects = find_defects(rate, len(bits))
print(f"firing rate {rate.mean():.3f}, hot {defects.hot.sum()}, dead {defects.dead.sum()}")

# %%
# Reconstruct
# -----------
# ``exposure="auto"`` takes the white level from the whole clip, ``mask_defects=True`` gives broken
# pixels the spikes of a whole neighbour, and a longer window collects more light.

dark = spikerec.reconstruct(stream, "tfp", stride=200, exposure=1.0)
bright = spikerec.reconstruct(stream, "tfp", stride=200, exposure="auto")
repaired = spikerec.reconstruct(stream, "tfp", stride=200, exposure="auto", mask_defects=True)
network = spikerec.load("fast_wide")
best = spikerec.reconstruct(stream, network, stride=200, exposure="auto", mask_defects=True)
pictures = {
    "firing rate": dark,
    'exposure="auto"': bright,
    "and mask_defects": repaired,
    "and fast_wide": best,
}
figure, axes = plt.subplots(1, 4, figsize=(10, 2.3), layout="constrained")
for ax, (name, video) in zip(axes, pictures.items(), strict=True):
    ax.imshow(video[len(video) // 2], cmap="gray", vmin=0, vmax=255)
    ax.set(title=name, xticks=[], yticks=[])
plt.show()

# %%
# On the command line: ``spikerec reconstruct`` with ``exposure=auto mask_defects=true``. Data of
# your own camera can also train a network without true images (see :doc:`/self_supervised`).
