"""Import modules by the names that they had in version 0.1, with a warning."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from types import ModuleType

# Name in 0.1 -> name now, both below ``mestad_d2``.
MOVED = {
    "data.ava_csv": "formats.ava_csv",
    "evaluation.label_map": "formats.label_map",
    "checkpoint.safe_pickle": "formats.safe_pickle",
    "engine.setup": "load_config",
    "quick_start": "process_setup",
    "host_memory": "process_setup",
    "inference.alternate": "timing",
    "data.video": "video.frames",
    "data.video_reader": "video.reader",
    "data.video_stream": "video.stream",
    "data.frame_folder": "video.folder",
    "data.frame_list": "video.frame_list",
    "data.frame_pictures": "video.pictures",
    "data.locate": "video.video_locations",
    "data.clip_reader": "video.frames",
    "data.transforms": "video.transforms",
    "inference.length": "video.source",
    "inference.encode": "video.output.writer",
    "inference.sound": "video.output.sound",
    "data.cut": "video.output.trim",
    "data.extract": "video.output.extract",
    "data.builtin": "data.catalog",
    "data.dataset_mapper": "data.mapper",
    "data.build": "data.loaders",
    "data.draws": "data.sampling",
    "data.download": "data.prepare.download",
    "data.convert": "data.prepare.convert",
    "data.check_report": "data.check.report",
    "data.check_rows": "data.check.rows",
    "data.check_videos": "data.check.videos",
    "data.toy_actions": "data.toy.actions",
    "data.toy_figures": "data.toy.figures",
    "data.toy_motion": "data.toy.motion",
    "data.toy_scene": "data.toy.scene",
    "data.toy_statistics": "data.toy.statistics",
    "data.toy_tracks": "data.toy.tracks",
    "data.toy_video": "data.toy.video",
    "evaluation.ava_evaluation": "evaluation.evaluator",
    "evaluation.synthetic": "benchmarks.synthetic_detections",
    "evaluation.frame_order": "evaluation.frame_map.frame_order",
    "evaluation.heap_order": "evaluation.frame_map.frame_order",
    "evaluation.matching": "evaluation.frame_map.matching",
    "evaluation.protocols": "evaluation.frame_map.protocols",
    "evaluation.report_style": "evaluation.report.template",
    "evaluation.charts": "evaluation.report.charts",
    "evaluation.examples": "evaluation.report.examples",
    "evaluation.pictures": "evaluation.report.pictures",
    "evaluation.tables": "evaluation.report.tables",
    "checkpoint.names": "checkpoint.key_translation",
    "checkpoint.hints": "checkpoint.load_advice",
    "engine.cost": "analysis.cost",
    "engine.memory": "analysis.memory",
    "engine.demo_run": "reproduce.demo",
    "engine.distributed": "engine.launch",
    "engine.signals": "engine.stop_signal",
    "engine.tla_pictures": "engine.mean_teacher.pictures",
    "engine.tla_step": "engine.mean_teacher.step",
    "engine.tla_teacher": "engine.mean_teacher.teacher",
    "engine.tla_trainer": "engine.mean_teacher.trainer",
    "engine.mean_teacher.looks": "engine.mean_teacher.stretch_detections",
    "engine.pseudo_quality": "engine.mean_teacher.pseudo_quality",
    "inference.labels": "inference.action_names",
    "inference.writable": "inference.output_files",
    "inference.output": "inference.results.outputs",
    "inference.drawing": "inference.results.drawing",
    "inference.placement": "inference.results.label_placement",
    "inference.timeline": "inference.results.timeline",
    "inference.compiled": "inference.speed.compiled",
    "inference.folding": "inference.speed.folding",
    "inference.pooling": "inference.speed.pooling",
    "inference.export_check": "inference.export.check",
    "inference.export_files": "inference.export.files",
    "inference.many": "inference.batch.jobs",
    "inference.local_workers": "inference.batch.local_workers",
    "inference.ray_backend": "inference.batch.ray_backend",
    "inference.recipe": "inference.batch.worker_setup",
    "inference.app_session": "inference.app.session",
    "inference.mode_accuracy": "benchmarks.mode_accuracy",
    "inference.two_stage": "benchmarks.two_stage",
    "densify.run": "densify.pipeline",
    "densify.label": "densify.stretch",
    "densify.exclusive_actions": "semisup.change_points",
    "densify.assign": "semisup.actors",
    "densify.change_points": "semisup.change_points",
    "densify.moments": "semisup.change_points",
    "densify.exclusive": "semisup.change_points",
    "semisup.tracks": "semisup.actors",
    "semisup.between": "semisup.change_points",
    "semisup.exclusive_actions": "semisup.change_points",
    "densify.people_ids": "densify.stretch",
    "densify.person_ids": "densify.stretch",
    "densify.records": "densify.key_frames",
    "densify.loop": "densify.corrections",
    "densify.frames": "densify.detections.frames",
    "densify.video": "densify.detections.video",
    "densify.teacher": "densify.detections.teacher",
    "densify.calibrate": "densify.measure.calibrate",
    "densify.baselines": "densify.measure.baselines",
    "densify.csv_files": "densify.formats.csv_files",
    "densify.coco": "densify.formats.coco",
    "densify.cvat": "densify.formats.cvat",
    "densify.outputs": "densify.formats.outputs",
    "densify.review_page": "densify.review.page",
}


class MovedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finder that answers for names of 0.1 which nothing else answers for."""

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a moved module, or None for every other name."""
        if name.removeprefix("mestad_d2.") in MOVED and name.startswith("mestad_d2."):
            return importlib.util.spec_from_loader(name, self)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Give the module at its new place, so that both names are one module."""
        new = f"mestad_d2.{MOVED[spec.name.removeprefix('mestad_d2.')]}"
        warnings.warn(f"{spec.name} is now {new}", DeprecationWarning, stacklevel=2)
        self.original_spec = importlib.import_module(new).__spec__
        return sys.modules[new]

    def exec_module(self, module: ModuleType) -> None:
        """Restore the spec that importing under the old name has replaced."""
        module.__spec__ = self.original_spec


def install() -> None:
    """Append the finder to ``sys.meta_path``, once."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
