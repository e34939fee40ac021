"""
A picture from a file
=====================

Open a recording, reconstruct it by two methods, and look at the result.
"""

# %%
# A recording
# -----------
# Any ``.dat``, ``.npy``, ``.npz`` or ``.h5`` file of spikes will do. Here a camera that samples
# 20,000 times a second looks at a moving photograph, and the spikes are saved first.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import spikerec
from spikerec import spikes
from spikerec.simulation import Camera, RandomScene, SceneStyle, bundled_images

photographs = [photograph.image for photograph in bundled_images()]
style = SceneStyle(motion=(12, 20), objects=(1, 1))
scene = RandomScene(photographs, height=120, width=160, seed=12, style=style)
bits = Camera(light_scale=0.6).expose(scene.frames(0, 161), seed=0)
file = Path(tempfile.mkdtemp()) / "scene.npy"
spikes.save(file, bits.numpy(), rate_hz=20_000, light_scale=0.6)

# %%
# Reconstruct it
# --------------
# ``open`` reads nothing but the header; ``reconstruct`` computes nothing before a frame is asked
# for. ``tfp`` averages the spikes of a window, ``fast`` is a network whose weights come with
# spikerec.

stream = spikerec.open(file)
video = spikerec.reconstruct(stream, "tfp", "fast", stride=10)
frame = next(video.frames(len(video) // 2))
t = frame.key_readout

# %%
# A single readout holds one bit a pixel; the methods turn 21 and 41 of them into an image.

pictures = {
    "one readout": stream[t : t + 1][0],
    "TFP": frame.images[0],
    "fast": frame.images[1],
    "truth": scene.frames(t, t + 1)[0],
}
figure, axes = plt.subplots(1, 4, figsize=(10, 2.3), layout="constrained")
for ax, (name, picture) in zip(axes, pictures.items(), strict=True):
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
    ax.set(title=name, xticks=[], yticks=[])
plt.show()

# %%
# ``video.save("scene.mp4")`` writes all frames; in a notebook, ``video`` shows one of them.
