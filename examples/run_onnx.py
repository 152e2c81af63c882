"""Who does what in a video, with onnxruntime, numpy and PyAV alone: run_onnx.py MODEL.onnx VIDEO"""

import json
import sys

import av
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
about = json.loads(session.get_modelmeta().custom_metadata_map["mestad"])

with av.open(sys.argv[2]) as container:  # the whole video in memory: for short ones
    stream = container.streams.video[0]
    scale = about["short_side"] / min(stream.width, stream.height)
    scale = min(scale, about["max_size"] / max(stream.width, stream.height))
    size = {"width": round(stream.width * scale), "height": round(stream.height * scale)}
    decoded = [(frame.time, frame.to_ndarray(format="rgb24", **size)) for frame in container.decode(stream)]
times = np.array([time for time, _ in decoded]) - decoded[0][0]

for second in range(int(times[-1]) + 1):
    nearest = [int(np.abs(times - second - offset).argmin()) for offset in about["offsets"]]
    clip = np.stack([decoded[i][1] for i in nearest]).transpose(3, 0, 1, 2)  # RGB, frames, height, width
    boxes, scores, actions = session.run(None, {"clip": np.ascontiguousarray(clip)})
    for box, score, row in zip(boxes / scale, scores, actions, strict=True):
        best = max(about["actions"], key=lambda column: row[int(column) - 1])
        corners = " ".join(f"{value:.0f}" for value in box)
        action = f"{about['actions'][best]} {row[int(best) - 1]:.2f}"
        print(f"{second} s: person {score:.2f} at {corners}: {action}")
