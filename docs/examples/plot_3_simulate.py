"""
Simulate your own scene
=======================

Turn an image of yours into a moving scene, and the scene into the spikes of a noisy camera.
"""

import matplotlib.pyplot as plt
import torch

import spikerec
from spikerec.simulation import Camera, RandomScene, SceneStyle

# %%
# The scene
# ---------
# Any (h, w) tensor in [0, 1] can be the photograph; ``folder_images("photographs")`` reads a
# folder.
# The scene moves it along a smooth path, and knows the true intensity at every readout.

rows, columns = torch.meshgrid(torch.arange(300.0), torch.arange(400.0), indexing="ij")
rings = torch.sin(torch.hypot(rows - 150, columns - 200) / 9)
photograph = 0.5 + 0.4 * rings * ((columns // 40 + rows // 40) % 2 * 2 - 1)
style = SceneStyle(motion=(25, 25), objects=(0, 0))
scene = RandomScene([photograph], height=120, width=160, seed=1, style=style)
light = scene.frames(0, 121)

# %%
# The cameras
# -----------
# An ideal camera integrates the light and fires at its threshold. A real one also has shot noise,
# pixels of different response, and dark current.

cameras = {
    "ideal": Camera(light_scale=0.4),
    "noisy": Camera(
        light_scale=0.4, threshold=30, shot_noise=True, gain_spread=0.05, dark_current=0.02
    ),
}
tfp = spikerec.load("tfp", window=41)
figure, axes = plt.subplots(2, 4, figsize=(10, 4), layout="constrained")
for row, (name, camera) in enumerate(cameras.items()):
    spikes = camera.expose(light, seed=0)
    image = tfp.reconstruct(spikes[None, 40:81], light_scale=0.4).image[0, 0]
    pictures = {
        "light": light[60],
        "readout 60": spikes[60],
        "row 60 over time": spikes[:, 60],
        "TFP, 41 readouts": image,
    }
    for ax, (title, picture) in zip(axes[row], pictures.items(), strict=True):
        ax.imshow(picture, cmap="gray", vmin=0, vmax=1, aspect="auto")
        ax.set(title=title if row == 0 else "", xticks=[], yticks=[])
    axes[row, 0].set_ylabel(name)
plt.show()

# %%
# ``spikerec.spikes.save("scene.dat", spikes.numpy(), light_scale=0.4)`` keeps the stream, and
# ``spikerec simulate`` makes whole data sets of clips with their true images.
