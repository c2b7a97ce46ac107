"""Label maps of images in files, by the network that a trial trained, each in its image's own space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.atomic_files import write_whole
from trainers.checkpoint import CheckpointError, load_weights
from trainers.data.base import count_maps, voxel_ml
from trainers.data.formats.case_files import ENDINGS
from trainers.data.formats.listing import READABLE, can_open, ending_of, is_file
from trainers.data.sources.volumes import Volume, VolumeSpec, count_channels, cut_short
from trainers.errors import DicestudyError, Fault, InputError
from trainers.forward import Runtime, place, use_device
from trainers.memory import is_out_of_memory
from trainers.networks import build_network
from trainers.scoring import lay_back, predict
from trainers.spec import TrialSpec

MOST_CHANNELS = 64
"""A network of more is not looked for."""


@dataclass(frozen=True)
class Segmenter:
    """A trained network, and all that images need on their way in and out.

    channels: that it takes; overlap: of the windows where an image is larger than what training saw.
    """

    data: VolumeSpec
    network: nn.Module
    channels: int
    computing: Runtime
    overlap: float

    def open(self, paths: Sequence[Path]) -> list[Volume]:
        """Read the headers of one case's images, and see that each file is there to its end.

        Raises: InputError with every fault that shows without reading voxels.
        """
        unfit = {path: fault for path in paths if (fault := _unfit(path)) is not None}
        faults, images = list(unfit.values()), []
        # Those that are there are looked at even so: all faults are told at once.
        if present := [path for path in paths if path not in unfit]:
            try:
                images = self.data.open_together(present)
                faults += cut_short(images)
            except InputError as error:
                faults += error.faults
        if not faults and (found := count_channels(images)) != self.channels:
            given = ",".join(map(str, paths))
            remedy = "join the files of one case by commas, in the order of training: flair.nii.gz,t1.nii.gz"
            faults.append(Fault(given, f"channels: {found}, expected {self.channels} as in training", remedy))
        if faults:
            raise InputError(faults)
        return images

    @torch.no_grad()
    def segment(self, images: Sequence[Volume]) -> dict[str, NDArray[np.bool_]]:
        """The map of each class (*source), in the space of the files, which are prepared as for training.

        Cut to the patch there (``crop: center``), nothing is found beyond it; else all is looked at, by windows.

        Raises: InputError naming a file whose voxels are at fault; DicestudyError if memory runs out.
        """
        prepared, grid = self.data.prepare_images(images)
        device = self.computing.device
        try:
            image = self.computing.tensor(prepared[np.newaxis])
            probabilities = predict(self.network, image, self.data.patch_shape, self.computing, self.overlap)[0]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            remedy = "predict with --device cpu" if device.type != "cpu" else "it needs a machine with more memory"
            raise DicestudyError(f"{images[0].path}: out of memory on {device}; {remedy}") from error
        return dict(zip(self.data.classes, lay_back(probabilities, grid, self.computing), strict=True))

    def files(self, image: Path) -> dict[str, tuple[str, ...]]:
        """Names of the files that a case's maps go to, by its first image, each with the classes that it holds.

        One for all classes, or one a class (``NAME_CLASS.nii.gz``) where they may share voxels.
        """
        ending = ending_of(image.name)
        stem, kind = image.name.removesuffix(ending), ENDINGS[0] if ending.lower() in ENDINGS else ".png"
        classes = self.data.classes
        if self.data.head == "softmax" or len(classes) == 1:
            return {f"{stem}{kind}": classes}
        return {f"{stem}_{name}{kind}": (name,) for name in classes}

    def write(self, image: Volume, maps: Mapping[str, NDArray[np.bool_]], path: Path) -> dict[str, float]:
        """Write maps (*source) as one file in the image's own axes and affine; the volume of each [ml].

        A class has the first of its values in the label files that the network learnt from.
        """
        values = {name: self.data.values[name][0] for name in maps}
        label = np.zeros(image.shape, np.min_scalar_type(max(values.values())))
        for name, found in maps.items():
            label[found] = values[name]
        with TemporaryDirectory() as scratch:
            # Formats go by names, which a file that is being written does not have yet.
            made = Path(scratch) / path.name
            image.save_label(label, made)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, lambda file: file.write(made.read_bytes()))
        return {name: float(found.sum() * voxel_ml(image.spacing)) for name, found in maps.items()}


def load_segmenter(spec: TrialSpec, folder: Path, device: str = "cpu") -> Segmenter:
    """The network of the trial whose checkpoint is in ``folder``; nothing of its data is needed.

    Raises: InputError if its data is generated, or this machine has no such device; CheckpointError.
    """
    data = spec.data
    if not isinstance(data, VolumeSpec):
        fault = f"learnt from generated images ({data.source}), which no file is like"
        raise InputError(Fault(f"trial {spec.key}", fault, "predict with a study on files: acdc, brats, table"))
    where = use_device(device)
    network, channels = _rebuild(spec, load_weights(folder, spec.key))
    network, computing = place(network, spec.protocol.precision, data.head, data.patch_shape, where)
    return Segmenter(data, network.eval(), channels, computing, spec.protocol.patches.overlap)


def _rebuild(spec: TrialSpec, weights: Mapping[str, Tensor]) -> tuple[nn.Module, int]:
    """The network with these weights, and its channels: a trial's spec says them only through its data."""
    maps = count_maps(spec.data.head, spec.data.classes)
    refused: InputError | None = None
    for channels in range(1, MOST_CHANNELS + 1):
        try:
            network = build_network(spec.protocol.network, channels, maps, spec.data.patch_shape)
        except InputError as error:  # some take channels in groups only
            refused = error
            continue
        if _shapes(network.state_dict()) == _shapes(weights):
            network.load_state_dict(weights)
            return network, channels
    raise refused or CheckpointError(f"trial {spec.key}: its weights are not those of network {spec.protocol.network}")


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(values.shape) for name, values in weights.items()}


def _unfit(path: Path) -> Fault | None:
    """Why a path is no image, as far as its name says."""
    if not can_open(path.name):
        return Fault(str(path), "no image by its name", f"convert it to {', '.join(READABLE)}")
    return None if is_file(path) else Fault(str(path), "no such file", "correct the path")
