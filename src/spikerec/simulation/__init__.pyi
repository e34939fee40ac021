from .camera import Camera, Exposure
from .footage import Footage, read_frames, read_video
from .images import SourceImage, bundled_images, folder_images
from .layers import LayeredScene, Scene
from .layout import Recording, SREDSLayout, StreamLayout, write_scene, write_stream
from .scenes import RandomScene, SteadyScene
from .sensor import SensorMaps, draw_maps, read_maps
from .style import SceneStyle
from .synthesise import deal_images, write_set
from .video import VideoScene

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
    "SteadyScene",
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
