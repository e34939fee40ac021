"""
An ablation: the window of TFP
==============================

A longer window counts more spikes, and blurs more motion. Vary the window at three speeds to see
where the optimum moves.
"""

import matplotlib.pyplot as plt

import spikerec
from spikerec.metrics import PSNR
from spikerec.simulation import Camera, RandomScene, SceneStyle, bundled_images

photographs = [photograph.image for photograph in bundled_images()]
camera = Camera(light_scale=0.4)
psnr = PSNR()
windows = [5, 11, 21, 41, 81]

# %%
# One variable at a time: the scenes, their noise and the key readout are the same for every window.
# The speed is the background's largest, in pixels over 61 readouts.

figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for speed in (1, 6, 30):
    style = SceneStyle(motion=(speed, speed), objects=(0, 0))
    scores = dict.fromkeys(windows, 0.0)
    for seed in range(3):
        scene = RandomScene(photographs, height=96, width=128, seed=seed, style=style)
        spikes = camera.expose(scene.frames(0, 121), seed=seed)[None]
        target = scene.frames(60, 61)[None]
        for window in windows:
            tfp = spikerec.load("tfp", window=window)
            half = window // 2
            image = tfp.reconstruct(spikes[:, 60 - half : 61 + half], light_scale=0.4).image
            scores[window] += psnr.score(image.clamp(0, 1), target).item() / 3
    ax.plot(windows, list(scores.values()), marker="o", label=f"{speed} pixels")
ax.set(xlabel="window / readouts", ylabel="PSNR / dB", xscale="log", xticks=windows)
ax.set_xticklabels(windows)
ax.minorticks_off()
ax.legend(title="motion over 61 readouts")
plt.show()

# %%
# The same on the command line, with records and a table:
#
# .. code-block:: sh
#
#    spikerec evaluate -m model=tfp model.window=5,11,21,41,81 data=synthetic
#    spikerec leaderboard
#
# A trained network's ablation is a file of ``conf/sweep`` (see :doc:`/ablations`).
