#!/bin/sh
# datumaro reads a CVAT track with "outside" boxes as if the person were still there: the box comes as an annotation like
# any other, and only an attribute says that it is outside. Frames between two key frames have no box, where CVAT shows
# one that moves on a line.
#
# Package: datumaro 1.13.12. PYTHON has to be a Python 3.10 to 3.12; everything else goes into a temporary folder.
# Seen: frames [0, 4, 5], of which 5 is outside; frames 1 to 3 are absent. Exit code 1 if that changes.
set -eu
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet datumaro==1.13.12
cat > "$folder/a.xml" <<'END'
<annotations><version>1.1</version><meta><task><id>1</id><name>t</name><size>10</size><mode>interpolation</mode>
<overlap>0</overlap><flipped>False</flipped><labels><label><name>person</name><attributes></attributes></label></labels>
<original_size><width>640</width><height>360</height></original_size><source>a.mp4</source></task></meta>
<track id="0" label="person" source="manual">
<box frame="0" keyframe="1" outside="0" occluded="0" xtl="10" ytl="20" xbr="110" ybr="220" z_order="0"></box>
<box frame="4" keyframe="1" outside="0" occluded="0" xtl="50" ytl="20" xbr="150" ybr="220" z_order="0"></box>
<box frame="5" keyframe="1" outside="1" occluded="0" xtl="50" ytl="20" xbr="150" ybr="220" z_order="0"></box>
</track></annotations>
END
"$folder/env/bin/python" -W ignore - "$folder" <<'END'
import sys

import datumaro

data = datumaro.Dataset.import_from(f"{sys.argv[1]}/a.xml", "cvat")
frames = {item.attributes["frame"]: item.annotations for item in data}
print("frames with a box:", sorted(frames), "outside:", [f for f in frames if frames[f][0].attributes["outside"]])
assert sorted(frames) == [0, 4, 5], "frames between key frames, or without the person, are right now"
assert frames[5][0].points == [50.0, 20.0, 150.0, 220.0]
END
