"""Ask a served classifier about an image by REST, with Python alone.

python predict.py http://localhost:8501 mnist digit.png
"""

import base64
import json
import pathlib
import sys
import urllib.request

server, model, image = sys.argv[1:]
encoded = base64.b64encode(pathlib.Path(image).read_bytes()).decode()
request = urllib.request.Request(
    f"{server}/v1/models/{model}:predict", json.dumps({"instances": [{"b64": encoded}]}).encode()
)
with urllib.request.urlopen(request, timeout=30) as response:
    (answer,) = json.load(response)["predictions"]
for score, label in sorted(zip(answer["probabilities"], answer["labels"], strict=True), reverse=True):
    print(f"{label} {score:.4f}")
