"""Scenes and videos in, spikes and ground truth out."""

from spikerec.simulation.camera import Camera, Exposure
from spikerec.simulation.footage import Footage, read_frames, read_video
from spikerec.simulation.images import SourceImage, bundled_images, folder_images
from spikerec.simulation.layout import (
    Recording,
    SREDSLayout,
    StreamLayout,
    write_scene,
    write_stream,
)
from spikerec.simulation.scenes import LayeredScene, RandomScene, Scene, SceneStyle
from spikerec.simulation.sensor import SensorMaps, draw_maps, read_maps
from spikerec.simulation.synthesise import deal_images, write_set
from spikerec.simulation.video import VideoScene

__all__ = [
    "Camera",
    "Exposure",
    "Footage",
    "LayeredScene",
    "RandomScene",
    "Recording",
    "SREDSLayout",
    "Scene",
    "SceneStyle",
    "SensorMaps",
    "SourceImage",
    "StreamLayout",
    "VideoScene",
    "bundled_images",
    "deal_images",
    "draw_maps",
    "folder_images",
    "read_frames",
    "read_maps",
    "read_video",
    "write_scene",
    "write_set",
    "write_stream",
]
