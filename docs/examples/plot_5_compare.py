"""
Compare two methods with significance
=====================================

A mean over a few scenes may lead by chance. Look at the differences scene by scene, and test them.
"""

import matplotlib.pyplot as plt
import numpy as np

import spikerec
from spikerec.metrics import PSNR
from spikerec.results import compare
from spikerec.simulation import Camera, RandomScene, SceneStyle, bundled_images

# %%
# Ten scenes, three methods
# -------------------------

photographs = [photograph.image for photograph in bundled_images()]
networks = {
    "TFP, 21 readouts": spikerec.load("tfp", window=21),
    "TFP, 41 readouts": spikerec.load("tfp", window=41),
    "fast": spikerec.load("fast"),
}
camera = Camera(light_scale=0.5)
psnr = PSNR()
values = {name: [] for name in networks}
for seed in range(10):
    style = SceneStyle(motion=(2, 10), objects=(0, 1))
    scene = RandomScene(photographs, height=96, width=128, seed=seed, style=style)
    spikes = camera.expose(scene.frames(0, 121), seed=seed)[None]
    target = scene.frames(60, 61)[None]
    for name, network in networks.items():
        half = network.window // 2
        window = spikes[:, 60 - half : 61 + half]
        image = network.reconstruct(window, light_scale=0.5).image.clamp(0, 1)
        values[name].append(psnr.score(image, target).item())

# %%
# The test
# --------
# ``compare`` pairs the scenes: the interval is a bootstrap over scenes, p comes from a permutation
# test, corrected for the number of pairs. The leaderboard uses the same function.

scores = {name: np.array(column) for name, column in values.items()}
comparisons = compare(scores, keys=[f"scene{i}" for i in range(10)])
for pair in comparisons:
    low, high = pair.difference.low, pair.difference.high
    print(f"{pair.first} − {pair.second}: {pair.difference.mean:+.2f} dB")
    print(f"    95 % interval {low:+.2f} to {high:+.2f} dB, p = {pair.p_holm:.3f}")

# %%
# Each line is a scene. Where lines cross, the order of two methods depends on the scene.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
left.plot(list(scores), np.array(list(scores.values())), color="0.6", marker="o", markersize=3)
left.plot(list(scores), [column.mean() for column in scores.values()], "k_", markersize=30)
left.set_ylabel("PSNR / dB")
means = np.array([pair.difference.mean for pair in comparisons])
bars = np.array([[m - p.difference.low, p.difference.high - m] for m, p in zip(means, comparisons)])
names = [f"{pair.first}\n− {pair.second}" for pair in comparisons]
right.errorbar(means, names, xerr=bars.T, fmt="o", capsize=4)
right.axvline(0, color="0.5", linewidth=1)
right.set_xlabel("difference / dB, with its 95 % interval")
plt.show()
